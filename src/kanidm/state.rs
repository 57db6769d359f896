//! The state that Kanidm stores for this program, and the envelope in it.
//!
//! Scope: bytes to types, and back. Kanidm keeps any bytes as the cookie of a sync account. This
//! program stores a small versioned JSON object that contains the directory's cookie. The stored
//! bytes come from outside, so every part of them is checked.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::buckets::Buckets;
use super::known::{Known, Memberships, Shown};
use super::missed::Missed;
use super::roster::Roster;
use super::since::{self, Since};
use super::sketch::{BottomK, Sketch};
use super::token_mark::{self, TokenMark};

/// base64url: written without padding, read with or without it.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Attributes that are yielded to Kanidm, by their keys in SCIM entries.
pub type Yielded = BTreeSet<String>;

/// The version of the envelope that this program writes. Version 1 did not separate persons from
/// groups.
const VERSION: u64 = 2;
/// Maximum number of held entries that are remembered.
pub const MAX_HELD: usize = 10_000;

/// The state that Kanidm stores for the sync account.
#[derive(Clone, PartialEq, Eq)]
pub enum SyncState {
    /// No cookie: the next POST must bring the whole content.
    Refresh,
    /// A cookie, opaque to Kanidm.
    Active {
        /// Any bytes.
        cookie: Vec<u8>,
    },
}

impl fmt::Debug for SyncState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SyncState::Refresh => f.write_str("Refresh"),
            SyncState::Active { cookie } => write!(f, "Active({} bytes)", cookie.len()),
        }
    }
}

#[derive(Deserialize)]
enum WireState {
    Refresh,
    Active { cookie: String },
}

impl SyncState {
    /// Reads the answer to GET: `"Refresh"`, or `{"Active":{"cookie":"<base64url>"}}`.
    ///
    /// # Errors
    /// The reason why it is not a state.
    pub fn from_json(json: &[u8]) -> Result<Self, String> {
        match serde_json::from_slice(json) {
            Ok(WireState::Refresh) => Ok(SyncState::Refresh),
            Ok(WireState::Active { cookie }) => match BASE64.decode(cookie) {
                Ok(cookie) => Ok(SyncState::Active { cookie }),
                Err(_) => Err("the cookie is not base64url".to_owned()),
            },
            // serde's own message would quote the answer. The position is enough.
            Err(e) => Err(format!("no sync state (line {}, column {})", e.line(), e.column())),
        }
    }

    /// The JSON text for `from_state` and `to_state`.
    pub fn to_json(&self) -> String {
        match self {
            SyncState::Refresh => "\"Refresh\"".to_owned(),
            SyncState::Active { cookie } => {
                format!("{{\"Active\":{{\"cookie\":\"{}\"}}}}", URL_SAFE_NO_PAD.encode(cookie))
            }
        }
    }
}

/// The memory of this program between runs, kept by Kanidm.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Envelope {
    /// The directory's cookie (RFC 4533 §2.1.2). `None` until the first full refresh is complete.
    pub cookie: Option<Vec<u8>>,
    /// Fingerprint of everything that shapes the content. It is compared, never interpreted.
    pub fingerprint: String,
    /// The entries that Kanidm holds for this sync account. `None` if that is not known, after a
    /// run took over the cookie of another tool.
    pub known: Option<Known>,
    /// The same entries with their names, if there are not too many.
    pub roster: Option<Roster>,
    /// The names by which groups named members that did not resolve, since the last full refresh.
    /// `None` if there are too many. Without it the roster does not tell who lacks a group.
    pub missed: Option<Missed>,
    /// The same without kinds, as version 1 of the envelope kept it. `None` if `known` is set.
    pub known_of_version_1: Option<Sketch>,
    /// The entries that showed each attribute, at the last run that wrote them.
    pub shown: Shown,
    /// The entries that matched the filter after the last run. Set only if the filter names a
    /// computed attribute.
    pub matched: Option<Buckets>,
    /// Entries that were held, or were sent without a value that another entry has. Later runs read
    /// them again, by their sync UUIDs in the directory. At most [`MAX_HELD`].
    pub held: Vec<Uuid>,
    /// For each of `held`, the kind of run that held it first.
    pub held_since: Vec<Since>,
    /// Entries that were sent without a bad value, by their sync UUIDs in the directory. Each run
    /// names them. At most [`MAX_HELD`].
    pub dropped: Vec<Uuid>,
    /// For each of `dropped`, a mark of the TOTP tokens that it was sent without.
    pub token_marks: Vec<TokenMark>,
    /// Attributes that are yielded to Kanidm, as far as this program knows.
    pub yielded: Yielded,
    /// Set between the first and the last POST of a run with several POSTs. Still set after a run
    /// that needs a full refresh next.
    pub unfinished: Option<Unfinished>,
}

