//! Numbers and times as text.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chrono::{DateTime, Utc};

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

/// A number of things, in words.
pub fn count(n: u64, what: &str) -> String {
    format!("{} {what}{}", thousands(n), if n == 1 { "" } else { "s" })
}

/// The time in UTC. A time outside the range of chrono becomes the nearest one in it.
pub fn utc(time: SystemTime) -> DateTime<Utc> {
    let since_epoch = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = i64::try_from(since_epoch.as_secs()).unwrap_or(i64::MAX);
    DateTime::from_timestamp(seconds, since_epoch.subsec_nanos())
        .unwrap_or(DateTime::<Utc>::MAX_UTC)
}

/// The time in seconds since 1970. A time before it becomes 0.
pub fn unix(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// The time that is so many seconds after 1970.
pub fn of_unix(seconds: u64) -> DateTime<Utc> {
    UNIX_EPOCH.checked_add(Duration::from_secs(seconds)).map_or(DateTime::<Utc>::MAX_UTC, utc)
}

/// A time span in words, in its largest whole unit.
pub fn span(seconds: u64) -> String {
    match seconds {
        0..120 => count(seconds, "second"),
        120..7_200 => count(seconds / 60, "minute"),
        7_200..172_800 => count(seconds / 3_600, "hour"),
        _ => count(seconds / 86_400, "day"),
    }
}

/// A message as a sentence, so that another one may follow. A message may end with a question.
pub fn sentence(message: &str) -> String {
    let end = if message.ends_with(['.', '?', '!']) { "" } else { "." };
    format!("{message}{end}")
}

/// The end of a message that says what to do: after its last `; ` or `. `. Empty if there is none.
/// Only for a message that ends with words of this program, because words of a server are no
/// advice. A server's name in that end is in quotes, as `Debug` writes it, and may hold anything.
pub fn remedy_of(message: &str) -> &str {
    let mut is_quoted = false;
    for (at, c) in message.char_indices().rev() {
        let (before, after) = message.split_at_checked(at).unwrap_or_default();
        let escapes = before.len() - before.trim_end_matches('\\').len();
        if c == '"' && escapes.is_multiple_of(2) {
            is_quoted = !is_quoted;
        } else if !is_quoted
            && let Some(remedy) = after.strip_prefix("; ").or_else(|| after.strip_prefix(". "))
        {
            return remedy;
        }
    }
    ""
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_gets_no_period() {
        assert_eq!(sentence("a: b; do c"), "a: b; do c.");
        assert_eq!(sentence("a: b; does it run?"), "a: b; does it run?");
        assert_eq!(sentence("a. Do c."), "a. Do c.");
    }

    #[test]
    fn thousands_are_grouped() {
        assert_eq!(
            [0, 999, 1000, 10_482, 1_000_000].map(thousands),
            ["0", "999", "1,000", "10,482", "1,000,000"]
        );
    }

    #[test]
    fn a_span_is_told_in_its_largest_unit() {
        assert_eq!(
            [0, 1, 119, 120, 7_199, 7_200, 172_799, 172_800].map(span),
            [
                "0 seconds",
                "1 second",
                "119 seconds",
                "2 minutes",
                "119 minutes",
                "2 hours",
                "47 hours",
                "2 days"
            ]
        );
    }

    #[test]
    fn a_remedy_is_the_end_of_a_message() {
        for (message, remedy) in [
            ("a: b; c", "c"),
            ("a: b; c. Do d", "Do d"),
            ("a. b; c", "c"),
            ("a: b.c;d", ""),
            ("a; add \"X Inc. CA; run \\\"c\\\"\" to b", "add \"X Inc. CA; run \\\"c\\\"\" to b"),
            ("a \"; run c; d", "d"),
            ("a; add \"x; run c\\\\\" to b", "add \"x; run c\\\\\" to b"),
            ("a; ", ""),
            ("", ""),
        ] {
            assert_eq!(remedy_of(message), remedy, "{message}");
        }
    }
}
