//! Account locks: lock and expiry attributes to Kanidm's `account_valid_from` and `account_expire`.
//!
//! Scope: the attributes of `sync_account_lock`. An unclear lock must never make an account look
//! unlocked. So every unclear value is a problem, and the entry is held under every policy.
//!
//! - `nsAccountLock` (389): `true` locks the account.
//! - `sambaAcctFlags` (Samba): `D` among the flags locks the account. `L`, the lock-out after wrong
//!   passwords, is temporary and not copied.
//! - `pwdAccountLockedTime` (ppolicy): the year 0000 locks the account for good. Any other time is
//!   a temporary lock-out by the server and not copied.
//! - `shadowExpire` (RFC 2307): the account ends at the start of this day, counted from 1970. -1 is
//!   never, and 0 is the first day of 1970, as pam_unix reads it.
//! - `pwdEndTime` (ppolicy), `krbPrincipalExpiration`: the account ends at this time.
//! - `pwdStartTime` (ppolicy): the account begins at this time.
//!
//! The earliest end counts. A locked account ends at the beginning of 1970, because synchronisation
//! cannot set any other lock in Kanidm.

use chrono::NaiveDate;

use crate::content::account::{BEGINNING, LAST, Seconds};

use super::values::{self, Picked};
use crate::content::rules::Rule;

/// The attributes, in the order of [`Values`].
pub(crate) const ATTRIBUTES: [&str; COUNT] = [
    "nsAccountLock",
    "pwdAccountLockedTime",
    "shadowExpire",
    "pwdEndTime",
    "krbPrincipalExpiration",
    "pwdStartTime",
    "sambaAcctFlags",
];
const COUNT: usize = 7;

const BOOLEAN: Rule = "must be TRUE or FALSE";
const FLAGS: Rule = "must be letters in brackets, such as [U          ]";
const DAYS: Rule = "must be a number of days since 1970-01-01, or -1 for never";
const TIME: Rule = "must be a GeneralizedTime, such as 20301231235959Z";

/// The lock attributes of an entry.
pub(crate) type Values<'a> = [Option<Picked<'a>>; COUNT];

const DAY: Seconds = 86_400;

/// The time in which an account may be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) valid_from: Option<Seconds>,
    pub(crate) expire: Option<Seconds>,
}

impl Window {
    /// Locks the account: it ends at the beginning of 1970.
    pub(crate) fn lock(&mut self) {
        self.expire = Some(BEGINNING);
    }

    /// True if the account is locked. No other attribute can change that.
    pub(crate) fn is_locked(self) -> bool {
        self.expire == Some(BEGINNING)
    }

    /// Reads the attributes. Calls `problem` for each unclear value.
    pub(crate) fn read(
        attributes: &Values<'_>,
        mut problem: impl FnMut(&'static str, Rule),
    ) -> Window {
        let mut window = Window::default();
        for (name, attribute) in ATTRIBUTES.iter().zip(attributes) {
            for value in attribute.iter().flat_map(values::not_blank) {
                match read(name, value) {
                    Ok(None) => {}
                    Ok(Some(Bound::From(from))) => {
                        window.valid_from =
                            Some(window.valid_from.map_or(from, |other| other.max(from)))
                    }
                    Ok(Some(Bound::Until(end))) => {
                        window.expire = Some(window.expire.map_or(end, |other| other.min(end)))
                    }
                    Err(rule) => problem(name, rule),
                }
            }
        }
        window
    }
}

/// True if an attribute locks the account, limits its time, or is unclear.
pub(crate) fn limits(name: &str, attribute: &Picked<'_>) -> bool {
    values::not_blank(attribute).any(|value| !matches!(read(name, value), Ok(None)))
}

pub(super) enum Bound {
    From(Seconds),
    Until(Seconds),
}

/// The effect of one value; `None` if it limits nothing.
pub(super) fn read(name: &str, value: &[u8]) -> Result<Option<Bound>, Rule> {
    let text = str::from_utf8(value).map(str::trim).unwrap_or_default();
    match name {
        "nsAccountLock" => Ok(boolean(text)?.then_some(Bound::Until(BEGINNING))),
        // "000001010000Z" of the ppolicy draft §5.3.3 means "for good" and is no time. Other
        // spellings of it exist, so only its year counts.
        "pwdAccountLockedTime" if text.starts_with("0000") => Ok(Some(Bound::Until(BEGINNING))),
        "pwdAccountLockedTime" => generalized_time(text).map(|_| None).ok_or(TIME),
        "sambaAcctFlags" => Ok(is_disabled(text)?.then_some(Bound::Until(BEGINNING))),
        "shadowExpire" => Ok(day(text)?.map(Bound::Until)),
        "pwdStartTime" => generalized_time(text).map(|time| Some(Bound::From(time))).ok_or(TIME),
        _ => generalized_time(text).map(|time| Some(Bound::Until(time))).ok_or(TIME),
    }
}

fn boolean(text: &str) -> Result<bool, Rule> {
    if text.eq_ignore_ascii_case("true") {
        Ok(true)
    } else if text.eq_ignore_ascii_case("false") {
        Ok(false)
    } else {
        Err(BOOLEAN)
    }
}

/// True if Samba's account flags have a `D`.
fn is_disabled(text: &str) -> Result<bool, Rule> {
    let flags = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let flags = flags.filter(|flags| flags.bytes().all(|b| b == b' ' || b.is_ascii_alphanumeric()));
    // A `D` in badly written flags locks, too.
    if text.contains('D') { Ok(true) } else { flags.map(|_| false).ok_or(FLAGS) }
}

/// The start of a day since 1970; `None` for never, and for days after the last that RFC 3339 can
/// write.
fn day(text: &str) -> Result<Option<Seconds>, Rule> {
    if text == "-1" {
        return Ok(None);
    }
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(DAYS);
    }
    let begins = text.parse::<Seconds>().ok().and_then(|days| days.checked_mul(DAY));
    Ok(begins.filter(|begins| *begins <= LAST))
}