/// A run that has not sent its last POST, or needs a full refresh next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unfinished {
    /// Identifies the run.
    pub run: Uuid,
    /// Counts the POSTs of the run, so that each leaves a state of its own.
    pub seq: u64,
    /// True if only a full refresh repairs the run, because the cookie does not cover what was
    /// sent. Otherwise the next run repeats the increment. The directory must then report deletions
    /// of entries that were sent and are gone since.
    pub full: bool,
}

/// The meaning of a stored cookie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opened {
    /// Written by this program.
    Ours(Box<Envelope>),
    /// The directory's cookie, written by another program, presumably Kanidm's own tool.
    Foreign(Vec<u8>),
}

/// An envelope that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StateError {
    /// Written by a newer version of this program.
    Newer {
        /// The version of the envelope.
        version: u64,
    },
    /// An envelope of this program with an invalid part.
    Damaged {
        /// The invalid part.
        part: &'static str,
    },
}

impl StateError {
    /// What to do.
    pub fn remedy(&self) -> &'static str {
        match self {
            StateError::Newer { .. } => {
                "use the newer program, or make Kanidm forget the state with `kanidm system sync force-refresh`"
            }
            StateError::Damaged { .. } => {
                "make Kanidm forget it with `kanidm system sync force-refresh`"
            }
        }
    }
}

impl fmt::Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StateError::Newer { version } => write!(
                f,
                "the state stored in Kanidm has version {version}, this program knows versions up to {VERSION}: "
            )?,
            StateError::Damaged { part } => {
                write!(f, "the state stored in Kanidm is damaged ({part}): ")?
            }
        }
        f.write_str(self.remedy())
    }
}

impl std::error::Error for StateError {}

/// The envelope as JSON. Binary parts are base64url, with 16 bytes for each UUID.
#[derive(Serialize, Deserialize)]
struct Wire {
    #[serde(rename = "kanidm-ldap-sync")]
    version: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    cookie: Option<String>,
    #[serde(default)]
    fingerprint: String,
    /// Only in version 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    known: Option<WireSketch>,
    #[serde(skip_serializing_if = "Option::is_none")]
    persons: Option<WireSketch>,
    #[serde(skip_serializing_if = "Option::is_none")]
    groups: Option<WireSketch>,
    #[serde(skip_serializing_if = "Option::is_none")]
    roster: Option<String>,
    /// The ended accounts of the roster.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    ended: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    missed: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    shown: BTreeMap<String, WireSketch>,
    #[serde(default)]
    memberships: Memberships,
    #[serde(skip_serializing_if = "Option::is_none")]
    matched: Option<String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    held: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    held_since: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    dropped: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    token_marks: String,
    #[serde(default, skip_serializing_if = "Yielded::is_empty")]
    yielded: Yielded,
    #[serde(skip_serializing_if = "Option::is_none")]
    unfinished: Option<Unfinished>,
}

#[derive(Serialize, Deserialize)]
struct WireSketch {
    count: u64,
    threshold: u64,
    sample: String,
}

/// Read first, so that a newer version is refused rather than misread.
#[derive(Deserialize)]
struct WireVersion {
    #[serde(rename = "kanidm-ldap-sync")]
    version: u64,
}

