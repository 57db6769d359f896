//! What the members of a group are: entries of the run, entries known otherwise, or out of scope.
//!
//! Scope: one member value at a time. Kanidm matches members by the lower-cased DN string alone and
//! drops what it does not know without a word, so each is sent as its entry's DN was sent, however
//! the group spells it.

use ldap_content_sync::dn;

use super::index::{Index, State};
use crate::config::sync::GroupSchema;
use crate::content::changeset::ChangeSet;
use crate::content::rules;

/// What a member value stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target<'m> {
    /// Position in the index.
    Entry(u32),
    /// Not in the run: a look-up tells whether there is such an entry, and how its DN is spelled. A
    /// DN is never sent unseen: one that no entry has any more may be what Kanidm still knows
    /// another entry by.
    Unknown(&'m str),
    /// Not an entry that Kanidm has.
    OutOfScope,
}

/// Resolves member values.
pub(super) struct Resolver<'i> {
    pub(super) schema: GroupSchema,
    /// The run has every entry in scope: there is nothing to look up.
    pub(super) full: bool,
    /// What can be looked up was looked up.
    pub(super) answered: bool,
    pub(super) index: &'i Index,
    pub(super) changes: &'i ChangeSet,
}

impl Resolver<'_> {
    /// What a value stands for. `form` is a buffer; behind it stands the form the value was
    /// compared in.
    pub(super) fn resolve<'m>(&self, value: &'m [u8], form: &mut String) -> Target<'m> {
        let Ok(text) = str::from_utf8(value) else { return Target::OutOfScope };
        let (text, found) = match self.schema {
            GroupSchema::Rfc2307 if text.len() > rules::MEMBER_NAME_LENGTH => {
                return Target::OutOfScope;
            }
            GroupSchema::Rfc2307Bis if text.len() > rules::MEMBER_DN_LENGTH => {
                return Target::OutOfScope;
            }
            GroupSchema::Rfc2307 => {
                super::person::lower_case(text.trim(), form);
                // The name of one person may be another name of a second one, who comes after it.
                // Only who has seen both can tell.
                let by_another_name = || {
                    self.index
                        .find_user_by_another_name(form)
                        .filter(|_| self.full || self.answered)
                };
                (text.trim(), self.index.find_user(self.changes, form).or_else(by_another_name))
            }
            GroupSchema::Rfc2307Bis => {
                let text = without_uid(text);
                if dn::normalize_into(text, form).is_err() {
                    return Target::OutOfScope;
                }
                self.index.prepare_dn(form);
                (text, self.index.find_dn(self.changes, form))
            }
        };
        match found {
            Some(position)
                if self.index.entry(position).is_some_and(|e| e.state == State::Skipped) =>
            {
                Target::OutOfScope
            }
            Some(position) => Target::Entry(position),
            None if self.full => Target::OutOfScope,
            None => Target::Unknown(text),
        }
    }
}

/// `uniqueMember` may hold a bit string behind the DN (RFC 4517 §3.3.21): `cn=x#'0101'B`.
pub(super) fn without_uid(text: &str) -> &str {
    let uid = text.rsplit_once("#'").filter(|(_, uid)| {
        uid.strip_suffix("'B").is_some_and(|bits| bits.bytes().all(|b| matches!(b, b'0' | b'1')))
    });
    uid.map_or(text, |(dn, _)| dn)
}

#[cfg(test)]
mod tests {
    use super::without_uid;

    #[test]
    fn optional_uid_is_removed() {
        assert_eq!(without_uid("cn=a,dc=x#'0101'B"), "cn=a,dc=x");
        assert_eq!(without_uid("cn=a,dc=x#''B"), "cn=a,dc=x");
        for whole in ["cn=a#'012'B", "cn=a", "cn=#'B", "cn=a#'01'"] {
            assert_eq!(without_uid(whole), whole);
        }
    }
}
