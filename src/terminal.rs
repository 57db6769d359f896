//! Text for a terminal of a known width, with line breaks between words. Any other output (a pipe,
//! a file, cron) gets one line for each message, which suits grep.
//!
//! Scope: the width of a terminal, line breaks, and writing. There are no colours.

use std::ffi::OsString;
use std::io::{self, ErrorKind, IsTerminal as _, Write as _, stdout};
use std::iter::repeat_n;

use crate::env::Env;

/// The width of terminals: `COLUMNS` if it is a number above 0. Otherwise it is unknown: asking the
/// terminal (`TIOCGWINSZ`) takes unsafe code or another crate. The terminal then breaks the lines
/// itself, at its real width.
pub fn columns(env: Env<'_>) -> Option<usize> {
    let set = env("COLUMNS").and_then(|text| text.to_str()?.parse().ok());
    set.filter(|columns| *columns > 0)
}

/// The width of standard output, or `None` if it is unknown, or no terminal, where lines may have
/// any length.
pub fn of_stdout(columns: Option<usize>) -> Option<usize> {
    columns.filter(|_| stdout().is_terminal())
}

/// Writes to standard output. A reader that closes its end of a pipe wants no more, so that is no
/// error.
pub fn print(text: &str) -> io::Result<()> {
    let mut stdout = stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}

/// `start` and `text` in lines of at most `columns` that end between words. Lines after the first
/// start with `indent` spaces. A longer word (a DN, an address) is not broken, because somebody may
/// copy it as a whole.
pub fn wrapped(start: &str, text: &str, indent: usize, columns: Option<usize>) -> String {
    let most = columns.unwrap_or(usize::MAX);
    let mut lines = start.to_owned();
    // The width of the line so far, and whether the next word is its first.
    let (mut at, mut alone) = (width(start), true);
    for word in text.split(' ') {
        let wide = width(word);
        if !alone && at.saturating_add(1).saturating_add(wide) > most {
            lines.push('\n');
            lines.extend(repeat_n(' ', indent));
            (at, alone) = (indent, true);
        }
        if !alone {
            lines.push(' ');
            at = at.saturating_add(1);
        }
        lines.push_str(word);
        at = at.saturating_add(wide);
        alone = false;
    }
    lines.push('\n');
    lines
}

/// The number of columns, as far as possible without a table of Unicode.
pub fn width(text: &str) -> usize {
    text.chars().count()
}

/// True if the first variable that is set names UTF-8. This is the order of setlocale(3) for
/// characters.
pub fn is_utf8(env: Env<'_>) -> bool {
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
        .into_iter()
        .find_map(|name| env(name).filter(|value| !value.is_empty()));
    let locale = locale.map(OsString::into_encoded_bytes).unwrap_or_default().to_ascii_lowercase();
    [&b"utf-8"[..], b"utf8"]
        .iter()
        .any(|charset| locale.windows(charset.len()).any(|window| window == *charset))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_between_words() {
        let lines = |text, columns| wrapped("- ", text, 2, columns);
        assert_eq!(lines("aa bb cc", None), "- aa bb cc\n");
        assert_eq!(lines("aa bb cc", Some(10)), "- aa bb cc\n");
        assert_eq!(lines("aa bb cc", Some(9)), "- aa bb\n  cc\n");
        assert_eq!(lines("aa cn=ff,dc=example bb", Some(10)), "- aa\n  cn=ff,dc=example\n  bb\n");
        assert_eq!(lines("cn=ff,dc=example", Some(10)), "- cn=ff,dc=example\n");
        assert_eq!(lines("éé öö", Some(7)), "- éé öö\n");
        assert_eq!(lines("", Some(10)), "- \n");
        // Two spaces that align the items of a list.
        assert_eq!(lines("a  b", Some(10)), "- a  b\n");
        assert_eq!(lines("a b", Some(1)), "- a\n  b\n");
        assert_eq!(wrapped("error: ", "a b", 2, Some(9)), "error: a\n  b\n");
    }

    #[test]
    fn a_terminal_is_as_wide_as_columns_says() {
        let with = |value: &str| columns(&|name| (name == "COLUMNS").then(|| value.into()));
        assert_eq!(
            (with("132"), with("0"), with("-1"), with("wide"), with("")),
            (Some(132), None, None, None, None)
        );
        assert_eq!(columns(&|_| None), None);
    }
}
