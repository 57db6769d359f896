//! Time limits of accounts.
//!
//! Scope: times as Kanidm reads them, and the notes about accounts that the directory closes.

use std::time::SystemTime;

use chrono::{DateTime, Utc};

/// Note about a held person whose account stays open.
pub const STILL_OPEN: &str = "note: the directory locks this account or limits its time, but while the entry is held Kanidm keeps the state it has";
/// Note about a held person whose account was closed nevertheless, and keeps its name.
pub const CLOSED: &str = "note: the account is locked in Kanidm nevertheless";
/// Note about a held person whose account was closed nevertheless, and lost its name.
pub const LOCKED: &str = "note: the account is locked in Kanidm, by a temporary name (tmp-...) until the entry is mended";

/// Seconds since the beginning of 1970, UTC.
pub type Seconds = i64;

/// The beginning of 1970: in the past, and a time that Kanidm can store.
pub const BEGINNING: Seconds = 0;
/// The last second of 9999, the end of RFC 3339.
pub const LAST: Seconds = 253_402_300_799;

/// The data that Kanidm needs to close the account of a held person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The name in Kanidm, if the entry has a valid one.
    pub name: Option<String>,
    /// The display name, or a substitute for it.
    pub displayname: String,
    /// When the account ended, RFC 3339.
    pub account_expire: String,
}

/// Formats a time as RFC 3339, for Kanidm. Times before 1970 or after 9999 become the limit.
pub fn rfc3339(time: Seconds) -> String {
    use chrono::{Datelike, Timelike};
    let t: DateTime<Utc> =
        DateTime::from_timestamp(time.clamp(BEGINNING, LAST), 0).unwrap_or_default();
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
        t.year(),
        t.month(),
        t.day(),
        t.hour(),
        t.minute(),
        t.second()
    )
}

/// True if this time, in the format of [`rfc3339`], has come.
pub fn has_ended(time: &str) -> bool {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    time <= rfc3339(Seconds::try_from(now.as_secs()).unwrap_or(LAST)).as_str()
}
