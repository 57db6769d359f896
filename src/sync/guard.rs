//! The guard: refuses a run that would delete or remove unusually much.
//!
//! Scope: it takes numbers and returns a verdict, before the run sends anything. After a refusal
//! the run sends nothing. Persons, groups and each attribute are judged separately.

use std::fmt;

use uuid::Uuid;

use crate::content::changeset::Kind;
use crate::text::thousands;

/// A run may always lose this many entries or attributes, but never every entry of a kind. With
/// `max_delete_percent` = 0 it may not delete a single one.
const ALWAYS_ALLOWED: u64 = 3;

/// Maximum entries that a refusal names.
pub const NAMED: usize = 10;

/// The number of entries that a run would delete. Kanidm does not tell what it holds, so the number
/// may be uncertain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deletions {
    /// Exactly this many.
    Exactly(u64),
    /// Between these two, both included.
    Between(u64, u64),
    /// An estimate from a sample of the known entries.
    About(u64),
    /// The content of Kanidm is not known: the first run, or a cookie of another tool.
    Unknown,
}

impl Deletions {
    /// The number that the guard judges: the lower bound, or the estimate.
    pub fn at_least(self) -> u64 {
        match self {
            Deletions::Exactly(n) | Deletions::Between(n, _) | Deletions::About(n) => n,
            Deletions::Unknown => 0,
        }
    }

    /// The sum of both.
    pub fn plus(self, other: Deletions) -> Deletions {
        use Deletions::{About, Between, Exactly, Unknown};
        match (self, other) {
            (Unknown, _) | (_, Unknown) => Unknown,
            (Exactly(a), Exactly(b)) => Exactly(a.saturating_add(b)),
            (About(_), _) | (_, About(_)) => {
                About(self.at_least().saturating_add(other.at_least()))
            }
            _ => Between(
                self.at_least().saturating_add(other.at_least()),
                self.at_most().saturating_add(other.at_most()),
            ),
        }
    }

    fn at_most(self) -> u64 {
        match self {
            Deletions::Between(_, n) => n,
            other => other.at_least(),
        }
    }
}

impl fmt::Display for Deletions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Deletions::Exactly(n) => write!(f, "{}", thousands(*n)),
            Deletions::Between(0, b) => write!(f, "up to {}", thousands(*b)),
            Deletions::Between(a, b) => write!(f, "{} to {}", thousands(*a), thousands(*b)),
            Deletions::About(n) => write!(f, "about {}", thousands(*n)),
            Deletions::Unknown => f.write_str("an unknown number"),
        }
    }
}

/// Everything that a run is about to delete or remove.
#[derive(Debug, Default)]
pub struct Plan {
    /// The directory shows no person and no group at all.
    pub is_empty: bool,
    /// Deletions by kind; one share if the kinds are not known.
    pub shares: Vec<Share>,
    /// Attributes that entries would lose.
    pub losses: Vec<AttributeLoss>,
    /// Lock attributes, and the one that names TOTP tokens, that the directory hides. Each with the
    /// number of persons that it locked, or that may have tokens, and true for a lock.
    pub hidden_locks: Vec<(String, u64, bool)>,
    /// Persons that would be without password because their TOTP tokens are hidden, if this run takes
    /// the password of any.
    pub hidden_tokens: Option<Lost>,
    /// Number of persons whose TOTP tokens the configuration does not map any more.
    pub unmapped_tokens: u64,
    /// Memberships that would no longer resolve, if any.
    pub memberships: Option<Lost>,
}

/// The known entries of one kind, and how many of them the run deletes.
#[derive(Debug)]
pub struct Share {
    /// Person or group; `None` for both together.
    pub kind: Option<Kind>,
    /// Number of entries that Kanidm is known to hold; `None` if not known.
    pub known: Option<u64>,
    /// Number of entries that the run deletes.
    pub deletions: Deletions,
    /// No known entry stays, and no new one comes.
    pub all_go: bool,
    /// Some of the deleted entries, as far as their UUIDs are known.
    pub named: Vec<Uuid>,
}

/// A number of things, and how many of them are lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost {
    /// Number before the run.
    pub had: u64,
    /// Number that is gone after the run; an estimate from a sample if there were many.
    pub lost: u64,
}

