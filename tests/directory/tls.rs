//! TLS: which servers are believed, what is presented to them, and what is said when it fails.

use std::path::{Path, PathBuf};

use kanidm_ldap_sync::config::secret::Secret;
use kanidm_ldap_sync::config::sync::{Bind, DirectoryConfig, LdapUri};
use kanidm_ldap_sync::directory::client::Directory;
use kanidm_ldap_sync::net::tls::{Roots, TlsOptions, client_config};
use rustls::pki_types::ServerName;

use crate::support::peer::{
    Link, Peer, SLAPD, bind_response, config, extended_response, notice, server_config,
};
use crate::support::pki::{Identity, Pki};
use crate::support::temp::TempDir;

/// What the user is told when `identity` is met at `localhost` with trust in `ca`.
fn refused(identity: &Identity, ca: &Path) -> String {
    let peer = Peer::tls(identity, |link| {
        assert!(link.next_request().is_none(), "nothing is sent to a server that is not believed")
    });
    let error = Directory::connect(&config("localhost", &peer, Some(ca))).unwrap_err().to_string();
    assert!(error.starts_with(&format!("ldaps://localhost:{}: ", peer.port)), "where: {error}");
    error
}

fn well_behaved(link: &mut Link) {
    link.begin(SLAPD);
    assert_eq!(link.request().tag, 0x42, "an unbind in the end");
    assert!(link.next_request().is_none());
}

#[test]
fn names_addresses_and_both_versions_of_tls_work() {
    let pki = Pki::new();
    for host in ["localhost", "127.0.0.1"] {
        for version in rustls::ALL_VERSIONS {
            let peer =
                Peer::tls_as(server_config(&pki.localhost(), None, &[version]), well_behaved);
            let directory = Directory::connect(&config(host, &peer, Some(pki.ca()))).unwrap();
            assert_eq!(directory.peer_certificates().len(), 1);
        }
    }
}

#[test]
fn every_certificate_of_the_bundle_counts() {
    let (first, second, folder) = (Pki::new(), Pki::new(), TempDir::new("bundle"));
    let pem = |pki: &Pki| std::fs::read_to_string(pki.ca()).unwrap();
    let bundle = folder
        .write("bundle.pem", format!("two of them\n{}in between\n{}", pem(&first), pem(&second)));
    for pki in [&first, &second] {
        let peer = Peer::tls(&pki.localhost(), well_behaved);
        Directory::connect(&config("localhost", &peer, Some(&bundle))).unwrap();
    }
}

#[test]
fn an_unknown_authority_is_named_as_the_cause() {
    let (pki, folder) = (Pki::new(), TempDir::new("others"));
    let error = refused(&pki.localhost(), &self_signed(&folder, "Another CA").certificate);
    assert!(
        error.ends_with(
            "the server's certificate (subject \"Test server\", issuer \"Test CA\") is issued by a CA that is not trusted here; \
             add the certificate of the CA \"Test CA\" to ldap_ca, or let the server send its intermediate certificates"
        ),
        "{error}"
    );
    // The authority was made anew under its old name.
    let error = refused(&pki.localhost(), Pki::new().ca());
    assert!(
        error.contains(
            "not signed by the CA it names: ldap_ca may hold an older CA of that name; replace it"
        ),
        "{error}"
    );
}

#[test]
fn an_expired_certificate_is_dated() {
    let pki = Pki::new();
    let error = refused(&pki.expired(), pki.ca());
    assert!(error.contains("expired on 2021-01-01 00:00 UTC"), "{error}");
    let error = refused(&pki.not_yet_valid(), pki.ca());
    assert!(error.contains("only valid from 2090-01-01 00:00 UTC"), "{error}");
}

#[test]
fn another_name_is_told_with_the_names_of_the_certificate() {
    let pki = Pki::new();
    let error = refused(&pki.host(&["ldap.example.com", "192.0.2.7"]), pki.ca());
    assert!(error.contains("not for localhost; it is for ldap.example.com, 192.0.2.7"), "{error}");
    let error = refused(&pki.host(&[]), pki.ca());
    assert!(error.contains("no name at all in its subjectAltName"), "{error}");
}

#[test]
fn a_ca_certificate_as_the_servers_own_is_explained() {
    let folder = TempDir::new("selfsigned");
    let identity = self_signed(&folder, "localhost");
    let error = refused(&identity, &identity.certificate);
    assert!(
        error.contains("uses a CA certificate as its own (basicConstraints CA:TRUE"),
        "{error}"
    );
}

/// An authority of this name, which is for `localhost` at the same time.
fn self_signed(folder: &TempDir, name: &str) -> Identity {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(["localhost".to_string()]).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let certificate = folder.write("own.crt", params.self_signed(&key).unwrap().pem());
    Identity { certificate, key: folder.write("own.key", key.serialize_pem()) }
}

#[test]
fn a_client_certificate_for_servers_only_is_no_server() {
    let pki = Pki::new();
    let error = refused(&pki.client("localhost"), pki.ca());
    assert!(error.contains("lacks serverAuth"), "{error}");
}