/// GeneralizedTime, RFC 4517 §3.3.13: `YYYYMMDDHH[MM[SS]][(.|,)fraction](Z|±HH[MM])`. Fractions of
/// a second are cut off. Times before 1970 become the beginning of 1970.
fn generalized_time(text: &str) -> Option<Seconds> {
    let mut rest = text.as_bytes();
    let date = NaiveDate::from_ymd_opt(
        i32::try_from(digits(&mut rest, 4)?).ok()?,
        digits(&mut rest, 2)?,
        digits(&mut rest, 2)?,
    )?;
    let hour = digits(&mut rest, 2)?;
    let minute = optional_digits(&mut rest)?;
    let second = if minute.is_some() { optional_digits(&mut rest)? } else { None };
    let unit = match (minute, second) {
        (_, Some(_)) => 1,
        (Some(_), None) => 60,
        (None, None) => 3600,
    };
    let fraction = fraction_of(&mut rest, unit)?;
    let offset = offset(rest)?;
    // 60 is a leap second: the first second of the next minute.
    let second = second.unwrap_or(0);
    let time = date.and_hms_opt(hour, minute.unwrap_or(0), second.min(59))?.and_utc().timestamp()
        + Seconds::from(second == 60);
    let time = if second > 60 { None } else { time.checked_add(fraction)?.checked_sub(offset) };
    Some(time?.clamp(BEGINNING, LAST))
}

fn digits(rest: &mut &[u8], count: usize) -> Option<u32> {
    let (digits, after) = rest.split_at_checked(count)?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    *rest = after;
    Some(digits.iter().fold(0, |number, digit| number * 10 + u32::from(digit - b'0')))
}

/// Two digits, if a digit follows. The outer `None` is the error.
fn optional_digits(rest: &mut &[u8]) -> Option<Option<u32>> {
    if rest.first().is_some_and(u8::is_ascii_digit) {
        digits(rest, 2).map(Some)
    } else {
        Some(None)
    }
}

/// A decimal fraction of a unit of `unit` seconds, in whole seconds.
fn fraction_of(rest: &mut &[u8], unit: Seconds) -> Option<Seconds> {
    let Some((b'.' | b',', after)) = rest.split_first() else { return Some(0) };
    let length = after.iter().take_while(|b| b.is_ascii_digit()).count();
    let (fraction, after) = after.split_at_checked(length)?;
    if fraction.is_empty() {
        return None;
    }
    *rest = after;
    // Nine digits are enough for a whole second of an hour.
    let (mut seconds, mut divisor) = (0, 1);
    for digit in fraction.iter().take(9) {
        divisor *= 10;
        seconds = seconds * 10 + Seconds::from(digit - b'0');
    }
    Some(seconds * unit / divisor)
}