/// An attribute that entries had and would lose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttributeLoss {
    /// Persons or groups.
    pub kind: Kind,
    /// The attribute as configured.
    pub attribute: String,
    /// The configuration key that names it.
    pub key: &'static str,
    /// Number of entries that had it, and that lose it.
    pub lost: Lost,
}

/// An entry that the run would delete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gone {
    /// Its UUID in Kanidm.
    pub uuid: Uuid,
    /// Its DN, if the directory still has the entry.
    pub dn: Option<String>,
}

impl fmt::Display for Gone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.dn {
            Some(dn) => write!(f, "{dn} ({})", self.uuid),
            None => write!(f, "{} (not found in the directory)", self.uuid),
        }
    }
}

/// Why the guard refused: all reasons at once. Exit code 4.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuardRefusal {
    /// Never empty.
    pub reasons: Vec<GuardReason>,
}

/// One reason to refuse a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GuardReason {
    /// The directory returned no person and no group.
    Nothing {
        /// Number of entries known to be in Kanidm.
        known: Option<u64>,
    },
    /// Every person, or every group, would be deleted.
    NobodyLeft {
        /// Which kind.
        kind: Kind,
        /// Number of entries of this kind known to be in Kanidm.
        known: u64,
    },
    /// More deletions than allowed.
    TooMany {
        /// Which kind; `None` for both together.
        kind: Option<Kind>,
        /// Number of entries that would be deleted.
        deletions: Deletions,
        /// Maximum number allowed.
        allowed: u64,
        /// `max_delete_percent`.
        percent: u8,
        /// Number of entries known to be in Kanidm.
        known: Option<u64>,
        /// Up to [`NAMED`] of the entries that would be deleted.
        named: Vec<Gone>,
    },
    /// More entries than allowed would lose an attribute.
    Attribute {
        /// The attribute and the numbers.
        loss: AttributeLoss,
        /// Maximum number allowed.
        allowed: u64,
    },
    /// The directory hides an attribute that locked persons, or that may name their TOTP tokens. One
    /// person is enough to refuse.
    HiddenLock {
        /// The attribute.
        attribute: String,
        /// Number of remembered persons that it locked, or of persons that may have tokens.
        persons: u64,
        /// False for the attribute that names TOTP tokens.
        is_lock: bool,
    },
    /// More persons than allowed would be without password, because the directory hides their TOTP
    /// tokens.
    HiddenTokens {
        /// The persons with tokens.
        lost: Lost,
        /// Maximum number allowed.
        allowed: u64,
    },
    /// The configuration does not map TOTP tokens any more. Kanidm would accept a password alone. One
    /// person is enough to refuse.
    UnmappedTokens {
        /// Number of persons with tokens.
        persons: u64,
    },
    /// More members than allowed would no longer be found.
    Memberships {
        /// The numbers.
        lost: Lost,
        /// Maximum number allowed.
        allowed: u64,
    },
}

/// Judges a plan against `max_delete_percent`.
///
/// # Errors
/// Every reason to refuse the plan.
pub fn check(plan: Plan, percent: u8) -> Result<(), GuardRefusal> {
    let known = plan.shares.iter().map(|share| share.known).sum();
    let mut reasons: Vec<GuardReason> = Vec::new();
    match plan.is_empty {
        true => reasons.push(GuardReason::Nothing { known }),
        false => reasons.extend(plan.shares.into_iter().filter_map(|share| judge(share, percent))),
    }
    let too_much =
        |lost: Lost| Some(allowed_losses(lost.had, percent)).filter(|allowed| lost.lost > *allowed);
    reasons.extend(plan.hidden_locks.into_iter().map(|(attribute, persons, is_lock)| {
        GuardReason::HiddenLock { attribute, persons, is_lock }
    }));
    let attributes = plan.losses.into_iter();
    reasons.extend(attributes.filter_map(|loss| {
        too_much(loss.lost).map(|allowed| GuardReason::Attribute { loss, allowed })
    }));
    reasons.extend(plan.hidden_tokens.and_then(|lost| {
        too_much(lost).map(|allowed| GuardReason::HiddenTokens { lost, allowed })
    }));
    reasons.extend(
        Some(plan.unmapped_tokens)
            .filter(|persons| *persons > 0)
            .map(|persons| GuardReason::UnmappedTokens { persons }),
    );
    reasons.extend(
        plan.memberships.and_then(|lost| {
            too_much(lost).map(|allowed| GuardReason::Memberships { lost, allowed })
        }),
    );
    if reasons.is_empty() { Ok(()) } else { Err(GuardRefusal { reasons }) }
}

