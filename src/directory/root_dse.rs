//! The root DSE (RFC 4512 §5.1): the server's description of itself.
//!
//! Scope: reading it, and deriving the server's product and abilities from it.

use ldap_content_sync::SearchResultEntry;
use ldap_content_sync::sync_control::SYNC_REQUEST_OID;
use ldap_content_sync::sync_session::Provider;

/// The root DSE attributes that this tool uses. Each may be missing, because access rules can hide
/// it.
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
    /// `firstchangenumber`: the oldest change in 389's retro changelog.
    pub first_change_number: Option<u64>,
    /// `lastchangenumber`: the newest change in it.
    pub last_change_number: Option<u64>,
    /// True if `dataversion` is present. 389 sets it at start-up.
    pub has_data_version: bool,
}

/// The requested attributes. Most are operational, so the server sends them only by name.
pub(super) const ATTRIBUTES: [&str; 10] = [
    "vendorName",
    "vendorVersion",
    "objectClass",
    "namingContexts",
    "supportedControl",
    "supportedExtension",
    "supportedSASLMechanisms",
    "firstchangenumber",
    "lastchangenumber",
    "dataversion",
];

impl RootDse {
    pub(super) fn from_entry(entry: &SearchResultEntry<'_>) -> Self {
        let mut dse = RootDse::default();
        for attribute in entry.attributes() {
            let mut texts =
                attribute.values().map(|value| String::from_utf8_lossy(value).into_owned());
            match attribute.description().to_ascii_lowercase().as_str() {
                "vendorname" => dse.vendor_name = texts.next(),
                "vendorversion" => dse.vendor_version = texts.next(),
                "objectclass" => dse.object_classes = texts.collect(),
                "namingcontexts" => dse.naming_contexts = texts.collect(),
                "supportedcontrol" => dse.supported_controls = texts.collect(),
                "supportedextension" => dse.supported_extensions = texts.collect(),
                "supportedsaslmechanisms" => dse.sasl_mechanisms = texts.collect(),
                "firstchangenumber" => {
                    dse.first_change_number =
                        texts.next().and_then(|number| number.trim().parse().ok())
                }
                "lastchangenumber" => {
                    dse.last_change_number =
                        texts.next().and_then(|number| number.trim().parse().ok())
                }
                "dataversion" => dse.has_data_version = true,
                _ => {}
            }
        }
        dse
    }

    /// The server's dialect of RFC 4533.
    pub fn provider(&self) -> Provider {
        if self.is_ds389() {
            Provider::Ds389
        } else if self
            .object_classes
            .iter()
            .any(|class| class.eq_ignore_ascii_case("OpenLDAProotDSE"))
        {
            Provider::OpenLdap
        } else {
            Provider::Rfc4533
        }
    }

    /// Detects 389 by its name or version. If the name is hidden, by attributes that no other
    /// server with content synchronisation has. An undetected 389 would be read strictly by RFC
    /// 4533, and its answers would then mean that every entry is deleted.
    fn is_ds389(&self) -> bool {
        let begins = |text: &Option<String>, with| {
            text.as_deref().is_some_and(|text| text.to_ascii_lowercase().starts_with(with))
        };
        let changelog = self.first_change_number.is_some()
            || self.last_change_number.is_some()
            || self.has_data_version;
        begins(&self.vendor_name, "389 ")
            || begins(&self.vendor_version, "389-")
            || self.vendor_name.is_none() && changelog
    }

    /// True if the server announces content synchronisation.
    pub fn offers_content_sync(&self) -> bool {
        self.supported_controls.iter().any(|oid| oid == SYNC_REQUEST_OID)
    }
}
