//! Kanidm's client config, its instances, and the environment in place of it.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::time::Duration;

use kanidm_ldap_sync::config::Warning;
use kanidm_ldap_sync::config::client::{self, ClientConfig};

use crate::config::file;
use crate::support::temp::TempDir;

fn client_env(variables: &[(&str, &str)]) -> impl Fn(&str) -> Option<OsString> {
    let variables: Vec<(String, OsString)> =
        variables.iter().map(|(name, value)| ((*name).to_owned(), OsString::from(value))).collect();
    move |name| {
        variables.iter().find(|(variable, _)| variable == name).map(|(_, value)| value.clone())
    }
}

fn load_client(
    text: &str,
    instance: Option<&str>,
    env: &[(&str, &str)],
) -> Result<(ClientConfig, Vec<Warning>), String> {
    let folder = TempDir::new("client");
    client::load(Some(&file(&folder, "config", 0o644, text)), instance, &client_env(env))
        .map_err(|e| e.to_string())
}

#[test]
fn the_client_config() {
    let (config, warnings) = load_client("uri = 'https://idm.example.com/'", None, &[]).unwrap();
    let expected = ClientConfig {
        uri: "https://idm.example.com".into(),
        verify_ca: true,
        verify_hostnames: true,
        ca_path: None,
        connect_timeout: Duration::from_secs(30),
    };
    assert_eq!((config, warnings), (expected, vec![]));
    let text = "uri = 'https://idm.example.com:8443'\nverify_ca = false\nverify_hostnames = false\nca_path = '/ca.pem'\nconnect_timeout = 5\nsomething_of_kanidm = 1\n";
    let (config, warnings) = load_client(text, None, &[]).unwrap();
    assert_eq!(
        (config.uri.as_str(), config.verify_ca, config.verify_hostnames),
        ("https://idm.example.com:8443", false, false)
    );
    assert_eq!(
        (config.ca_path.as_deref(), config.connect_timeout),
        (Some(Path::new("/ca.pem")), Duration::from_secs(5))
    );
    let warnings: Vec<String> = warnings.iter().map(ToString::to_string).collect();
    assert!(
        warnings.len() == 2
            && warnings[0].contains("verify_ca = false")
            && warnings[1].contains("verify_hostnames = false"),
        "{warnings:?}"
    );
}

#[test]
fn an_instance_stands_alone() {
    let text = "uri = 'https://a'\nca_path = '/a.pem'\n[b]\nuri = 'https://b'\n[c]\nverify_ca = false\nuri = 'http://c'\n";
    let uri = |instance, env: &[(&str, &str)]| {
        load_client(text, instance, env).map(|(config, _)| (config.uri, config.ca_path))
    };
    assert_eq!(uri(None, &[]), Ok(("https://a".into(), Some("/a.pem".into()))));
    assert_eq!(uri(Some("b"), &[]), Ok(("https://b".into(), None)));
    assert_eq!(uri(None, &[("KANIDM_INSTANCE", "b")]), Ok(("https://b".into(), None)));
    assert_eq!(
        uri(Some("b"), &[("KANIDM_INSTANCE", "c")]),
        Ok(("https://b".into(), None)),
        "the command line comes first"
    );
    let error = uri(Some("bb"), &[]).unwrap_err();
    assert!(error.contains("[bb]"), "{error}");
    let error = uri(Some("c"), &[]).unwrap_err();
    assert!(error.contains(":7: [c] uri: must begin with https://"), "{error}");
    assert_eq!(uri(Some("bb"), &[("KANIDM_URL", "https://d")]), Ok(("https://d".into(), None)));
}

#[test]
fn the_environment_overrides_the_client_config() {
    let (config, _) = load_client(
        "uri = 'https://a'\nca_path = '/a'",
        None,
        &[("KANIDM_URL", "https://b/"), ("KANIDM_CA_PATH", "/b")],
    )
    .unwrap();
    assert_eq!(
        (config.uri.as_str(), config.ca_path.as_deref()),
        ("https://b", Some(Path::new("/b")))
    );
    let (config, _) = load_client(
        "uri = 'https://a'",
        None,
        &[("KANIDM_URL", ""), ("KANIDM_CA_PATH", ""), ("KANIDM_INSTANCE", "")],
    )
    .unwrap();
    assert_eq!((config.uri.as_str(), config.ca_path), ("https://a", None));
    let error = load_client("uri = 'https://a'", None, &[("KANIDM_URL", "http://b")]).unwrap_err();
    assert!(error.starts_with("KANIDM_URL: must begin with https://"), "{error}");
}

#[test]
fn client_configs_that_cannot_be_are_refused() {
    for (text, place, message) in [
        ("verify_ca = true", ": uri:", "is required"),
        ("uri = 'http://idm.example.com'", ":1: uri:", "loopback"),
        ("uri = 'https://idm.example.com/kanidm'", ":1: uri:", "root of its host"),
        ("uri = 'https://a'\nverify_ca = 'no'", ":2: verify_ca:", "true or false"),
        ("uri = 'https://a'\nconnect_timeout = 0", ":2: connect_timeout:", "1 to"),
        ("uri = 'https://a'\nca_path = ''", ":2: ca_path:", "empty"),
        ("uri = https://a", ":1:", "not TOML"),
    ] {
        let error = load_client(text, None, &[]).expect_err(text);
        assert!(error.contains(place) && error.contains(message), "{text}: {error}");
    }
    assert!(load_client("uri = 'http://127.0.0.1:8080'", None, &[]).is_ok());
}

#[test]
fn only_the_default_client_config_may_be_absent() {
    let url = [("KANIDM_URL", "https://a")];
    let missing = TempDir::new("no-client").path().join("config");
    assert!(client::load(Some(&missing), None, &client_env(&url)).is_err());
    // Where the machine has no /etc/kanidm/config.
    if !Path::new(client::DEFAULT_PATH).exists() {
        let (config, _) = client::load(None, None, &client_env(&url)).unwrap();
        assert_eq!(config.uri, "https://a");
        let error = client::load(None, None, &|_| None).unwrap_err().to_string();
        assert!(error.starts_with(client::DEFAULT_PATH), "{error}");
    }
}

#[test]
fn the_example_client_config_is_one() {
    let example =
        fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/config")).unwrap();
    assert_eq!(load_client(&example, None, &[]).unwrap().0.uri, "https://idm.example.com");
    let all: String = example
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(setting) if setting.contains(" = ") || setting.starts_with('[') => {
                format!("{setting}\n")
            }
            _ => format!("{line}\n"),
        })
        .collect();
    assert_eq!(load_client(&all, None, &[]).unwrap().0.connect_timeout, Duration::from_secs(30));
    assert_eq!(
        load_client(&all, Some("staging"), &[]).unwrap().0.uri,
        "https://idm-staging.example.com"
    );
}
