//! Kanidm's client config, with and without an instance.

use crate::{file, sync_config};
use kanidm_ldap_sync::config::client;

/// One byte for the instance and the environment, then the text of a file.
pub fn run(data: &[u8]) {
    let Some((&choice, text)) = data.split_first() else { return };
    let path = file::holding(text);
    let instance = (choice & 1 != 0).then_some("prod");
    let url = match choice >> 1 & 3 {
        0 => std::str::from_utf8(text).ok().and_then(|text| text.lines().next()),
        1 => Some("https://idm.example.com"),
        _ => None,
    };
    let env = |name: &str| url.filter(|_| name == "KANIDM_URL").map(Into::into);
    match client::load(Some(path), instance, &env) {
        Ok((config, _)) => {
            let loopback = ["http://localhost", "http://127.", "http://[::1]"];
            assert!(
                config.uri.starts_with("https://")
                    || loopback.iter().any(|start| config.uri.starts_with(start)),
                "{}",
                config.uri
            );
            assert!(
                !config.uri.ends_with('/')
                    && !config.uri.contains(char::is_whitespace)
                    && !config.connect_timeout.is_zero()
            );
        }
        Err(error) => sync_config::check(&error, text),
    }
}