#[test]
fn a_port_that_speaks_no_tls_is_recognised() {
    let pki = Pki::new();
    let peer = Peer::plain(|link| link.send(extended_response(0, 2, "what was that?")));
    let error =
        Directory::connect(&config("localhost", &peer, Some(pki.ca()))).unwrap_err().to_string();
    assert!(error.contains("the answer is not TLS"), "{error}");
}

#[test]
fn without_verification_any_certificate_will_do() {
    let peer = Peer::tls(&Pki::new().expired(), well_behaved);
    let mut cfg = config("localhost", &peer, Some(Path::new("/nonexistent/not-even-read.pem")));
    cfg.verify_ca = false;
    Directory::connect(&cfg).unwrap();
}

#[test]
fn without_host_names_the_chain_is_still_verified() {
    let (pki, stranger) = (Pki::new(), Pki::new());
    let options = TlsOptions {
        roots: Roots::Bundle(pki.ca()),
        verify_ca: true,
        verify_hostnames: false,
        client_cert: None,
    };
    handshake(&options, &pki.host(&["elsewhere.example"])).unwrap();
    for bad in [stranger.localhost(), pki.expired(), pki.client("localhost")] {
        handshake(&options, &bad).unwrap_err();
    }
    let strict = TlsOptions { verify_hostnames: true, ..options };
    handshake(&strict, &pki.host(&["elsewhere.example"])).unwrap_err();
    handshake(&strict, &pki.localhost()).unwrap();
}

#[test]
fn system_roots_are_joined_by_the_bundle() {
    let pki = Pki::new();
    let options =
        |roots| TlsOptions { roots, verify_ca: true, verify_hostnames: true, client_cert: None };
    handshake(&options(Roots::SystemPlus(pki.ca())), &pki.localhost()).unwrap();
    // The system does not know our authority, and may have no roots at all in a bare container.
    assert!(
        client_config(&options(Roots::System)).is_err()
            || handshake(&options(Roots::System), &pki.localhost()).is_err()
    );
}

/// A handshake of our configuration with a server, by rustls' buffered interface, as the Kanidm
/// client uses it.
fn handshake(options: &TlsOptions<'_>, identity: &Identity) -> Result<(), std::io::Error> {
    let peer = Peer::tls(identity, |link| drop(link.next_request()));
    let name = ServerName::try_from("localhost").unwrap();
    let mut client =
        rustls::ClientConnection::new(client_config(options).unwrap().config, name).unwrap();
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", peer.port)).unwrap();
    client.complete_io(&mut stream).map(drop)
}

#[test]
fn a_client_certificate_opens_the_door() {
    for version in rustls::ALL_VERSIONS {
        let (pki, clients) = (Pki::new(), Pki::new());
        let client = clients.client("sync");
        let door = || server_config(&pki.localhost(), Some(clients.ca()), &[version]);

        let peer = Peer::tls_as(door(), |link| {
            let bind = link.request();
            assert!(bind.tag == 0x60 && bind.mentions("EXTERNAL"));
            link.send(bind_response(bind.id, 0, ""));
            link.root_dse(SLAPD);
        });
        let mut cfg = config("localhost", &peer, Some(pki.ca()));
        cfg.client_cert = Some((client.certificate.clone(), client.key.clone()));
        Directory::connect(&cfg).unwrap();

        let peer = Peer::tls_as(door(), |link| assert!(link.next_request().is_none()));
        let error = Directory::connect(&config("localhost", &peer, Some(pki.ca())))
            .unwrap_err()
            .to_string();
        assert!(error.contains("asks for a client certificate"), "{version:?}: {error}");

        let peer = Peer::tls_as(door(), |link| assert!(link.next_request().is_none()));
        let mut cfg = config("localhost", &peer, Some(pki.ca()));
        let folder = TempDir::new("stranger");
        let stranger = self_signed(&folder, "stranger");
        cfg.client_cert = Some((stranger.certificate, stranger.key));
        let error = Directory::connect(&cfg).unwrap_err().to_string();
        assert!(error.contains("does not accept our client certificate"), "{version:?}: {error}");
    }
}