/// Reads the stored cookie.
///
/// # Errors
/// The envelope is damaged, or has a newer version.
pub fn open(stored: &[u8]) -> Result<Opened, StateError> {
    // serde would accept an array as an object, too.
    let version = if stored.starts_with(b"{") { serde_json::from_slice(stored).ok() } else { None };
    let Some(WireVersion { version }) = version else {
        return Ok(Opened::Foreign(stored.to_vec()));
    };
    if version > VERSION {
        return Err(StateError::Newer { version });
    }
    let wire: Wire = serde_json::from_slice(stored)
        .map_err(|_| StateError::Damaged { part: "a key is missing or has another type" })?;
    let held = unpack_uuids(&wire.held).ok_or(StateError::Damaged { part: "held" })?;
    let dropped = unpack_uuids(&wire.dropped).ok_or(StateError::Damaged { part: "dropped" })?;
    Ok(Opened::Ours(Box::new(Envelope {
        cookie: wire
            .cookie
            .map(|c| BASE64.decode(c))
            .transpose()
            .map_err(|_| StateError::Damaged { part: "cookie" })?,
        fingerprint: wire.fingerprint,
        known: match (&wire.persons, &wire.groups) {
            (Some(persons), Some(groups)) => Some(Known {
                persons: unpack_sketch(persons).ok_or(StateError::Damaged { part: "persons" })?,
                groups: unpack_sketch(groups).ok_or(StateError::Damaged { part: "groups" })?,
            }),
            _ => None,
        },
        roster: wire
            .roster
            .map(|rows| {
                let roster = unpack_roster(&rows).ok_or(StateError::Damaged { part: "roster" })?;
                unpack_ended(roster, &wire.ended).ok_or(StateError::Damaged { part: "ended" })
            })
            .transpose()?,
        missed: wire
            .missed
            .map(|names| unpack_missed(&names).ok_or(StateError::Damaged { part: "missed" }))
            .transpose()?,
        known_of_version_1: wire
            .known
            .map(|known| unpack_sketch(&known).ok_or(StateError::Damaged { part: "known" }))
            .transpose()?,
        shown: unpack_shown(wire.shown, wire.memberships)
            .ok_or(StateError::Damaged { part: "shown" })?,
        matched: wire
            .matched
            .map(|sums| unpack_buckets(&sums).ok_or(StateError::Damaged { part: "matched" }))
            .transpose()?,
        held_since: since::unpack(&wire.held_since, held.len()),
        held,
        token_marks: unpack_token_marks(&wire.token_marks, dropped.len())
            .ok_or(StateError::Damaged { part: "token_marks" })?,
        dropped,
        yielded: wire.yielded,
        unfinished: wire.unfinished,
    })))
}

impl Envelope {
    /// The bytes to store. They keep at most [`MAX_HELD`] held and [`MAX_HELD`] dropped entries.
    pub fn to_bytes(&self) -> Vec<u8> {
        let wire = Wire {
            version: VERSION,
            cookie: self.cookie.as_ref().map(|c| BASE64.encode(c)),
            fingerprint: self.fingerprint.clone(),
            known: self.known_of_version_1.as_ref().map(pack_sketch),
            persons: self.known.as_ref().map(|known| pack_sketch(&known.persons)),
            groups: self.known.as_ref().map(|known| pack_sketch(&known.groups)),
            roster: self.roster.as_ref().map(|roster| BASE64.encode(roster.to_bytes())),
            ended: self
                .roster
                .as_ref()
                .map(|roster| BASE64.encode(roster.ended_to_bytes()))
                .unwrap_or_default(),
            missed: self.missed.as_ref().map(|missed| BASE64.encode(missed.to_bytes())),
            shown: self
                .shown
                .holders
                .iter()
                .map(|(key, holders)| (key.clone(), pack_sketch(holders)))
                .collect(),
            memberships: self.shown.memberships,
            matched: self.matched.as_ref().map(|matched| BASE64.encode(matched.to_bytes())),
            held: pack_uuids(self.held.iter().take(MAX_HELD).copied()),
            held_since: since::pack(self.held_since.iter().take(MAX_HELD)),
            dropped: pack_uuids(self.dropped.iter().take(MAX_HELD).copied()),
            token_marks: self.pack_token_marks(),
            yielded: self.yielded.clone(),
            unfinished: self.unfinished,
        };
        // Strings and numbers always serialise.
        serde_json::to_vec(&wire).unwrap_or_default()
    }

