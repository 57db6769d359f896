//! What tests see of an entry.

use std::collections::BTreeMap;

use kanidm_proto::internal::{CredentialDetail, CredentialDetailType};
use kanidmd_lib::prelude::*;
use serde::Serialize;

/// A live entry of a sync account, as it stands in Kanidm.
#[derive(Serialize)]
pub struct EntrySnapshot {
    pub uuid: Uuid,
    external_id: Option<String>,
    classes: Vec<String>,
    name: Option<String>,
    displayname: Option<String>,
    legalname: Option<String>,
    description: Option<String>,
    gidnumber: Option<u32>,
    loginshell: Option<String>,
    /// The primary address first, the others in alphabetical order.
    mail: Vec<Mail>,
    /// Label and key.
    ssh_publickey: BTreeMap<String, String>,
    /// RFC 3339.
    account_valid_from: Option<String>,
    /// RFC 3339.
    account_expire: Option<String>,
    /// Direct members only, in the order of their UUIDs.
    member: Vec<Uuid>,
    has_password: bool,
    has_unix_password: bool,
    /// The labels of the second factors of the password, in alphabetical order.
    totp: Vec<String>,
}

/// One mail address.
#[derive(Serialize, PartialEq, Eq, PartialOrd, Ord)]
struct Mail {
    primary: bool,
    value: String,
}

/// An entry in the recycle bin.
#[derive(Serialize)]
pub struct Recycled {
    pub uuid: Uuid,
    name: Option<String>,
    external_id: Option<String>,
}

impl EntrySnapshot {
    pub fn of(entry: &EntrySealedCommitted) -> EntrySnapshot {
        EntrySnapshot {
            uuid: entry.get_uuid(),
            external_id: text(entry, Attribute::SyncExternalId),
            classes: texts(entry, Attribute::Class),
            name: text(entry, Attribute::Name),
            displayname: text(entry, Attribute::DisplayName),
            legalname: text(entry, Attribute::LegalName),
            description: text(entry, Attribute::Description),
            gidnumber: entry.get_ava_single_uint32(Attribute::GidNumber),
            loginshell: text(entry, Attribute::LoginShell),
            mail: mail(entry),
            ssh_publickey: ssh_keys(entry),
            account_valid_from: text(entry, Attribute::AccountValidFrom),
            account_expire: text(entry, Attribute::AccountExpire),
            member: entry
                .get_ava_refer(Attribute::Member)
                .map(|members| members.iter().copied().collect())
                .unwrap_or_default(),
            has_password: entry.get_ava_single_credential(Attribute::PrimaryCredential).is_some(),
            has_unix_password: entry.get_ava_single_credential(Attribute::UnixPassword).is_some(),
            totp: totp(entry),
        }
    }
}

impl Recycled {
    pub fn of(entry: &EntrySealedCommitted) -> Recycled {
        Recycled {
            uuid: entry.get_uuid(),
            name: text(entry, Attribute::Name),
            external_id: text(entry, Attribute::SyncExternalId),
        }
    }
}

fn texts(entry: &EntrySealedCommitted, attribute: Attribute) -> Vec<String> {
    entry
        .get_ava_set(attribute)
        .map(|values| values.to_proto_string_clone_iter().collect())
        .unwrap_or_default()
}

fn text(entry: &EntrySealedCommitted, attribute: Attribute) -> Option<String> {
    texts(entry, attribute).into_iter().next()
}

fn mail(entry: &EntrySealedCommitted) -> Vec<Mail> {
    let primary = entry.get_ava_mail_primary(Attribute::Mail);
    let mut found: Vec<Mail> = entry
        .get_ava_iter_mail(Attribute::Mail)
        .map(|values| {
            values
                .map(|value| Mail { primary: Some(value) == primary, value: value.to_string() })
                .collect()
        })
        .unwrap_or_default();
    found.sort_by(|a, b| b.primary.cmp(&a.primary).then_with(|| a.value.cmp(&b.value)));
    found
}

fn ssh_keys(entry: &EntrySealedCommitted) -> BTreeMap<String, String> {
    entry
        .get_ava_set(Attribute::SshPublicKey)
        .and_then(|values| values.as_sshkey_map())
        .map(|keys| keys.iter().map(|(label, key)| (label.clone(), key.to_string())).collect())
        .unwrap_or_default()
}

fn totp(entry: &EntrySealedCommitted) -> Vec<String> {
    let primary = entry.get_ava_single_credential(Attribute::PrimaryCredential);
    match primary.map(|credential| CredentialDetail::from(credential).type_) {
        Some(CredentialDetailType::PasswordMfa(mut labels, ..)) => {
            labels.sort();
            labels
        }
        _ => Vec::new(),
    }
}