/// Seconds east of UTC.
fn offset(rest: &[u8]) -> Option<Seconds> {
    let (sign, mut rest) = match rest.split_first()? {
        (b'Z', []) => return Some(0),
        (b'+', rest) => (1, rest),
        (b'-', rest) => (-1, rest),
        _ => return None,
    };
    let hours = digits(&mut rest, 2).filter(|hours| *hours < 24)?;
    let minutes = optional_digits(&mut rest)?.unwrap_or(0);
    (rest.is_empty() && minutes < 60).then_some(sign * Seconds::from(hours * 3600 + minutes * 60))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::account::rfc3339;

    fn until(name: &str, value: &str) -> Result<Option<String>, Rule> {
        match read(name, value.as_bytes())? {
            None => Ok(None),
            Some(Bound::Until(time)) => Ok(Some(rfc3339(time))),
            Some(Bound::From(time)) => Ok(Some(format!("from {}", rfc3339(time)))),
        }
    }

    #[test]
    fn locks() {
        let epoch = Ok(Some("1970-01-01T00:00:00Z".to_string()));
        for locked in ["true", "TRUE", "True", " true "] {
            assert_eq!(until("nsAccountLock", locked), epoch, "{locked}");
        }
        assert_eq!(until("nsAccountLock", "false"), Ok(None));
        for unclear in ["yes", "1", "truefalse"] {
            assert_eq!(until("nsAccountLock", unclear), Err(BOOLEAN), "{unclear}");
        }
        assert_eq!(read("nsAccountLock", &[0xff]).map(|_| ()), Err(BOOLEAN));
        for locked in [
            "000001010000Z",
            "00000101000000Z",
            "000001010000+0000",
            "00000101000000.0-0000",
            "0000",
        ] {
            assert_eq!(until("pwdAccountLockedTime", locked), epoch, "{locked}");
        }
        assert_eq!(until("pwdAccountLockedTime", "20240101120000Z"), Ok(None));
        assert_eq!(until("pwdAccountLockedTime", "someday"), Err(TIME));
    }

    #[test]
    fn samba_flags() {
        let epoch = Some("1970-01-01T00:00:00Z".to_string());
        for (flags, end) in [
            ("[U          ]", Ok(None)),
            ("[UX]", Ok(None)),
            ("[UL         ]", Ok(None)),
            ("[]", Ok(None)),
            ("[UD         ]", Ok(epoch.clone())),
            ("[D]", Ok(epoch.clone())),
            ("UD", Ok(epoch.clone())),
            ("U", Err(FLAGS)),
            ("", Err(FLAGS)),
            ("[U", Err(FLAGS)),
            ("[U-]", Err(FLAGS)),
        ] {
            assert_eq!(until("sambaAcctFlags", flags), end, "{flags}");
        }
    }

    #[test]
    fn shadow_days() {
        for (days, end) in [
            ("0", Some("1970-01-01T00:00:00Z")),
            ("1", Some("1970-01-02T00:00:00Z")),
            ("19723", Some("2024-01-01T00:00:00Z")),
            ("2932896", Some("9999-12-31T00:00:00Z")),
            ("2932897", None),
            ("99999999999999999999", None),
            ("-1", None),
        ] {
            assert_eq!(until("shadowExpire", days), Ok(end.map(String::from)), "{days}");
        }
        for bad in ["-2", "+1", "1.5", "never", "0x10"] {
            assert_eq!(until("shadowExpire", bad), Err(DAYS), "{bad}");
        }
    }

    #[test]
    fn times() {
        for (time, expected) in [
            ("20240229235959Z", "2024-02-29T23:59:59Z"),
            ("202402292359Z", "2024-02-29T23:59:00Z"),
            ("2024022923Z", "2024-02-29T23:00:00Z"),
            ("20240229235959.999Z", "2024-02-29T23:59:59Z"),
            ("20240229235959,1234567891234Z", "2024-02-29T23:59:59Z"),
            ("202402292359.5Z", "2024-02-29T23:59:30Z"),
            ("2024022923,75Z", "2024-02-29T23:45:00Z"),
            ("20240229235960Z", "2024-03-01T00:00:00Z"),
            ("20240301010000+0100", "2024-03-01T00:00:00Z"),
            ("20240229193000-0430", "2024-03-01T00:00:00Z"),
            ("2024030102+02", "2024-03-01T00:00:00Z"),
            ("19691231235959Z", "1970-01-01T00:00:00Z"),
            ("00000101000000Z", "1970-01-01T00:00:00Z"),
            ("99991231235959Z", "9999-12-31T23:59:59Z"),
            ("99991231235959-2359", "9999-12-31T23:59:59Z"),
        ] {
            for name in ["pwdEndTime", "krbPrincipalExpiration"] {
                assert_eq!(until(name, time), Ok(Some(expected.to_string())), "{time}");
            }
            assert_eq!(until("pwdStartTime", time), Ok(Some(format!("from {expected}"))), "{time}");
        }
        for bad in [
            "20240229235959",
            "20230229235959Z",
            "20240229245959Z",
            "20240229236059Z",
            "20240229235961Z",
            "20241329235959Z",
            "20240229235959.Z",
            "2024022923595Z",
            "20240229Z",
            "20240229235959Zx",
            "20240229235959+1",
            "20240229235959+2400",
            "20240229235959+0160",
            "20240229235959z",
            "never",
            "２０240229235959Z",
            "",
        ] {
            assert_eq!(until("pwdEndTime", bad), Err(TIME), "{bad:?}");
        }
    }
}
