//! Looking for one entry by its DN: what a server shows of it, and what it admits.
//!
//! Scope: one search, and the meaning of its result codes.

use ldap_content_sync::filter::Filter;
use ldap_content_sync::request::Scope;
use ldap_content_sync::{ResultCode, SearchResultEntry};

use super::client::Directory;
use super::error::{DirectoryError, DirectoryProblem, DirectoryStage};
use super::search::{NO_ENTRY, NO_SUCH_ENTRY};

/// The server's view of a DN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sight {
    /// The entry.
    Visible,
    /// The server knows the DN, and does not show an entry to this account.
    Hidden,
    /// The entry belongs to another server.
    Referred,
    /// No entry, or one that the server denies to have.
    Nothing,
}

impl Directory {
    /// Looks for one entry by its DN, and passes it to `on_entry`.
    ///
    /// # Errors
    /// As [`Directory::search`], except that an entry that cannot be seen is no error.
    pub fn sight(
        &mut self,
        dn: &str,
        attributes: &[&str],
        on_entry: &mut dyn FnMut(&SearchResultEntry<'_>),
    ) -> Result<Sight, DirectoryError> {
        let anything = Filter::Present { attribute: "objectClass".to_owned() };
        let mut sight = Sight::Hidden;
        let found = self.one_search(
            DirectoryStage::Search,
            dn,
            Scope::Base,
            &anything,
            attributes,
            &mut |entry| {
                sight = Sight::Visible;
                on_entry(entry);
            },
        );
        match found {
            Ok(()) => Ok(sight),
            Err(DirectoryProblem::SearchFailed { code, .. }) if NO_SUCH_ENTRY.contains(&code) => {
                Ok(Sight::Nothing)
            }
            Err(DirectoryProblem::SearchFailed { code: ResultCode::REFERRAL, .. }) => {
                Ok(Sight::Referred)
            }
            Err(DirectoryProblem::SearchFailed { code, .. }) if NO_ENTRY.contains(&code) => {
                Ok(Sight::Hidden)
            }
            Err(problem) => Err(self.failed(problem)),
        }
    }
}
