//! The values of RFC 4533 §2 that a server sends.
//!
//! Scope: decoding the Sync State and Sync Done controls and the Sync Info messages, including
//! those of the persist stage.
//!
//! An empty cookie differs from an absent one: slapd answers an unknown cookie with an empty one.

use crate::Limits;
use crate::ber::{
    DecodeError, DecodeErrorKind, ENUMERATED, Element, OCTET_STRING, Reader, SEQUENCE, SET,
};
use crate::message::{Controls, IntermediateResponse};
use std::fmt;
use uuid::Uuid;

/// Sync Request control, RFC 4533 §2.2. [`crate::request`] encodes its value.
pub const SYNC_REQUEST_OID: &str = "1.3.6.1.4.1.4203.1.9.1.1";
/// Sync State control, RFC 4533 §2.3.
pub const SYNC_STATE_OID: &str = "1.3.6.1.4.1.4203.1.9.1.2";
/// Sync Done control, RFC 4533 §2.4.
pub const SYNC_DONE_OID: &str = "1.3.6.1.4.1.4203.1.9.1.3";
/// Sync Info message, RFC 4533 §2.5.
pub const SYNC_INFO_OID: &str = "1.3.6.1.4.1.4203.1.9.1.4";

/// State of an entry, RFC 4533 §2.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryState {
    /// Unchanged; the entry comes without attributes.
    Present,
    /// New or changed; the entry comes with its attributes. In a refresh every entry with
    /// attributes has this state.
    Add,
    /// Changed; the entry comes with its attributes.
    Modify,
    /// Deleted, or no longer in the content. The entry comes without attributes.
    Delete,
}

/// Sync State control of an entry or reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyncState<'a> {
    /// State of the entry.
    pub state: EntryState,
    /// entryUUID. 389 sends nsUniqueId in UUID form.
    pub uuid: Uuid,
    /// Cookie for the content up to and including this entry.
    pub cookie: Option<&'a [u8]>,
}

impl<'a> SyncState<'a> {
    /// Decodes a control value.
    ///
    /// # Errors
    /// Anything that RFC 4533 §2.3 forbids, or a cookie longer than the limit.
    pub fn decode(value: &'a [u8], limits: &Limits) -> Result<Self, DecodeError> {
        sequence(value, "syncStateValue", |reader| {
            let state = entry_state(reader.expect(ENUMERATED, "syncStateValue.state")?)?;
            let uuid = sync_uuid(reader, "syncStateValue.entryUUID")?;
            let cookie = optional_cookie(reader, "syncStateValue.cookie", limits)?;
            Ok(SyncState { state, uuid, cookie })
        })
    }

    /// Finds and decodes the Sync State control of a message.
    ///
    /// # Errors
    /// As [`SyncState::decode`]; also a control without a value, or two such controls.
    pub fn find(controls: &Controls<'a>, limits: &Limits) -> Result<Option<Self>, DecodeError> {
        find(controls, SYNC_STATE_OID, "syncStateValue")?
            .map(|value| Self::decode(value, limits))
            .transpose()
    }
}

/// Sync Done control of a SearchResultDone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyncDone<'a> {
    /// Cookie for the content after the refresh.
    pub cookie: Option<&'a [u8]>,
    /// TRUE: entries that the refresh does not mention are unchanged. 389 always sends FALSE.
    /// [`crate::sync_session`] explains the meaning of FALSE.
    pub refresh_deletes: bool,
}

impl<'a> SyncDone<'a> {
    /// Decodes a control value.
    ///
    /// # Errors
    /// Anything that RFC 4533 §2.4 forbids, or a cookie longer than the limit.
    pub fn decode(value: &'a [u8], limits: &Limits) -> Result<Self, DecodeError> {
        sequence(value, "syncDoneValue", |reader| {
            let cookie = optional_cookie(reader, "syncDoneValue.cookie", limits)?;
            let refresh_deletes = reader.boolean_or(false, "syncDoneValue.refreshDeletes")?;
            Ok(SyncDone { cookie, refresh_deletes })
        })
    }

    /// Finds and decodes the Sync Done control of a message.
    ///
    /// # Errors
    /// As [`SyncDone::decode`]; also a control without a value, or two such controls.
    pub fn find(controls: &Controls<'a>, limits: &Limits) -> Result<Option<Self>, DecodeError> {
        find(controls, SYNC_DONE_OID, "syncDoneValue")?
            .map(|value| Self::decode(value, limits))
            .transpose()
    }
}

