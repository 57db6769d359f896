//! String preparation (RFC 4518 §2): names that differ only in their Unicode form are equal.
//!
//! Scope: the comparison of OpenLDAP: compatibility decomposition, composition, lower case. 389
//! Directory Server compares the characters as they are, so its names are not prepared.

use unicode_normalization::UnicodeNormalization;

/// Prepares a name.
pub(crate) fn prepare_text(text: &mut String) {
    if !text.is_ascii() {
        *text = text.nfkc().flat_map(char::to_lowercase).collect();
    }
}

/// Prepares a DN in comparison form ([`ldap_content_sync::dn`]), value by value. Separators stay as
/// they are.
pub(crate) fn prepare_dn(form: &mut String) {
    if form.is_ascii() {
        return;
    }
    let mut prepared = String::with_capacity(form.len());
    for piece in form.split_inclusive([',', '+', '=']) {
        let value = piece.trim_end_matches([',', '+', '=']);
        prepare_value(value, &mut prepared);
        prepared.push_str(piece.get(value.len()..).unwrap_or_default());
    }
    *form = prepared;
}

/// Prepares one value. Compatibility forms, such as a full-width comma, become ASCII here. They are
/// escaped, so that one value does not look like two.
fn prepare_value(value: &str, prepared: &mut String) {
    // The comparison form escapes every control character, so NUL is free to mark an escape.
    const ESCAPE: char = '\0';
    let marked = value.replace('\\', "\0");
    for c in marked.nfkc().flat_map(char::to_lowercase) {
        match c {
            ESCAPE => prepared.push('\\'),
            '"' | '+' | ',' | ';' | '<' | '=' | '>' | '\\' => {
                prepared.push_str(&format!("\\{:02x}", u32::from(c)))
            }
            c => prepared.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prepared(form: &str) -> String {
        let mut form = form.to_owned();
        prepare_dn(&mut form);
        form
    }

    #[test]
    fn unicode_forms_of_one_name_are_equal() {
        for (a, b) in [
            ("cn=zo\u{eb},dc=x", "cn=zoe\u{308},dc=x"),
            ("cn=\u{ff21}lice,dc=x", "cn=alice,dc=x"),
            ("cn=\u{fb01}n\u{e9}+uid=a,dc=x", "cn=fine\u{301}+uid=a,dc=x"),
        ] {
            assert_eq!(prepared(a), prepared(b));
        }
        assert_eq!(prepared("cn=a\\2cb,dc=x"), "cn=a\\2cb,dc=x");
    }

    #[test]
    fn a_value_does_not_become_a_separator_or_an_escape() {
        assert_eq!(prepared("cn=a\u{ff0c}ou\u{ff1d}x,dc=x"), "cn=a\\2cou\\3dx,dc=x");
        assert_ne!(prepared("cn=a\u{ff3c}2cb,dc=x"), prepared("cn=a\\2cb,dc=x"));
        // A combining character after a separator belongs to the value.
        assert_eq!(prepared("cn=\u{338}x,dc=x"), "cn=\u{338}x,dc=x");
    }
}
