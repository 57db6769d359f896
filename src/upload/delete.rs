//! Deletions.
//!
//! Scope: the POSTs that delete entries which are gone from the directory.

use uuid::Uuid;

use super::send::{Leave, Sent, failed};
use super::write::Writer;
use super::{HeldByKanidm, UploadError};
use crate::kanidm::error::Fault;
use crate::kanidm::request::{Entries, Retention};

const NOT_DELETED: &str = "it is gone from the directory but is not deleted: in Kanidm it does not belong to this sync account";

impl Writer<'_> {
    /// Deletes in separate POSTs that do not move the cookie.
    pub(super) fn delete(&mut self) -> Result<(), UploadError> {
        match &self.input.retention {
            Retention::Ignore => Ok(()),
            Retention::Retain(_) => match self.sender.send_whole(
                &Entries::none(),
                &self.input.retention,
                Leave::Interim,
            )? {
                Sent::Applied(_) => Ok(()),
                other => Err(failed("deleting in Kanidm what is gone from the directory", other)),
            },
            Retention::Delete(uuids) => uuids
                .chunks(self.input.limits.max_entries.max(1))
                .try_for_each(|chunk| self.delete_list(chunk)),
        }
    }

    /// Deletes `uuids`, and halves the list if Kanidm refuses it. One UUID of another sync account
    /// makes Kanidm refuse the whole list.
    fn delete_list(&mut self, uuids: &[Uuid]) -> Result<(), UploadError> {
        let list = Retention::Delete(uuids.to_vec());
        let sent = match uuids {
            [_] => self.sender.send_whole(&Entries::none(), &list, Leave::Interim)?,
            _ => self.sender.send(&Entries::none(), &list, Leave::Interim)?,
        };
        match (sent, uuids) {
            (Sent::Applied(_), _) => Ok(()),
            (Sent::Refused(refusal), [uuid]) if refusal.fault == Fault::Foreign => {
                self.not_deleted.push(HeldByKanidm {
                    uuid: *uuid,
                    dn: String::new(),
                    reason: NOT_DELETED.to_owned(),
                    is_absent: true,
                    is_partial: false,
                });
                Ok(())
            }
            (Sent::Refused(_) | Sent::TooMuch(_), [_, _, ..]) => {
                let (left, right) = uuids.split_at(uuids.len() / 2);
                self.delete_list(left)?;
                self.delete_list(right)
            }
            (other, _) => Err(failed("deleting in Kanidm what is gone from the directory", other)),
        }
    }
}