    /// As many marks as dropped entries.
    fn pack_token_marks(&self) -> String {
        let none = std::iter::repeat(TokenMark::default());
        let marks = self.token_marks.iter().copied().chain(none);
        BASE64.encode(token_mark::to_bytes(marks.take(self.dropped.len().min(MAX_HELD))))
    }

    /// The state that stores this envelope.
    pub fn to_state(&self) -> SyncState {
        SyncState::Active { cookie: self.to_bytes() }
    }
}

fn pack_sketch<const SIZE: usize>(sketch: &BottomK<SIZE>) -> WireSketch {
    WireSketch {
        count: sketch.count(),
        threshold: sketch.threshold(),
        sample: pack_uuids(sketch.sample()),
    }
}

/// Maximum number of attributes. A configuration cannot map more, so an envelope with more is not
/// one of this program.
const MAX_SHOWN: usize = 100;

fn unpack_shown(wire: BTreeMap<String, WireSketch>, memberships: Memberships) -> Option<Shown> {
    let few = wire.len() <= MAX_SHOWN;
    let holders = wire
        .into_iter()
        .map(|(key, sketch)| Some((key, unpack_sketch(&sketch)?)))
        .collect::<Option<_>>()?;
    few.then_some(Shown { holders, memberships })
}

fn unpack_roster(packed: &str) -> Option<Roster> {
    Roster::from_bytes(&BASE64.decode(packed).ok()?)
}

fn unpack_ended(roster: Roster, packed: &str) -> Option<Roster> {
    roster.with_ended_from_bytes(&BASE64.decode(packed).ok()?)
}

fn unpack_token_marks(packed: &str, entries: usize) -> Option<Vec<TokenMark>> {
    token_mark::from_bytes(&BASE64.decode(packed).ok()?, entries)
}

fn unpack_missed(packed: &str) -> Option<Missed> {
    Missed::from_bytes(&BASE64.decode(packed).ok()?)
}

fn unpack_buckets(packed: &str) -> Option<Buckets> {
    Buckets::from_bytes(&BASE64.decode(packed).ok()?)
}

fn unpack_sketch<const SIZE: usize>(wire: &WireSketch) -> Option<BottomK<SIZE>> {
    BottomK::from_parts(wire.count, wire.threshold, &unpack_uuids(&wire.sample)?)
}

fn pack_uuids(uuids: impl Iterator<Item = Uuid>) -> String {
    BASE64.encode(uuids.flat_map(Uuid::into_bytes).collect::<Vec<u8>>())
}

