//! The deletion guard: refuses a run that would delete more than an administrator would call ordinary.
//!
//! Scope: numbers in, a verdict out. Nothing has been sent when it speaks, and nothing is sent after it refused.

use std::fmt;

use uuid::Uuid;

/// Deleting this many entries is always ordinary, however small the directory.
const ALWAYS_ALLOWED: u64 = 10;

/// At most this many entries are named in a refusal.
pub const NAMED: usize = 10;

/// How many entries a run would delete, as far as it can be known: Kanidm does not tell what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deletions {
    /// Exactly this many.
    Exactly(u64),
    /// Between these two, both included.
    Between(u64, u64),
    /// An estimate from a sample of the known entries.
    About(u64),
    /// What Kanidm holds is not known: the first run, or a cookie of another tool.
    Unknown,
}

impl Deletions {
    /// The number that the guard judges: the smallest that is certain, or the estimate.
    pub fn at_least(self) -> u64 {
        match self {
            Deletions::Exactly(n) | Deletions::Between(n, _) | Deletions::About(n) => n,
            Deletions::Unknown => 0,
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

/// What a run is about to do.
#[derive(Debug)]
pub struct Plan<'a> {
    /// How many entries stay, where the run states the whole content (Retain, or a Refresh); `None` where it lists deletions only.
    pub stays: Option<u64>,
    /// How many go.
    pub deletions: Deletions,
    /// How many are known to be in Kanidm; `None` where that is not known.
    pub known: Option<u64>,
    /// Some of those that go, where they can be named.
    pub named: &'a [Uuid],
}

/// Why the guard refused. Exit code 4.
#[derive(Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The directory answered with no entry at all.
    Nothing {
        /// How many are known to be in Kanidm.
        known: Option<u64>,
    },
    /// More deletions than allowed.
    TooMany {
        /// How many would go.
        deletions: Deletions,
        /// The most that is allowed.
        allowed: u64,
        /// `max_delete_percent`.
        percent: u8,
        /// How many are known to be in Kanidm.
        known: Option<u64>,
        /// Up to [`NAMED`] of those that would go.
        named: Vec<Uuid>,
    },
}

/// Judges a plan against `max_delete_percent`.
pub fn check(plan: &Plan<'_>, percent: u8) -> Result<(), Refusal> {
    if plan.stays == Some(0) {
        return Err(Refusal::Nothing { known: plan.known });
    }
    let allowed = ALWAYS_ALLOWED.max(plan.known.unwrap_or(0).saturating_mul(u64::from(percent)) / 100);
    if plan.deletions.at_least() <= allowed {
        return Ok(());
    }
    Err(Refusal::TooMany {
        deletions: plan.deletions,
        allowed,
        percent,
        known: plan.known,
        named: plan.named.iter().take(NAMED).copied().collect(),
    })
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "refused by the deletion guard, nothing was sent: {}. If that is intended, run once with --accept-deletes", self.what())
    }
}

impl Refusal {
    /// What would have been deleted, without the verdict.
    pub fn what(&self) -> impl fmt::Display + '_ {
        fmt::from_fn(|f| self.describe(f))
    }

    fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Nothing { known } => {
                f.write_str("the directory answered with no person and no group")?;
                if let Some(n) = known {
                    write!(f, ", and {} known entries would be deleted", thousands(*n))?;
                }
                f.write_str(". Check ldap_sync_base_dn, ldap_filter and the rights of the sync account")
            }
            Refusal::TooMany { deletions, allowed, percent, known, named } => {
                write!(f, "{deletions} entries would be deleted")?;
                match known {
                    Some(n) => {
                        let n = thousands(*n);
                        write!(f, " of {n} known, allowed are {} (10, or max_delete_percent = {percent} %)", thousands(*allowed))?;
                    }
                    None => write!(f, ", allowed are {allowed} while it is not known how many entries Kanidm holds")?,
                }
                if !named.is_empty() {
                    f.write_str("; among them ")?;
                    for (i, uuid) in named.iter().enumerate() {
                        write!(f, "{}{uuid}", if i == 0 { "" } else { ", " })?;
                    }
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for Refusal {}

/// A number with a comma between thousands.
pub fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(deletions: Deletions, known: Option<u64>) -> Plan<'static> {
        Plan { stays: None, deletions, known, named: &[] }
    }

    #[test]
    fn ten_deletions_are_always_allowed_and_eleven_need_the_percentage() {
        for (n, known, allowed) in [
            (10, Some(10), true),
            (11, Some(10), false),
            (11, Some(54), false),
            (11, Some(55), true),
            (200, Some(1000), true),
            (201, Some(1000), false),
            (10, None, true),
            (11, None, false),
        ] {
            assert_eq!(check(&plan(Deletions::Exactly(n), known), 20).is_ok(), allowed, "{n} of {known:?}");
        }
    }

    #[test]
    fn percentage_is_the_configured_one() {
        assert!(check(&plan(Deletions::Exactly(1000), Some(1000)), 100).is_ok());
        assert!(check(&plan(Deletions::Exactly(11), Some(1000)), 0).is_err());
        assert!(check(&plan(Deletions::Exactly(u64::MAX), Some(u64::MAX)), 100).is_err(), "no overflow");
    }

    #[test]
    fn no_entry_at_all_is_refused_whatever_is_known() {
        for known in [None, Some(0), Some(3), Some(100_000)] {
            let plan = Plan { stays: Some(0), deletions: Deletions::Exactly(known.unwrap_or(0)), known, named: &[] };
            assert_eq!(check(&plan, 100), Err(Refusal::Nothing { known }));
        }
    }

    #[test]
    fn refusal_names_numbers_entries_and_the_way_out() {
        let named: Vec<Uuid> = (0..20).map(Uuid::from_u128).collect();
        let plan = Plan { stays: Some(1), deletions: Deletions::About(1500), known: Some(2000), named: &named };
        let text = check(&plan, 20).unwrap_err().to_string();
        assert!(text.contains("about 1,500 entries would be deleted of 2,000 known, allowed are 400"), "{text}");
        assert!(text.contains(&Uuid::from_u128(9).to_string()) && !text.contains(&Uuid::from_u128(10).to_string()), "{text}");
        assert!(text.ends_with("run once with --accept-deletes"), "{text}");
    }

    #[test]
    fn thousands_are_grouped() {
        assert_eq!([0, 999, 1000, 10_482, 1_000_000].map(thousands), ["0", "999", "1,000", "10,482", "1,000,000"]);
    }
}
