//! Certificates for tests: an authority of their own, and good, bad and client certificates of it,
//! as PEM files.

use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, date_time_ymd,
};

use super::temp::TempDir;

/// A certificate authority. Its files, and those of all it certifies, go away with it.
pub struct Pki {
    issuer: CertifiedIssuer<'static, KeyPair>,
    ca: PathBuf,
    folder: TempDir,
}

/// A certificate and its private key, PEM files. The certificate's file holds nothing else: the
/// authority is not in it.
#[derive(Clone, Debug)]
pub struct Identity {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl Pki {
    /// An authority that nobody else trusts. Two of them do not trust each other, whatever their
    /// names.
    pub fn new() -> Pki {
        Pki::named("Test CA")
    }

    /// As [`new`](Self::new), with a name of its own.
    pub fn named(name: &str) -> Pki {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let issuer = CertifiedIssuer::self_signed(params, new_key()).expect("an authority");
        let folder = TempDir::new("pki");
        let ca = folder.write("ca.pem", issuer.pem());
        Pki { issuer, ca, folder }
    }

    /// The authority's certificate, PEM.
    pub fn ca(&self) -> &Path {
        &self.ca
    }

    /// A server on this machine: `localhost`, 127.0.0.1 and ::1.
    pub fn localhost(&self) -> Identity {
        self.certify("localhost", server(&["localhost", "127.0.0.1", "::1"]))
    }

    /// A server by other names only.
    pub fn host(&self, names: &[&str]) -> Identity {
        self.certify("host", server(names))
    }

    /// A server on this machine whose certificate expired years ago.
    pub fn expired(&self) -> Identity {
        let mut params = server(&["localhost", "127.0.0.1", "::1"]);
        (params.not_before, params.not_after) =
            (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
        self.certify("expired", params)
    }

    /// A server on this machine whose certificate is not valid yet, for many years.
    pub fn not_yet_valid(&self) -> Identity {
        let mut params = server(&["localhost", "127.0.0.1", "::1"]);
        (params.not_before, params.not_after) =
            (date_time_ymd(2090, 1, 1), date_time_ymd(2091, 1, 1));
        self.certify("not-yet-valid", params)
    }

    /// A server on this machine whose certificate has so many days left, and a few hours.
    pub fn expiring(&self, days: u64) -> Identity {
        let mut params = server(&["localhost", "127.0.0.1", "::1"]);
        params.not_after = (std::time::SystemTime::now()
            + std::time::Duration::from_secs(days * 86_400 + 10_000))
        .into();
        self.certify("expiring", params)
    }

    /// A client, whose subject is `cn=NAME` alone.
    pub fn client(&self, name: &str) -> Identity {
        self.certify("client", client(name))
    }

    /// A client whose certificate expired years ago.
    pub fn expired_client(&self, name: &str) -> Identity {
        let mut params = client(name);
        (params.not_before, params.not_after) =
            (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
        self.certify("expired-client", params)
    }

    /// `kind` begins the names of the files.
    fn certify(&self, kind: &str, params: CertificateParams) -> Identity {
        let key = new_key();
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let name = super::temp::unique(kind);
        Identity {
            certificate: self.folder.write(&format!("{name}.crt"), certificate.pem()),
            key: self.folder.write(&format!("{name}.key"), key.serialize_pem()),
        }
    }
}

fn server(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| name.to_string()).collect();
    let mut params = CertificateParams::new(names).expect("names of hosts");
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "Test server");
    params.use_authority_key_identifier_extension = true;
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params
}

fn client(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params
}

fn new_key() -> KeyPair {
    KeyPair::generate().expect("a key")
}