fn judge(share: Share, percent: u8) -> Option<GuardReason> {
    let Share { kind, known, deletions, all_go, named } = share;
    if let (Some(kind), Some(known), true) = (kind, known, all_go) {
        return Some(GuardReason::NobodyLeft { kind, known });
    }
    let allowed = if percent == 0 { 0 } else { allowed_losses(known.unwrap_or(0), percent) };
    let named = named.into_iter().take(NAMED).map(|uuid| Gone { uuid, dn: None }).collect();
    (deletions.at_least() > allowed).then_some(GuardReason::TooMany {
        kind,
        deletions,
        allowed,
        percent,
        known,
        named,
    })
}

/// How many of `had` things a run may lose.
pub fn allowed_losses(had: u64, percent: u8) -> u64 {
    // 128 bits cannot overflow here.
    let share = u128::from(had) * u128::from(percent) / 100;
    ALWAYS_ALLOWED.max(u64::try_from(share).unwrap_or(u64::MAX))
}

impl fmt::Display for GuardRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "refused by the deletion guard, nothing was sent: {}. If that is intended, run once with --accept-deletes",
            self.what()
        )
    }
}

impl std::error::Error for GuardRefusal {}

impl GuardRefusal {
    /// The entries that would be deleted, for the caller to add their DNs.
    pub fn named(&mut self) -> impl Iterator<Item = &mut Gone> {
        self.reasons.iter_mut().flat_map(|reason| match reason {
            GuardReason::TooMany { named, .. } => named.as_mut_slice(),
            _ => &mut [],
        })
    }

    /// The same refusal without the names of entries.
    pub fn without_names(&self) -> GuardRefusal {
        let mut refusal = self.clone();
        for reason in &mut refusal.reasons {
            if let GuardReason::TooMany { named, .. } = reason {
                named.clear();
            }
        }
        refusal
    }

    /// The reasons alone, without the verdict.
    pub fn what(&self) -> impl fmt::Display + '_ {
        let reasons = &self.reasons;
        fmt::from_fn(move |f| {
            for (at, reason) in reasons.iter().enumerate() {
                write!(f, "{}{reason}", if at == 0 { "" } else { "; " })?;
            }
            Ok(())
        })
    }
}

impl fmt::Display for AttributeLoss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (lost, had, entries) = (
            thousands(self.lost.lost),
            thousands(self.lost.had),
            words(Some(self.kind), self.lost.had),
        );
        let (attribute, key) = (&self.attribute, self.key);
        write!(
            f,
            "{lost} of {had} {entries} with {attribute} lose it. Check who may read {attribute} in the directory, and {key}"
        )
    }
}

