//! When an account may be used, as Kanidm is told it, and what is said of an account that ought to be closed.

use std::time::SystemTime;

use chrono::{DateTime, Utc};

/// Said of a person who is held and not locked.
pub const STILL_OPEN: &str = "note: the directory locks this account or limits its time, but while the entry is held Kanidm keeps the state it has";
/// Said of a person who is held and locked all the same.
pub const LOCKED: &str = "note: the account is locked in Kanidm, by a temporary name (tmp-...) until the entry is mended";

/// Seconds since the beginning of 1970, UTC.
pub type Seconds = i64;

/// The beginning of 1970: long gone, and what Kanidm can store.
pub const BEGINNING: Seconds = 0;
/// The last second of 9999, the end of RFC 3339.
pub const LAST: Seconds = 253_402_300_799;

/// What Kanidm needs to close the account of a person who is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The display name, or what stands in its place.
    pub displayname: String,
    /// When the account ended, RFC 3339.
    pub account_expire: String,
}

/// RFC 3339, as Kanidm reads it.
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

/// Whether this time, as [`rfc3339`] writes it, has come.
pub fn has_ended(time: &str) -> bool {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    time <= rfc3339(Seconds::try_from(now.as_secs()).unwrap_or(LAST)).as_str()
}