fn unpack_uuids(packed: &str) -> Option<Vec<Uuid>> {
    let bytes = BASE64.decode(packed).ok()?;
    let (uuids, rest) = bytes.as_chunks::<16>();
    (rest.is_empty() && uuids.len() <= MAX_HELD)
        .then(|| uuids.iter().map(|u| Uuid::from_bytes(*u)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::names::MAX_MISSED;
    use crate::kanidm::client::MAX_ANSWER;
    use crate::kanidm::sketch::Holders;

    fn full() -> Envelope {
        Envelope {
            cookie: Some(b"rid=000,csn=20261123125319.541811Z#000000#000#000000".to_vec()),
            fingerprint: "f".repeat(64),
            known: Some(Known {
                persons: Sketch::of((0..100_000).map(Uuid::from_u128)),
                groups: Sketch::of((200_000..201_000).map(Uuid::from_u128)),
            }),
            roster: Roster::of((0..Roster::MAX as u128).map(|n| (Uuid::from_u128(n), 7)))
                .map(|roster| roster.with_ended((0..Roster::MAX as u128).map(Uuid::from_u128))),
            missed: Missed::of(0..MAX_MISSED as u32),
            known_of_version_1: None,
            shown: Shown {
                holders: (0..20)
                    .map(|n| {
                        (format!("person_attr_{n}"), Holders::of((0..100_000).map(Uuid::from_u128)))
                    })
                    .collect(),
                memberships: Memberships { resolved: 100_000, unresolved: 7 },
            },
            matched: Some(Buckets::of(&(0..100_000).map(Uuid::from_u128).collect::<Vec<_>>())),
            held: (0..MAX_HELD as u128).map(Uuid::from_u128).collect(),
            held_since: vec![Since::Full; MAX_HELD],
            dropped: (0..MAX_HELD as u128).map(|n| Uuid::from_u128(n + 7)).collect(),
            token_marks: vec![TokenMark::of(["rule"].into_iter(), true); MAX_HELD],
            yielded: Yielded::from(["mail".to_owned()]),
            unfinished: Some(Unfinished { run: Uuid::from_u128(7), seq: 3, full: true }),
        }
    }

    fn ours(bytes: &[u8]) -> Envelope {
        match open(bytes) {
            Ok(Opened::Ours(envelope)) => *envelope,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn envelopes_come_back_as_they_were() {
        for envelope in [
            Envelope::default(),
            full(),
            Envelope {
                cookie: Some(vec![0, 255, b'"']),
                held: vec![],
                held_since: vec![],
                ..full()
            },
        ] {
            assert_eq!(ours(&envelope.to_bytes()), envelope);
        }
    }

    #[test]
    fn an_envelope_stays_small() {
        assert!(full().to_bytes().len() < 1_075_000, "{}", full().to_bytes().len());
        let answer = full().to_state().to_json().len() as u64;
        assert!(answer < MAX_ANSWER, "{answer}: the next run could not read it");
        let usual = Envelope {
            held: vec![],
            held_since: vec![],
            dropped: vec![],
            token_marks: vec![],
            matched: None,
            roster: None,
            missed: None,
            ..full()
        };
        let usual = usual.to_bytes().len();
        assert!(usual < 45_000, "{usual}");
    }

    #[test]
    fn more_than_the_limit_is_refused_when_read() {
        let mut wire: serde_json::Value = serde_json::from_slice(&full().to_bytes()).unwrap();
        wire["held"] = BASE64.encode(vec![0_u8; 16 * (MAX_HELD + 1)]).into();
        assert_eq!(open(wire.to_string().as_bytes()), Err(StateError::Damaged { part: "held" }));
    }

    #[test]
    fn what_is_not_an_envelope_is_the_directorys_cookie() {
        for cookie in [
            &b""[..],
            b"rid=000,csn=20261123125319.541811Z#000000#000#000000",
            b"localhost:16390#cn=sync,dc=example,dc=com:dc=example,dc=com:(objectClass=*)#12",
            b"{\"cookie\":\"abc\"}",
            b"{}",
            b"null",
            b"42",
            b"[1]",
            b"\xff\x00\xfe#\x00",
            b"{\"kanidm-ldap-sync\":\"one\"}",
        ] {
            assert_eq!(open(cookie), Ok(Opened::Foreign(cookie.to_vec())));
        }
    }

    #[test]
    fn a_newer_version_is_refused_whatever_else_it_holds() {
        let error = open(br#"{"kanidm-ldap-sync":3,"known":"something else"}"#).unwrap_err();
        assert_eq!(error, StateError::Newer { version: 3 });
        assert!(error.to_string().contains("version 3"));
    }

    #[test]
    fn an_envelope_of_version_1_is_read() {
        let json = br#"{"kanidm-ldap-sync":1,"fingerprint":"f","known":{"count":1,"threshold":18446744073709551615,"sample":"AAAAAAAAAAAAAAAAAAAABw"}}"#;
        let envelope = ours(json);
        assert_eq!(envelope.known, None);
        assert_eq!(envelope.known_of_version_1, Some(Sketch::of([Uuid::from_u128(7)])));
        assert_eq!(ours(&envelope.to_bytes()), envelope, "kept until a run replaces it");
    }

    #[test]
    fn damage_is_named() {
        for (json, part) in [
            (r#"{"kanidm-ldap-sync":1,"cookie":"*"}"#, "cookie"),
            (r#"{"kanidm-ldap-sync":1,"cookie":7}"#, "a key is missing or has another type"),
            (r#"{"kanidm-ldap-sync":1,"held":"AAAA"}"#, "held"),
            (
                r#"{"kanidm-ldap-sync":1,"known":{"count":1,"threshold":5,"sample":"AAAA"}}"#,
                "known",
            ),
            (
                r#"{"kanidm-ldap-sync":2,"persons":{"count":1,"threshold":5,"sample":""},"groups":{"count":0,"threshold":5,"sample":"AAAA"}}"#,
                "groups",
            ),
            (
                r#"{"kanidm-ldap-sync":2,"shown":{"mail":{"count":1,"threshold":5,"sample":"A"}}}"#,
                "shown",
            ),
            (r#"{"kanidm-ldap-sync":2,"matched":"AAAA"}"#, "matched"),
            (r#"{"kanidm-ldap-sync":2,"missed":"AAAA"}"#, "missed"),
            (r#"{"kanidm-ldap-sync":2,"roster":"AAAAAAAA","ended":"AAAA"}"#, "ended"),
            (
                r#"{"kanidm-ldap-sync":1,"known":{"count":0,"threshold":5,"sample":"AAAAAAAAAAE"}}"#,
                "known",
            ),
        ] {
            assert_eq!(open(json.as_bytes()), Err(StateError::Damaged { part }), "{json}");
        }
    }

    #[test]
    fn cut_or_changed_bytes_never_panic() {
        let bytes = Envelope {
            held: vec![Uuid::from_u128(1)],
            dropped: vec![Uuid::from_u128(2)],
            known: None,
            roster: Roster::of([(Uuid::from_u128(3), 4)])
                .map(|roster| roster.with_ended([Uuid::from_u128(3)])),
            missed: Missed::of([5]),
            shown: Shown::default(),
            matched: None,
            ..full()
        }
        .to_bytes();
        for end in 0..bytes.len() {
            assert!(matches!(open(&bytes[..end]), Ok(Opened::Foreign(_))), "cut at {end}");
        }
        for at in 0..bytes.len() {
            for byte in [b'0', b'"', b'}', 0, 0xff] {
                let mut changed = bytes.clone();
                changed[at] = byte;
                let _ = open(&changed);
            }
        }
    }

    #[test]
    fn states_are_read_as_kanidm_writes_them() {
        assert_eq!(SyncState::from_json(b"\"Refresh\""), Ok(SyncState::Refresh));
        let active = SyncState::Active { cookie: vec![0xfb, 0xff, 1] };
        for json in [&br#"{"Active":{"cookie":"-_8B"}}"#[..], br#" {"Active":{"cookie":"-_8B"}} "#]
        {
            assert_eq!(SyncState::from_json(json).as_ref(), Ok(&active));
        }
        assert_eq!(SyncState::from_json(active.to_json().as_bytes()).as_ref(), Ok(&active));
        assert_eq!(
            SyncState::from_json(br#"{"Active":{"cookie":"YQ=="}}"#),
            Ok(SyncState::Active { cookie: b"a".to_vec() })
        );
        for bad in [
            &b""[..],
            b"null",
            b"\"Other\"",
            br#"{"Active":{}}"#,
            br#"{"Active":{"cookie":"/+"}}"#,
            b"<html>",
            b"\"Refresh\" x",
        ] {
            SyncState::from_json(bad).unwrap_err();
        }
    }
}