impl fmt::Display for GuardReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GuardReason::Nothing { known } => {
                f.write_str("the directory shows no person and no group")?;
                if let Some(known) = known {
                    write!(f, ", Kanidm has {}", thousands(*known))?;
                }
                f.write_str(
                    ". Check ldap_sync_base_dn, ldap_filter and the rights of the sync account",
                )
            }
            GuardReason::NobodyLeft { kind, known } => {
                let (one, key) = (words(Some(*kind), 1), objectclass(*kind));
                write!(
                    f,
                    "no {one} would be left of {} known. Check ldap_filter, {key} and the rights of the sync account",
                    thousands(*known)
                )
            }
            GuardReason::TooMany { kind, deletions, allowed, percent, known, named } => {
                let (entries, allowed) = (words(*kind, known.unwrap_or(2)), thousands(*allowed));
                match known {
                    Some(known) => write!(
                        f,
                        "{deletions} of {} known {entries} would be deleted, allowed are {allowed} (max_delete_percent = {percent})",
                        thousands(*known)
                    )?,
                    None => write!(
                        f,
                        "{deletions} {entries} would be deleted, allowed are {allowed} while Kanidm's content is not known"
                    )?,
                }
                for (at, gone) in named.iter().enumerate() {
                    write!(f, "{}{gone}", if at == 0 { ", among them " } else { ", " })?;
                }
                f.write_str(". Check ldap_filter and the rights of the sync account")
            }
            GuardReason::Attribute { loss, allowed } => fmt_loss(f, loss, *allowed),
            GuardReason::HiddenLock { attribute, persons, is_lock: true } => write!(
                f,
                "{attribute} locked {} {}, and the sync account cannot read it any more. \
                 Give the account the right to read {attribute}",
                thousands(*persons),
                words(Some(Kind::Person), *persons)
            ),
            GuardReason::HiddenLock { attribute, persons, is_lock: false } => write!(
                f,
                "{attribute} of {} {} is hidden from the sync account, and Kanidm would accept a password without its TOTP token. \
                 Give the account the right to read {attribute}",
                thousands(*persons),
                words(Some(Kind::Person), *persons)
            ),
            GuardReason::HiddenTokens { lost, allowed } => write!(
                f,
                "{} of {} {} with TOTP tokens would be without password because the sync account cannot read the tokens, allowed are {}. \
                 Give the account the right to read the entries that person_attr_totp names, and their parameters",
                thousands(lost.lost),
                thousands(lost.had),
                words(Some(Kind::Person), lost.had),
                thousands(*allowed)
            ),
            GuardReason::UnmappedTokens { persons } => write!(
                f,
                "person_attr_totp is not set any more, and Kanidm would accept the password alone of {} {} with TOTP tokens. \
                 Set person_attr_totp again",
                thousands(*persons),
                words(Some(Kind::Person), *persons)
            ),
            GuardReason::Memberships { lost, allowed } => write!(
                f,
                "{} of {} memberships would be lost because their members are not found, allowed are {}. \
                 Check group_attr_schema, group_attr_member and the rights of the sync account",
                thousands(lost.lost),
                thousands(lost.had),
                thousands(*allowed)
            ),
        }
    }
}

fn fmt_loss(f: &mut fmt::Formatter<'_>, loss: &AttributeLoss, allowed: u64) -> fmt::Result {
    let (lost, had) = (thousands(loss.lost.lost), thousands(loss.lost.had));
    let (entries, allowed) = (words(Some(loss.kind), loss.lost.had), thousands(allowed));
    write!(
        f,
        "{lost} of {had} {entries} with {0} would lose it, allowed are {allowed}. \
         Check who may read {0} in the directory, and {1}",
        loss.attribute, loss.key
    )
}

fn words(kind: Option<Kind>, n: u64) -> &'static str {
    match (kind, n) {
        (Some(Kind::Person), 1) => "person",
        (Some(Kind::Person), _) => "persons",
        (Some(Kind::Group), 1) => "group",
        (Some(Kind::Group), _) => "groups",
        (None, 1) => "entry",
        (None, _) => "entries",
    }
}