/// Sync Info message, RFC 4533 §2.5.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncInfo<'a> {
    /// A new cookie only. slapd sends it for a change outside the filter.
    NewCookie(&'a [u8]),
    /// End of the delete phase.
    RefreshDelete {
        /// Cookie for the content so far.
        cookie: Option<&'a [u8]>,
        /// True if the refresh stage is complete and the persist stage begins.
        refresh_done: bool,
    },
    /// End of the present phase.
    RefreshPresent {
        /// Cookie for the content so far.
        cookie: Option<&'a [u8]>,
        /// True if the refresh stage is complete and the persist stage begins.
        refresh_done: bool,
    },
    /// UUIDs of many entries, without their names.
    SyncIdSet {
        /// Cookie for the content so far.
        cookie: Option<&'a [u8]>,
        /// TRUE: the entries are deleted. FALSE: they are present and unchanged.
        refresh_deletes: bool,
        /// UUIDs of the entries. The server may list entries that it never sent.
        uuids: SyncUuids<'a>,
    },
}

impl<'a> SyncInfo<'a> {
    /// Decodes the Sync Info of an intermediate response. `None` for another kind of response.
    ///
    /// # Errors
    /// As [`SyncInfo::decode`]; also a Sync Info without a value.
    pub fn from_intermediate(
        response: &IntermediateResponse<'a>,
        limits: &Limits,
    ) -> Result<Option<Self>, DecodeError> {
        if response.name != Some(SYNC_INFO_OID) {
            return Ok(None);
        }
        let missing = DecodeError::new(0, "syncInfoValue", DecodeErrorKind::Missing);
        Self::decode(response.value.ok_or(missing)?, limits).map(Some)
    }

    /// Decodes the value of the intermediate response.
    ///
    /// # Errors
    /// Anything that RFC 4533 §2.5 forbids, or a cookie or UUID set larger than the limit.
    pub fn decode(value: &'a [u8], limits: &Limits) -> Result<Self, DecodeError> {
        Reader::new(value).read_all("syncInfoValue", |reader| {
            let at = reader.offset();
            let choice = reader.element("syncInfoValue")?;
            match choice.tag {
                0x80 => {
                    checked_cookie(choice, "syncInfoValue.newcookie", limits).map(Self::NewCookie)
                }
                0xa1 => {
                    let (cookie, refresh_done) =
                        phase_end(choice, "syncInfoValue.refreshDelete", limits)?;
                    Ok(Self::RefreshDelete { cookie, refresh_done })
                }
                0xa2 => {
                    let (cookie, refresh_done) =
                        phase_end(choice, "syncInfoValue.refreshPresent", limits)?;
                    Ok(Self::RefreshPresent { cookie, refresh_done })
                }
                0xa3 => sync_id_set(choice, limits),
                found => Err(DecodeError::new(
                    at,
                    "syncInfoValue",
                    DecodeErrorKind::UnexpectedTag { expected: 0xa3, found },
                )),
            }
        })
    }

    /// The cookie, in any variant.
    pub fn cookie(&self) -> Option<&'a [u8]> {
        match *self {
            Self::NewCookie(cookie) => Some(cookie),
            Self::RefreshDelete { cookie, .. }
            | Self::RefreshPresent { cookie, .. }
            | Self::SyncIdSet { cookie, .. } => cookie,
        }
    }
}

/// The validated UUIDs of a set.
#[derive(Clone, Copy)]
pub struct SyncUuids<'a> {
    reader: Reader<'a>,
    len: usize,
}

impl<'a> SyncUuids<'a> {
    /// The UUIDs, in the server's order. A UUID may occur twice.
    pub fn iter(&self) -> impl Iterator<Item = Uuid> + Clone + use<'a> {
        let mut reader = self.reader;
        std::iter::from_fn(move || Uuid::from_slice(reader.validated()?.contents).ok())
    }

    /// Number of UUIDs.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True if the set has no UUID.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl fmt::Debug for SyncUuids<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} UUIDs", self.len)
    }
}

impl PartialEq for SyncUuids<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for SyncUuids<'_> {}

