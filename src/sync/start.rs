//! The start of a run: the state in Kanidm decides between an incremental run and a full refresh.
//!
//! Scope: the decision alone. It needs no connection to the directory.

use std::collections::HashMap;

use ldap_content_sync::sync_session::Cookie;
use uuid::Uuid;

use crate::kanidm::buckets::Buckets;
use crate::kanidm::known::{Known, Shown};
use crate::kanidm::missed::Missed;
use crate::kanidm::roster::Roster;
use crate::kanidm::since::Since;
use crate::kanidm::sketch::Sketch;
use crate::kanidm::state::Yielded;
use crate::kanidm::state::{Envelope, Opened, StateError, SyncState, open};
use crate::kanidm::token_mark::TokenMark;
use crate::mapping::Changed;

/// The one who asks to ignore the cookie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FullRefresh {
    /// Nobody.
    #[default]
    No,
    /// `full_refresh_schedule`.
    Scheduled,
    /// An administrator who watches the result: `--full-refresh`. The run then accepts even a
    /// directory that is older than the content of Kanidm.
    AskedFor,
}

/// The meaning of Kanidm's state for this run.
#[derive(Debug, Default)]
pub struct Start {
    /// The directory's cookie; `None` for a full refresh.
    pub cookie: Option<Vec<u8>>,
    /// The stored cookie of the directory, even if this run does not use it.
    pub stored_cookie: Option<Vec<u8>>,
    /// A full refresh must not return an older cookie than this one. An older cookie means that the
    /// directory has lost entries.
    pub not_older_than: Option<Vec<u8>>,
    /// The fingerprint stored with the cookie.
    pub stored_fingerprint: Option<String>,
    /// Why the run is a full refresh, if it is one.
    pub full_because: Option<String>,
    /// Entries that earlier runs held. Directory UUIDs.
    pub held: Vec<Uuid>,
    /// For each of `held`, the kind of run that held it first.
    pub held_since: Vec<Since>,
    /// Entries that earlier runs sent without a bad value. Directory UUIDs.
    pub dropped: Vec<Uuid>,
    /// For each of `dropped`, a mark of the TOTP tokens that it was sent without.
    pub token_marks: Vec<TokenMark>,
    /// Attributes that are yielded to Kanidm. A full refresh tries them again.
    pub yielded: Yielded,
    /// Replaces a unix password that is gone; `None` if unix passwords are not synchronised.
    pub unusable_hash: Option<String>,
    /// The entries that Kanidm is known to hold; `None` if not known.
    pub known: Option<Known>,
    /// The stored roster: known entries with a mark of their names.
    pub stored_roster: Option<Roster>,
    /// The names of members that did not resolve; `None` if they are not known.
    pub missed: Option<Missed>,
    /// True if the stored content is that of a finished run.
    pub is_settled: bool,
    /// The known entries without kinds, from envelope version 1.
    pub known_of_version_1: Option<Sketch>,
    /// The entries that showed each attribute.
    pub shown: Shown,
    /// The entries that matched a filter on a computed attribute.
    pub matched: Option<Buckets>,
}

impl Start {
    /// A full refresh that knows of no earlier run.
    pub fn full(why: &str) -> Start {
        Start { full_because: Some(why.to_owned()), ..Start::default() }
    }

    /// The marks of the entries that earlier runs sent without a bad value. Directory UUIDs.
    pub fn marks(&self) -> HashMap<Uuid, TokenMark> {
        self.dropped.iter().copied().zip(self.token_marks.iter().copied()).collect()
    }

    /// True if no group lacks the entry as a member: Kanidm has it under these names, and no group
    /// was sent without it. An interrupted run may have written an entry and not yet its groups.
    pub fn has_all_groups(&self, entry: &Changed) -> bool {
        let (Some(roster), Some(missed), true) =
            (&self.stored_roster, &self.missed, self.is_settled)
        else {
            return false;
        };
        let is_on_it = entry.names.is_some_and(|names| roster.has(entry.uuid, names));
        is_on_it && !entry.hashes.iter().any(|hash| missed.has(*hash))
    }
}

