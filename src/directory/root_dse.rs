//! The root DSE (RFC 4512 §5.1): what a server says about itself.

use ldap_content_sync::SearchResultEntry;
use ldap_content_sync::sync_control::SYNC_REQUEST_OID;
use ldap_content_sync::sync_session::Provider;

/// What of the root DSE is of use here. Everything may be absent: servers hide it behind access rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RootDse {
    /// `vendorName`.
    pub vendor_name: Option<String>,
    /// `vendorVersion`.
    pub vendor_version: Option<String>,
    /// `objectClass` values.
    pub object_classes: Vec<String>,
    /// `namingContexts`: the suffixes that the server holds.
    pub naming_contexts: Vec<String>,
    /// `supportedControl`: OIDs.
    pub supported_controls: Vec<String>,
    /// `supportedExtension`: OIDs.
    pub supported_extensions: Vec<String>,
    /// `supportedSASLMechanisms`.
    pub sasl_mechanisms: Vec<String>,
    /// `firstchangenumber`: the oldest entry of 389's retro changelog.
    pub first_change_number: Option<u64>,
    /// `lastchangenumber`: its newest.
    pub last_change_number: Option<u64>,
}

/// The attributes to ask for. Most of them are operational: they come only when named.
pub(super) const ATTRIBUTES: [&str; 9] = [
    "vendorName",
    "vendorVersion",
    "objectClass",
    "namingContexts",
    "supportedControl",
    "supportedExtension",
    "supportedSASLMechanisms",
    "firstchangenumber",
    "lastchangenumber",
];

impl RootDse {
    pub(super) fn from_entry(entry: &SearchResultEntry<'_>) -> Self {
        let mut dse = RootDse::default();
        for attribute in entry.attributes() {
            let mut texts = attribute.values().map(|value| String::from_utf8_lossy(value).into_owned());
            match attribute.description().to_ascii_lowercase().as_str() {
                "vendorname" => dse.vendor_name = texts.next(),
                "vendorversion" => dse.vendor_version = texts.next(),
                "objectclass" => dse.object_classes = texts.collect(),
                "namingcontexts" => dse.naming_contexts = texts.collect(),
                "supportedcontrol" => dse.supported_controls = texts.collect(),
                "supportedextension" => dse.supported_extensions = texts.collect(),
                "supportedsaslmechanisms" => dse.sasl_mechanisms = texts.collect(),
                "firstchangenumber" => dse.first_change_number = texts.next().and_then(|number| number.trim().parse().ok()),
                "lastchangenumber" => dse.last_change_number = texts.next().and_then(|number| number.trim().parse().ok()),
                _ => {}
            }
        }
        dse
    }

    /// Whose dialect of RFC 4533 the server speaks.
    pub fn provider(&self) -> Provider {
        if self.vendor_name.as_deref().is_some_and(|name| name.to_ascii_lowercase().starts_with("389 ")) {
            Provider::Ds389
        } else if self.object_classes.iter().any(|class| class.eq_ignore_ascii_case("OpenLDAProotDSE")) {
            Provider::OpenLdap
        } else {
            Provider::Rfc4533
        }
    }

    /// Whether the server announces content synchronisation.
    pub fn offers_content_sync(&self) -> bool {
        self.supported_controls.iter().any(|oid| oid == SYNC_REQUEST_OID)
    }
}
