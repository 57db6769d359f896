//! The program: arguments in, exit code out.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(kanidm_ldap_sync::app::main(std::env::args_os().skip(1), &|name| {
        std::env::var_os(name)
    }))
}
