//! kanidm-ldap-sync itself: the library's `app::main`, with real configuration files, in a process
//! of its own. Its exit code and every line that it prints are what a user gets.

use std::error::Error;
use std::ffi::OsString;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::PathBuf;
use std::process::Command;

use kanidm_ldap_sync::app;

use crate::{http, screen};

/// As the first argument, it makes this program the tool; the demo starts itself like this.
const NAME: &str = "kanidm-ldap-sync";

/// The sync config's filter.
pub const FILTER: &str = "(|(objectClass=person)(objectClass=groupOfNames))";

/// Becomes the tool, if that is what this process was started as. Returns its exit code.
pub fn become_tool() -> Option<u8> {
    let mut arguments = std::env::args_os().skip(1);
    (arguments.next()? == NAME).then(|| app::main(arguments, &|name| std::env::var_os(name)))
}

/// A folder with the tool's configuration.
pub struct Tool {
    folder: PathBuf,
    directory: SocketAddr,
}

impl Tool {
    /// Writes both configuration files, for servers whose certificate is `ca`.
    pub fn new(
        directory: SocketAddr,
        kanidm: SocketAddr,
        ca: &str,
    ) -> Result<Tool, Box<dyn Error>> {
        let folder =
            std::env::temp_dir().join(format!("kanidm-ldap-sync-demo-{}", std::process::id()));
        DirBuilder::new().mode(0o700).create(&folder)?;
        let tool = Tool { folder, directory };
        tool.write("ca.pem", ca)?;
        tool.write("config", &format!("uri = \"https://{kanidm}\"\nca_path = \"ca.pem\"\n"))?;
        tool.configure(FILTER)?;
        Ok(tool)
    }

    /// Writes the sync config.
    pub fn configure(&self, filter: &str) -> Result<(), Box<dyn Error>> {
        let (directory, token) = (self.directory, http::TOKEN);
        let text = format!(
            r#"sync_token = "{token}"
ldap_uri = "ldaps://{directory}"
ldap_ca = "ca.pem"
ldap_sync_dn = "cn=sync,dc=example,dc=com"
ldap_sync_pw = "demo"
ldap_sync_base_dn = "dc=example,dc=com"
ldap_filter = "{filter}"
"#
        );
        Ok(self.write("ldap-sync", &text)?)
    }

    /// Prints a file of the configuration.
    pub fn show(&self, name: &str) -> io::Result<()> {
        println!("  {name}:");
        fs::read_to_string(self.folder.join(name))?.lines().for_each(|line| println!("    {line}"));
        Ok(())
    }

    /// Runs the tool and prints what it says. Returns that, and the exit code.
    pub fn run(&self, options: &[&str]) -> Result<(String, i32), Box<dyn Error>> {
        let arguments =
            [&["-c", "config", "-i", "ldap-sync", "--skip-root-check"], options].concat();
        println!("\n  $ {NAME} {}", arguments.join(" "));
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(NAME).args(&arguments).current_dir(&self.folder);
        // What the user has set for a real Kanidm must not reach the demo.
        let is_kanidms =
            |name: &OsString| name.to_str().is_some_and(|name| name.starts_with("KANIDM_"));
        std::env::vars_os().filter(|(name, _)| is_kanidms(name)).for_each(|(name, _)| {
            command.env_remove(name);
        });
        let output = command.output()?;
        let text = String::from_utf8([output.stdout, output.stderr].concat())?;
        text.lines().for_each(|line| screen::output(without_time(line)));
        let code = output.status.code().ok_or("the tool was ended by a signal")?;
        println!("  exit code {code}");
        Ok((text, code))
    }

    /// Only its owner may read it: the tool warns otherwise.
    fn write(&self, name: &str, text: &str) -> io::Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(self.folder.join(name))?;
        file.write_all(text.as_bytes())
    }
}

impl Drop for Tool {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A log line without the time that it begins with: `2026-07-01T12:00:00Z `.
fn without_time(line: &str) -> &str {
    match line.split_at_checked(21) {
        Some((time, rest)) if time.ends_with("Z ") && time.as_bytes().get(10) == Some(&b'T') => {
            rest
        }
        _ => line,
    }
}
