//! Group members: the entry that each member value names.
//!
//! Scope: one member value at a time. Kanidm matches members only by the lower-cased DN string, and
//! drops unknown members silently. So each member is sent with the DN that its entry was sent with,
//! however the group spells it.

use ldap_content_sync::dn;

use super::index::{Index, State};
use crate::config::sync::GroupSchema;
use crate::content::changeset::ChangeSet;
use crate::content::rules;

/// The entry that a member value names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target<'m> {
    /// Position in the index.
    Entry(u32),
    /// Not in the run. A look-up tells whether the entry exists and how its DN is spelled.
    ///
    /// A DN is never sent without a look-up. Kanidm may still know another entry by a DN that no
    /// entry of the directory has any more.
    Unknown(&'m str),
    /// Kanidm does not have this entry.
    OutOfScope,
}

pub(super) struct Resolver<'i> {
    pub(super) schema: GroupSchema,
    /// True if the run has every entry in scope, so no look-up is needed.
    pub(super) full: bool,
    /// True if the look-ups are done.
    pub(super) answered: bool,
    pub(super) index: &'i Index,
    pub(super) changes: &'i ChangeSet,
}

impl Resolver<'_> {
    /// Resolves a value. `form` is a buffer, and afterwards has the form that was compared.
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
                super::naming::lower_case(text.trim(), form);
                // The name of one person may be another name of a later person. Only a run that
                // knows both can tell.
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

/// Removes the bit string that `uniqueMember` may have after the DN (RFC 4517 §3.3.21):
/// `cn=x#'0101'B`.
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
