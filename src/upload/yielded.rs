//! Attributes that an administrator of Kanidm has yielded to Kanidm (`kanidm system sync
//! set-yield-attributes`).
//!
//! Scope: finding these attributes. Kanidm refuses a POST with a yielded attribute, and gives the
//! same answer as for an entry in the recycle bin. The sync token cannot read which attributes are
//! yielded. The upload therefore sends each attribute alone, in a POST that Kanidm never applies,
//! and the answer tells. It then leaves yielded attributes out of every entry. Later runs do so
//! too, until a full refresh asks again.

use std::borrow::Cow;

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::UploadError;
use super::write::Writer;
use crate::content::scim;
use crate::content::unique::{temporary_gid, temporary_name};
use crate::kanidm::error::Fault;
use crate::kanidm::state::Yielded;

impl Writer<'_> {
    /// Asks which attributes are yielded, after a refusal that may come from one. Returns true if
    /// there are any and they were not known.
    pub(super) fn learn_yielded(&mut self) -> Result<bool, UploadError> {
        if self.asked_for_yielded {
            return Ok(false);
        }
        self.asked_for_yielded = true;
        let all = probes(self.input.run);
        let mut yielded = Yielded::new();
        if self.is_yielded(&all)? {
            for probe in &all {
                if self.is_yielded(std::slice::from_ref(probe))? {
                    yielded.insert(probe.attribute.to_owned());
                }
            }
        }
        let is_new = yielded != self.yielded;
        self.yielded = yielded;
        Ok(is_new && !self.yielded.is_empty())
    }

    /// Asks whether the known attributes are still yielded, before the first write. If one is not,
    /// it is sent again, and the next run is a full refresh.
    pub(super) fn ask_for_known_yielded(&mut self) -> Result<(), UploadError> {
        let writes = !self.order.is_empty() || !self.input.ended.is_empty();
        if self.yielded.is_empty() || !writes {
            return Ok(());
        }
        let known: Vec<Probe> = probes(self.input.run)
            .into_iter()
            .filter(|probe| self.yielded.contains(probe.attribute))
            .collect();
        for probe in known {
            if !self.is_yielded(std::slice::from_ref(&probe))? {
                self.yielded.remove(probe.attribute);
                self.given_back = true;
            }
        }
        Ok(())
    }

    /// Returns an entry (JSON) without the attributes that are known to be yielded.
    pub(super) fn without_yielded(&self, entry: &[u8]) -> Vec<u8> {
        if self.yielded.is_empty() { entry.to_vec() } else { without(&self.yielded, entry) }
    }

    /// Returns true if Kanidm refuses one of these attributes.
    ///
    /// The last entry is invalid in every Kanidm, so the POST is never applied. Kanidm checks the
    /// entries in the order of their UUIDs, and all attributes of one entry before the next. The
    /// invalid entry has the largest UUID, and a value of the wrong type for an attribute that
    /// cannot be yielded.
    fn is_yielded(&mut self, probes: &[Probe]) -> Result<bool, UploadError> {
        let last = Uuid::from_u128(self.input.run.as_u128() | (0xff << 120));
        let invalid = json!({"externalId": format!("tmp-{last}"), "schemas": scim::PERSON, "id": last, "password_import": 0});
        let entries = probes.iter().map(|probe| &probe.entry).chain([&invalid]);
        let entries: Vec<Cow<'_, [u8]>> =
            entries.map(|entry| Cow::Owned(entry.to_string().into_bytes())).collect();
        Ok(self
            .sender
            .question(&entries.into())?
            .is_some_and(|refusal| refusal.fault == Fault::Masked))
    }
}

/// An entry with one attribute.
struct Probe {
    attribute: &'static str,
    entry: Value,
}

/// One probe for each attribute that this program sends and that can be yielded. Imported passwords
/// cannot be.
fn probes(run: Uuid) -> Vec<Probe> {
    let uuid = Uuid::from_u128(run.as_u128() >> 8);
    let person = [
        ("name", json!(temporary_name(uuid))),
        ("displayname", json!("-")),
        ("legalname", json!("-")),
        ("mail", json!([{"primary": true, "value": format!("{uuid}@example.com")}])),
        (
            "ssh_publickey",
            json!([{"label": "-", "value": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"}]),
        ),
        ("gidnumber", json!(temporary_gid(uuid))),
        ("loginshell", json!("/bin/sh")),
        ("account_valid_from", json!("1970-01-01T00:00:00Z")),
        ("account_expire", json!("1970-01-01T00:00:00Z")),
    ];
    let group = [
        ("description", json!("-")),
        ("member", json!([{"external_id": format!("tmp-{uuid}-nobody")}])),
    ];
    let person =
        person.into_iter().map(|(attribute, value)| (scim::POSIX_PERSON, attribute, value));
    let group = group.into_iter().map(|(attribute, value)| (scim::POSIX_GROUP, attribute, value));
    let probe = |(n, (schemas, attribute, value)): (u128, (&[&str], &'static str, Value))| {
        let id = Uuid::from_u128(uuid.as_u128() ^ n);
        let mut entry = json!({"externalId": format!("tmp-{id}"), "schemas": schemas, "id": id});
        entry[attribute] = value;
        Probe { attribute, entry }
    };
    (1..).zip(person.chain(group)).map(probe).collect()
}

/// Returns an entry (JSON) without the yielded attributes.
pub(super) fn without(yielded: &Yielded, entry: &[u8]) -> Vec<u8> {
    let Ok(mut content) = serde_json::from_slice::<Map<String, Value>>(entry) else {
        return entry.to_vec();
    };
    content.retain(|key, _| !yielded.contains(key));
    serde_json::to_vec(&content).unwrap_or_default()
}

/// The warning of the run about yielded attributes.
pub fn words(yielded: &Yielded) -> String {
    let names: Vec<&str> = yielded.iter().map(String::as_str).collect();
    let locks = match yielded.contains("account_expire") {
        true => ". Locks and end dates of the directory therefore end no access in Kanidm",
        false => "",
    };
    format!(
        "{} is yielded to Kanidm for this sync account, so it is left out of every entry{locks}",
        names.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_key_that_is_sent_is_asked_for() {
        let attributes: BTreeSet<&str> =
            probes(Uuid::nil()).iter().map(|probe| probe.attribute).collect();
        let mut sent = Vec::new();
        let mails = ["a@b.c"].into_iter();
        let person = scim::ScimPerson {
            id: Uuid::nil(),
            name: "a",
            displayname: "a",
            legalname: Some("a"),
            gidnumber: Some(2000),
            loginshell: Some("a"),
            password_import: None,
            unix_password_import: None,
            mail: mails,
            ssh_publickey: [("a", "b")].into_iter(),
            account_valid_from: Some("a"),
            account_expire: Some("a"),
        };
        person.write(&mut sent);
        let keys: Map<String, Value> = serde_json::from_slice(&sent).unwrap();
        for key in keys
            .keys()
            .map(String::as_str)
            .chain(["description", "member"])
            .filter(|key| *key != "id")
        {
            assert!(attributes.contains(key), "{key}");
        }
    }
}