fn objectclass(kind: Kind) -> &'static str {
    match kind {
        Kind::Person => "person_objectclass",
        Kind::Group => "group_objectclass",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(kind: Option<Kind>, deletions: Deletions, known: Option<u64>) -> Share {
        Share { kind, known, deletions, all_go: false, named: Vec::new() }
    }

    fn plan(share: Share) -> Plan {
        Plan { shares: vec![share], ..Plan::default() }
    }

    fn reasons(plan: Plan, percent: u8) -> Vec<GuardReason> {
        check(plan, percent).err().map(|refusal| refusal.reasons).unwrap_or_default()
    }

    #[test]
    fn three_deletions_are_always_allowed_and_four_need_the_percentage() {
        for (n, known, allowed) in [
            (3, Some(10), true),
            (4, Some(10), false),
            (4, Some(19), false),
            (4, Some(20), true),
            (200, Some(1000), true),
            (201, Some(1000), false),
            (3, None, true),
            (4, None, false),
        ] {
            for kind in [Some(Kind::Person), Some(Kind::Group), None] {
                let plan = plan(share(kind, Deletions::Exactly(n), known));
                assert_eq!(reasons(plan, 20).is_empty(), allowed, "{n} of {known:?}");
            }
        }
    }

    #[test]
    fn percentage_is_the_configured_one() {
        let one = |n, known| plan(share(Some(Kind::Person), Deletions::Exactly(n), Some(known)));
        assert!(check(one(1000, 1000), 100).is_ok());
        assert!(check(one(1, 1000), 0).is_err(), "0 means none");
        assert!(check(one(0, 1000), 0).is_ok());
        assert!(check(one(u64::MAX, u64::MAX), 100).is_ok(), "no overflow");
    }

    #[test]
    fn the_last_of_a_kind_are_refused_whatever_the_numbers() {
        for kind in [Kind::Person, Kind::Group] {
            let share = Share { all_go: true, ..share(Some(kind), Deletions::Exactly(1), Some(1)) };
            assert_eq!(reasons(plan(share), 100), [GuardReason::NobodyLeft { kind, known: 1 }]);
        }
    }

    #[test]
    fn persons_and_groups_are_judged_apart() {
        let shares = vec![
            share(Some(Kind::Person), Deletions::Exactly(10), Some(11)),
            share(Some(Kind::Group), Deletions::Exactly(0), Some(1000)),
        ];
        let found = reasons(Plan { shares, ..Plan::default() }, 20);
        assert!(
            matches!(
                found[..],
                [GuardReason::TooMany { kind: Some(Kind::Person), allowed: 3, .. }]
            ),
            "{found:?}"
        );
    }

    #[test]
    fn no_entry_at_all_is_refused_whatever_is_known() {
        for known in [None, Some(0), Some(3), Some(100_000)] {
            let plan = Plan {
                is_empty: true,
                ..plan(share(None, Deletions::Exactly(known.unwrap_or(0)), known))
            };
            assert_eq!(reasons(plan, 100), [GuardReason::Nothing { known }]);
        }
    }

    #[test]
    fn attributes_and_memberships_have_the_same_allowance() {
        for (had, lost, allowed) in [
            (3, 3, true),
            (4, 4, false),
            (100, 20, true),
            (100, 21, false),
            (u64::MAX, u64::MAX, false),
        ] {
            let lost = Lost { had, lost };
            let loss = AttributeLoss {
                kind: Kind::Person,
                attribute: "mail".to_owned(),
                key: "person_attr_mail",
                lost,
            };
            assert_eq!(
                check(Plan { losses: vec![loss], ..Plan::default() }, 20).is_ok(),
                allowed,
                "{lost:?}"
            );
            assert_eq!(
                check(Plan { memberships: Some(lost), ..Plan::default() }, 20).is_ok(),
                allowed,
                "{lost:?}"
            );
        }
    }

    #[test]
    fn one_hidden_lock_is_refused() {
        let plan =
            Plan { hidden_locks: vec![("shadowExpire".to_owned(), 1, true)], ..Plan::default() };
        let text = check(plan, 100).unwrap_err().to_string();
        assert!(
            text.contains(
                "shadowExpire locked 1 person, and the sync account cannot read it any more"
            ),
            "{text}"
        );
    }

    #[test]
    fn refusal_names_numbers_entries_and_the_way_out() {
        let named: Vec<Uuid> = (0..20).map(Uuid::from_u128).collect();
        let lost = Lost { had: 1200, lost: 1200 };
        let plan = Plan {
            shares: vec![Share {
                named,
                ..share(Some(Kind::Person), Deletions::About(1500), Some(2000))
            }],
            losses: vec![AttributeLoss {
                kind: Kind::Person,
                attribute: "userpassword".to_owned(),
                key: "person_attr_password",
                lost,
            }],
            ..Plan::default()
        };
        let text = check(plan, 20).unwrap_err().to_string();
        assert!(
            text.contains("about 1,500 of 2,000 known persons would be deleted, allowed are 400"),
            "{text}"
        );
        assert!(
            text.contains(
                "; 1,200 of 1,200 persons with userpassword would lose it, allowed are 240"
            ),
            "{text}"
        );
        assert!(
            text.contains(&Uuid::from_u128(9).to_string())
                && !text.contains(&Uuid::from_u128(10).to_string()),
            "{text}"
        );
        assert!(text.ends_with("run once with --accept-deletes"), "{text}");
    }

    #[test]
    fn numbers_of_two_kinds_add_up() {
        use Deletions::{About, Between, Exactly, Unknown};
        for (a, b, sum) in [
            (Exactly(1), Exactly(2), Exactly(3)),
            (Exactly(1), Between(2, 4), Between(3, 5)),
            (About(100), Between(2, 4), About(102)),
            (Unknown, Exactly(1), Unknown),
        ] {
            assert_eq!((a.plus(b), b.plus(a)), (sum, sum));
        }
    }
}
