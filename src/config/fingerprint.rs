//! Fingerprint of all settings that shape the content.
//!
//! Scope: the sync config without secrets, addresses, schedules and limits, which do not shape the
//! content. After a change of the fingerprint, an incremental run would build on content with other
//! rules. The run must then be a full refresh.
//!
//! The fingerprint is the SHA-256 of a canonical text, in hexadecimal digits. The text starts with
//! a line for the format version. Each setting follows as `name length:value`, with the length of
//! the value in bytes. Equivalent settings have the same text: DNs are in comparison form,
//! attributes and object classes in lower case, and classes and entry tables sorted.

use std::collections::BTreeMap;
use std::fmt::Write;

use ldap_content_sync::dn;
use ring::digest;

use super::sync::{
    Bind, EntryConfig, GroupMapping, GroupSchema, InvalidEntries, MappingConfig, PersonMapping,
    SyncConfig,
};

/// Computes the fingerprint of a sync config.
pub fn fingerprint(config: &SyncConfig) -> String {
    let digest = digest::digest(&digest::SHA256, canonical(config).as_bytes());
    digest.as_ref().iter().fold(String::new(), |mut hex, octet| {
        let _ = write!(hex, "{octet:02x}");
        hex
    })
}

fn canonical(config: &SyncConfig) -> String {
    let directory = &config.directory;
    let mut text = Canonical("kanidm-ldap-sync content 2\n".to_owned());
    text.set(
        "base",
        &dn::normalize(&directory.base_dn).unwrap_or_else(|_| directory.base_dn.clone()),
    );
    text.set("filter", &directory.filter.to_string());
    // Access rights limit the visible entries, so another account may see other content.
    text.set(
        "bind",
        &match &directory.bind {
            Bind::Simple { dn, .. } => dn::normalize(dn).unwrap_or_else(|_| dn.clone()),
            Bind::External => "external".to_owned(),
        },
    );
    let MappingConfig { person: person_mapping, group: group_mapping, entries, invalid_entries } =
        &config.mapping;
    person(&mut text, person_mapping);
    group(&mut text, group_mapping);
    text.set(
        "invalid",
        match invalid_entries {
            InvalidEntries::Hold => "hold",
            InvalidEntries::DropValue => "drop-value",
            InvalidEntries::Fail => "fail",
        },
    );
    for (uuid, entry) in entries.iter().collect::<BTreeMap<_, _>>() {
        let EntryConfig { exclude, map_uuid, map_name, map_gidnumber } = entry;
        text.set("entry", &uuid.to_string());
        text.flag("exclude", *exclude);
        text.optional("uuid", map_uuid.as_ref().map(ToString::to_string).as_deref());
        text.optional("name", map_name.as_deref());
        text.optional("gidnumber", map_gidnumber.as_ref().map(ToString::to_string).as_deref());
    }
    text.0
}

// Each pattern names every field, so the compiler reports a new field that is missing here.

fn person(text: &mut Canonical, person: &PersonMapping) {
    let PersonMapping {
        object_classes,
        user_name,
        display_name,
        legal_name,
        gidnumber,
        login_shell,
        password,
        mail,
        ssh_public_key,
        totp,
        password_prefix,
        password_as_unix,
        account_lock,
    } = person;
    text.classes("person", object_classes);
    text.attribute("name", user_name);
    text.attribute("displayname", display_name);
    text.optional(
        "legalname",
        legal_name.as_ref().map(|name| name.to_ascii_lowercase()).as_deref(),
    );
    text.attribute("gidnumber", gidnumber);
    text.attribute("shell", login_shell);
    text.attribute("password", password);
    text.attribute("mail", mail);
    text.attribute("ssh", ssh_public_key);
    text.optional("totp", totp.as_ref().map(|name| name.to_ascii_lowercase()).as_deref());
    text.optional("prefix", password_prefix.as_deref());
    text.flag("unix password", *password_as_unix);
    text.flag("lock", *account_lock);
}

fn group(text: &mut Canonical, group: &GroupMapping) {
    let GroupMapping {
        object_classes,
        name,
        description,
        members,
        gidnumber,
        schema,
        send_user_private,
    } = group;
    text.classes("group", object_classes);
    text.attribute("name", name);
    text.attribute("description", description);
    members.iter().for_each(|member| text.attribute("member", member));
    text.attribute("gidnumber", gidnumber);
    text.flag("members are DNs", *schema == GroupSchema::Rfc2307Bis);
    text.flag("private groups", *send_user_private);
}

struct Canonical(String);

impl Canonical {
    fn set(&mut self, name: &str, value: &str) {
        let _ = writeln!(self.0, "{name} {}:{value}", value.len());
    }

    fn optional(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.set(name, value);
        }
    }

    fn flag(&mut self, name: &str, value: bool) {
        self.set(name, if value { "true" } else { "false" });
    }

    fn attribute(&mut self, name: &str, attribute: &str) {
        self.set(name, &attribute.to_ascii_lowercase());
    }

    fn classes(&mut self, name: &str, classes: &[String]) {
        let mut classes: Vec<String> =
            classes.iter().map(|class| class.to_ascii_lowercase()).collect();
        classes.sort_unstable();
        classes.dedup();
        self.set(name, &classes.join(" "));
    }
}