#[test]
fn files_that_are_no_use_are_named() {
    let (pki, folder) = (Pki::new(), TempDir::new("files"));
    let (client, other) = (pki.client("a"), pki.client("b"));
    let bundle = |path: &Path| {
        let options = TlsOptions {
            roots: Roots::Bundle(path),
            verify_ca: true,
            verify_hostnames: true,
            client_cert: None,
        };
        error_naming(&options, path)
    };
    assert!(bundle(Path::new("/nonexistent/ca.pem")).contains("cannot read"));
    assert!(bundle(&folder.write("empty.pem", "")).contains("holds no certificate"));
    assert!(bundle(&client.key).contains("holds no certificate"));
    assert!(
        bundle(&folder.write("cut.pem", "-----BEGIN CERTIFICATE-----\nMIIB"))
            .contains("no END line")
    );
    let damaged = "-----BEGIN CERTIFICATE-----\nMII!\n-----END CERTIFICATE-----\n";
    assert!(bundle(&folder.write("damaged.pem", damaged)).contains("not base64"));
    let nonsense = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert!(
        bundle(&folder.write("nonsense.pem", nonsense))
            .contains("no certificate in it is usable as a CA")
    );

    let own = |certificate: &Path, key: &Path, named: &Path| {
        let client_cert = Some((certificate, key));
        error_naming(
            &TlsOptions {
                roots: Roots::Bundle(pki.ca()),
                verify_ca: true,
                verify_hostnames: true,
                client_cert,
            },
            named,
        )
    };
    let encrypted = folder.write(
        "enc.key",
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
    );
    assert!(
        own(&client.certificate, &encrypted, &encrypted).contains("protected by a pass phrase")
    );
    assert!(
        own(&client.certificate, &client.certificate, &client.certificate)
            .contains("holds no private key")
    );
    assert!(own(&client.key, &client.key, &client.key).contains("holds no certificate"));
    assert!(
        own(&client.certificate, &other.key, &other.key)
            .contains("does not belong to the first certificate")
    );
    let wrong =
        folder.write("wrong.key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
    assert!(
        own(&client.certificate, &wrong, &wrong).contains("cannot be used with the private key")
    );
}

fn error_naming(options: &TlsOptions<'_>, path: &Path) -> String {
    let error = client_config(options).unwrap_err().to_string();
    assert!(error.contains(path.to_str().unwrap()), "{error}");
    error
}

#[test]
fn starttls_is_all_that_is_ever_sent_in_clear() {
    let pki = Pki::new();
    let tls = server_config(&pki.localhost(), None, rustls::ALL_VERSIONS);
    let peer = Peer::plain(move |link| {
        take_start_tls(link, &extended_response(1, 0, ""));
        link.secure(tls);
        well_behaved(link);
    });
    Directory::connect(&starttls(&peer, &pki)).unwrap();
}

#[test]
fn a_server_that_refuses_starttls_hears_nothing_more() {
    for (answer, expected) in [
        (
            extended_response(1, 2, "unsupported extended operation"),
            "does not agree to StartTLS: protocolError (2), \"unsupported",
        ),
        (notice(52, "going down"), "giving as its reason: unavailable (52), \"going down\""),
        (extended_response(7, 0, ""), "message ID 7 where the answer to StartTLS was due"),
        (
            bind_response(1, 0, ""),
            "bindResponse with message ID 1 where the answer to StartTLS was due",
        ),
        (vec![0x16, 3, 1], "is not LDAP"),
        (Vec::new(), "cut the connection off during StartTLS"),
    ] {
        let pki = Pki::new();
        let peer = Peer::plain(move |link| {
            take_start_tls(link, &answer);
            if answer.is_empty() {
                return link.cut();
            }
            assert!(link.next_request().is_none(), "nothing in clear");
        });
        let error = Directory::connect(&starttls(&peer, &pki)).unwrap_err().to_string();
        assert!(error.starts_with("ldap://localhost:") && error.contains(expected), "{error}");
    }
}

#[test]
fn answers_slipped_in_behind_starttls_are_noticed() {
    let pki = Pki::new();
    let answer = [extended_response(1, 0, ""), bind_response(2, 0, "")].concat();
    let peer = Peer::plain(move |link| {
        take_start_tls(link, &answer);
        assert!(link.next_request().is_none());
    });
    let error = Directory::connect(&starttls(&peer, &pki)).unwrap_err().to_string();
    assert!(error.contains("somebody on the path"), "{error}");
}

fn take_start_tls(link: &mut Link, answer: &[u8]) {
    let request = link.request();
    assert!(
        request.tag == 0x77 && request.mentions("1.3.6.1.4.1.1466.20037"),
        "StartTLS first: {request:?}"
    );
    link.send(answer);
}

fn starttls(peer: &Peer, pki: &Pki) -> DirectoryConfig {
    let mut cfg = config("localhost", peer, Some(pki.ca()));
    cfg.uri = LdapUri::Tls { host: "localhost".into(), port: peer.port, starttls: true };
    cfg
}

#[test]
fn a_unix_socket_needs_no_tls() {
    let folder = TempDir::new("ldapi");
    let path: PathBuf = folder.path().join("ldapi");
    let peer = Peer::unix(&path, well_behaved);
    let mut cfg = config("", &peer, None);
    cfg.uri = LdapUri::Unix(path.clone());
    cfg.bind = Bind::Simple { dn: "cn=sync".into(), password: Secret::new("secret".into()) };
    assert!(Directory::connect(&cfg).unwrap().peer_certificates().is_empty());
    drop(peer);

    let error = Directory::connect(&cfg).unwrap_err().to_string();
    assert!(
        error.contains("nobody listens on the socket") && error.contains(path.to_str().unwrap()),
        "{error}"
    );
    cfg.uri = LdapUri::Unix(folder.path().join("absent"));
    let error = Directory::connect(&cfg).unwrap_err().to_string();
    assert!(error.contains("there is no socket"), "{error}");
}