/// Decides how the run starts.
///
/// # Errors
/// This version cannot read the stored state.
pub fn decide(
    state: &SyncState,
    fingerprint: &str,
    wish: FullRefresh,
) -> Result<Start, StateError> {
    let mut start = Start::default();
    match state {
        SyncState::Refresh => start.full_because = Some("Kanidm has no state yet".to_owned()),
        SyncState::Active { cookie } => match open(cookie)? {
            // Kanidm's own tool stores the bare cookie of the directory. The first run of this
            // program takes it over.
            Opened::Foreign(cookie) => start.stored_cookie = Some(cookie),
            Opened::Ours(envelope) => {
                start.full_because = full_because(&envelope, fingerprint).map(str::to_owned);
                start.stored_cookie = envelope.cookie;
                start.stored_fingerprint = Some(envelope.fingerprint);
                start.held = envelope.held;
                start.held_since = envelope.held_since;
                start.dropped = envelope.dropped;
                start.token_marks = envelope.token_marks;
                start.yielded = envelope.yielded;
                start.known = envelope.known;
                start.stored_roster = envelope.roster;
                start.missed = envelope.missed;
                start.is_settled = envelope.unfinished.is_none();
                start.known_of_version_1 = envelope.known_of_version_1;
                start.shown = envelope.shown;
                start.matched = envelope.matched;
            }
        },
    }
    if wish != FullRefresh::No && start.full_because.is_none() {
        start.full_because = Some("asked for".to_owned());
    }
    if wish != FullRefresh::AskedFor {
        start.not_older_than.clone_from(&start.stored_cookie);
    }
    if start.full_because.is_none() {
        start.cookie.clone_from(&start.stored_cookie);
    }
    Ok(start)
}

fn full_because(envelope: &Envelope, fingerprint: &str) -> Option<&'static str> {
    if envelope.unfinished.is_some_and(|u| u.full) {
        Some("the last run was interrupted, or left entries that only a full refresh repairs")
    } else if envelope.unfinished.is_some() && !tells_every_deletion(envelope.cookie.as_deref()) {
        Some("the last run was interrupted, and this server does not report every deletion")
    } else if envelope.fingerprint.is_empty() {
        Some("another tool has mapped what Kanidm holds")
    } else if envelope.fingerprint != fingerprint {
        Some("the configuration of what is synchronised has changed")
    } else if envelope.cookie.is_none() {
        Some("no cookie is known")
    } else {
        None
    }
}

