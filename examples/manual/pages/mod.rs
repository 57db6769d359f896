//! The files and their texts, as pure functions of the program's tables: no clock, no environment,
//! the same bytes everywhere.

mod annotated;
mod completions;
mod configuration;
mod program;
mod roff;

/// Every file, by its name in the folder.
pub fn files() -> Vec<(&'static str, String)> {
    vec![
        ("kanidm-ldap-sync.1", program::page()),
        ("kanidm-ldap-sync.5", configuration::page()),
        ("completions/kanidm-ldap-sync.bash", completions::bash()),
        ("completions/kanidm-ldap-sync.zsh", completions::zsh()),
        ("completions/kanidm-ldap-sync.fish", completions::fish()),
    ]
}