fn sequence<'a, T>(
    value: &'a [u8],
    production: &'static str,
    read: impl FnOnce(&mut Reader<'a>) -> Result<T, DecodeError>,
) -> Result<T, DecodeError> {
    Reader::new(value)
        .read_all(production, |reader| reader.expect(SEQUENCE, production))?
        .reader()
        .read_all(production, read)
}

/// The value of the only control with `oid`.
fn find<'a>(
    controls: &Controls<'a>,
    oid: &str,
    production: &'static str,
) -> Result<Option<&'a [u8]>, DecodeError> {
    let mut matching = controls.iter().filter(|control| control.oid == oid);
    let Some(control) = matching.next() else { return Ok(None) };
    if matching.next().is_some() {
        return Err(DecodeError::new(0, production, DecodeErrorKind::TooMany { max: 1 }));
    }
    control.value.map(Some).ok_or(DecodeError::new(0, production, DecodeErrorKind::Missing))
}

fn entry_state(element: Element<'_>) -> Result<EntryState, DecodeError> {
    const PRODUCTION: &str = "syncStateValue.state";
    match element.number(PRODUCTION)? {
        0 => Ok(EntryState::Present),
        1 => Ok(EntryState::Add),
        2 => Ok(EntryState::Modify),
        3 => Ok(EntryState::Delete),
        _ => Err(element.error(PRODUCTION, DecodeErrorKind::InvalidInteger)),
    }
}

fn sync_uuid(reader: &mut Reader<'_>, production: &'static str) -> Result<Uuid, DecodeError> {
    let element = reader.expect(OCTET_STRING, production)?;
    Uuid::from_slice(element.contents)
        .map_err(|_| element.error(production, DecodeErrorKind::InvalidUuid))
}

fn optional_cookie<'a>(
    reader: &mut Reader<'a>,
    production: &'static str,
    limits: &Limits,
) -> Result<Option<&'a [u8]>, DecodeError> {
    reader
        .optional(OCTET_STRING, production)?
        .map(|element| checked_cookie(element, production, limits))
        .transpose()
}

fn checked_cookie<'a>(
    element: Element<'a>,
    production: &'static str,
    limits: &Limits,
) -> Result<&'a [u8], DecodeError> {
    let (size, max) = (element.contents.len(), limits.max_cookie);
    if size > max {
        Err(element.error(production, DecodeErrorKind::TooLong { size, max }))
    } else {
        Ok(element.contents)
    }
}

/// Decodes the SEQUENCE of refreshDelete or refreshPresent.
fn phase_end<'a>(
    choice: Element<'a>,
    production: &'static str,
    limits: &Limits,
) -> Result<(Option<&'a [u8]>, bool), DecodeError> {
    choice.reader().read_all(production, |reader| {
        let cookie = optional_cookie(reader, production, limits)?;
        let refresh_done = reader.boolean_or(true, production)?;
        Ok((cookie, refresh_done))
    })
}

fn sync_id_set<'a>(choice: Element<'a>, limits: &Limits) -> Result<SyncInfo<'a>, DecodeError> {
    choice.reader().read_all("syncInfoValue.syncIdSet", |reader| {
        let cookie = optional_cookie(reader, "syncInfoValue.syncIdSet.cookie", limits)?;
        let refresh_deletes = reader.boolean_or(false, "syncInfoValue.syncIdSet.refreshDeletes")?;
        let set = reader.expect(SET, "syncInfoValue.syncIdSet.syncUUIDs")?;
        let uuids = sync_uuids(set, limits)?;
        Ok(SyncInfo::SyncIdSet { cookie, refresh_deletes, uuids })
    })
}

fn sync_uuids<'a>(set: Element<'a>, limits: &Limits) -> Result<SyncUuids<'a>, DecodeError> {
    const PRODUCTION: &str = "syncInfoValue.syncIdSet.syncUUIDs";
    let mut reader = set.reader();
    let mut len = 0;
    while !reader.is_empty() {
        if len == limits.max_uuids {
            return Err(
                reader.error(PRODUCTION, DecodeErrorKind::TooMany { max: limits.max_uuids })
            );
        }
        sync_uuid(&mut reader, PRODUCTION)?;
        len += 1;
    }
    Ok(SyncUuids { reader: set.reader(), len })
}