/// True if the server reports deletions of entries created after this cookie. An interrupted run
/// may have written such an entry.
///
/// slapd reports them; 389 does not; of other servers it is not known. The form of the cookie
/// decides, because the server is not connected yet.
fn tells_every_deletion(cookie: Option<&[u8]>) -> bool {
    cookie.is_some_and(|cookie| Cookie::parse(cookie).reports_every_deletion())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kanidm::state::Unfinished;

    fn active(envelope: &Envelope) -> SyncState {
        SyncState::Active { cookie: envelope.to_bytes() }
    }

    fn envelope() -> Envelope {
        Envelope {
            cookie: Some(b"rid=000".to_vec()),
            fingerprint: "f".to_owned(),
            held: vec![Uuid::from_u128(7)],
            known: Some(Known::default()),
            ..Envelope::default()
        }
    }

    #[test]
    fn a_known_cookie_continues_incrementally() {
        let start = decide(&active(&envelope()), "f", FullRefresh::No).unwrap();
        assert_eq!((start.cookie.as_deref(), start.full_because), (Some(&b"rid=000"[..]), None));
        assert_eq!(start.held, [Uuid::from_u128(7)]);
        assert!(start.known.is_some());
    }

    /// An interrupted run may have written a person, and not yet the groups that name the person.
    #[test]
    fn only_an_entry_that_no_group_missed_has_all_groups() {
        let id = Uuid::from_u128(1);
        let roster = Roster::of([(id, 2)]);
        let missed = Missed::of([7]);
        let cookie = b"rid=000,csn=20261123125319.541811Z#000000#000#000000".to_vec();
        let finished = Envelope {
            roster: roster.clone(),
            missed: missed.clone(),
            cookie: Some(cookie),
            ..envelope()
        };
        let mark = Unfinished { run: Uuid::nil(), seq: 1, full: false };
        let interrupted = Envelope { unfinished: Some(mark), ..finished.clone() };
        let too_many = Envelope { missed: None, ..finished.clone() };
        let bare = Envelope { roster: None, ..finished.clone() };
        let entry = |names, hashes: &[u32]| Changed {
            uuid: id,
            names,
            dn: String::new(),
            user_names: Vec::new(),
            hashes: hashes.to_vec(),
        };
        for (envelope, is_trusted) in
            [(&finished, true), (&interrupted, false), (&too_many, false), (&bare, false)]
        {
            let start = decide(&active(envelope), "f", FullRefresh::No).unwrap();
            assert_eq!(start.has_all_groups(&entry(Some(2), &[6, 8])), is_trusted);
            assert!(!start.has_all_groups(&entry(Some(3), &[])), "under another name");
            assert!(!start.has_all_groups(&entry(None, &[])), "held");
            assert!(!start.has_all_groups(&entry(Some(2), &[6, 7])), "missed by a group");
            assert_eq!((&start.stored_roster, &start.missed), (&envelope.roster, &envelope.missed));
            assert!(start.full_because.is_none());
        }
    }

    #[test]
    fn what_makes_a_run_full_is_said_and_takes_no_cookie() {
        use FullRefresh::{AskedFor, No, Scheduled};
        let unfinished = |full| Some(Unfinished { run: Uuid::nil(), seq: 1, full });
        for (state, fingerprint, wish, why) in [
            (SyncState::Refresh, "f", No, "no state yet"),
            (active(&envelope()), "g", No, "configuration"),
            (active(&envelope()), "f", Scheduled, "asked for"),
            (active(&envelope()), "f", AskedFor, "asked for"),
            (
                active(&Envelope { unfinished: unfinished(true), ..envelope() }),
                "f",
                No,
                "interrupted",
            ),
            (active(&Envelope { cookie: None, ..envelope() }), "f", No, "no cookie"),
        ] {
            let start = decide(&state, fingerprint, wish).unwrap();
            assert!(
                start.full_because.as_ref().is_some_and(|b| b.contains(why)),
                "{why}: {start:?}"
            );
            assert_eq!(start.cookie, None, "{why}");
        }
    }

    #[test]
    fn only_somebody_who_asks_for_it_may_go_back_in_time() {
        let foreign = SyncState::Active { cookie: b"rid=000".to_vec() };
        for state in [
            active(&envelope()),
            active(&Envelope { fingerprint: "another".to_owned(), ..envelope() }),
            foreign,
        ] {
            for (wish, stored) in [
                (FullRefresh::No, Some(&b"rid=000"[..])),
                (FullRefresh::Scheduled, Some(b"rid=000")),
                (FullRefresh::AskedFor, None),
            ] {
                assert_eq!(
                    decide(&state, "f", wish).unwrap().not_older_than.as_deref(),
                    stored,
                    "{wish:?}"
                );
            }
        }
    }

    #[test]
    fn an_interrupted_increment_is_repeated_where_the_directory_says_what_has_been_deleted_since() {
        let interrupted = |cookie: &[u8]| {
            let unfinished = Some(Unfinished { run: Uuid::nil(), seq: 1, full: false });
            let state =
                active(&Envelope { unfinished, cookie: Some(cookie.to_vec()), ..envelope() });
            decide(&state, "f", FullRefresh::No).unwrap().full_because
        };
        assert_eq!(interrupted(b"rid=000,csn=20260101000000.000000Z#000000#000#000000"), None);
        for other in [&b"h:389#cn=sync:dc=x:f#7"[..], b"rid=000", b"opaque"] {
            assert!(interrupted(other).is_some_and(|why| why.contains("interrupted")), "{other:?}");
        }
    }

    #[test]
    fn a_foreign_cookie_is_the_directorys() {
        let start =
            decide(&SyncState::Active { cookie: b"rid=000,csn=x".to_vec() }, "f", FullRefresh::No)
                .unwrap();
        assert_eq!(
            (start.cookie.as_deref(), start.full_because),
            (Some(&b"rid=000,csn=x"[..]), None)
        );
        assert!(start.known.is_none());
    }
}
