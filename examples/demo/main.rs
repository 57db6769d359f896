//! `cargo run --release --example demo`: a directory, a Kanidm, and the tool between them, without
//! a server to install.
//!
//! The directory and Kanidm are small stand-ins ([`directory`], [`kanidm`]) that speak the real
//! protocols over TLS. Between them runs the real tool ([`tool`]). Each step checks what it claims;
//! the first that does not come out ends the demo with exit code 1.

use std::error::Error;
use std::process::ExitCode;

mod directory;
mod http;
mod kanidm;
mod screen;
mod server;
mod tool;

use directory::Directory;
use kanidm::Kanidm;
use screen::{headline, paragraph};
use tool::Tool;

const SUFFIX: &str = "dc=example,dc=com";
/// Of the password `demo`.
const GOOD_HASH: &str = "{SSHA512}jRV9ete7TioNW2tMNDY2RBphFWbYStdhl8SfT+LUsaOzR1TEYtC45k9cLzqhbA1y3wxAV6aZAw8/rOMSgtWBMWFkYWFkYQ==";
const BAD_HASH: &str = "{MD5}CY9rzUYh03PK3k6DJie09g==";

fn main() -> ExitCode {
    if let Some(code) = tool::become_tool() {
        return ExitCode::from(code);
    }
    match story() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nThe demo failed: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The demo, step by step.
fn story() -> Result<(), Box<dyn Error>> {
    let demo = Demo::start()?;
    let directory = &demo.directory;
    paragraph(
        "kanidm-ldap-sync copies persons and groups from an LDAP directory into Kanidm. Here it runs between two small stand-ins for \
         those servers, both in this process, on ports of this machine. What follows a │ is what the real tool prints, without the time \
         that log lines begin with.",
    );
    println!();
    demo.tool.show("config")?;
    demo.tool.show("ldap-sync")?;

    headline("1. A dry run");
    paragraph(
        "The directory has three persons and a group. Kanidm has nothing yet, and nothing is sent.",
    );
    demo.person("ada", "Ada Lovelace", GOOD_HASH);
    let grace = demo.person("grace", "Grace Hopper", GOOD_HASH);
    let alan = demo.person("alan", "Alan Turing", GOOD_HASH);
    let pioneers = demo.group("pioneers", &["ada", "alan", "grace"]);
    demo.run(&["--dry-run"], 0, "nothing was sent")?;
    demo.kanidm_holds(&[])?;

    headline("2. The first refresh");
    paragraph("Everything is read, and sent in one request.");
    demo.run(&[], 0, "4 written (3 persons, 1 group)")?;
    let all = [
        ("ada", "Ada Lovelace"),
        ("alan", "Alan Turing"),
        ("grace", "Grace Hopper"),
        ("pioneers", "ada, alan, grace"),
    ];
    demo.kanidm_holds(&all)?;

    headline("3. Nothing to do");
    paragraph(
        "Kanidm keeps the directory's cookie (RFC 4533): from now on the directory sends only what has changed since.",
    );
    demo.run(&[], 0, "0 read, 0 written")?;

    headline("4. A rename");
    paragraph(
        "Grace gets another name, another user name, and with it another DN. She stays the same account, in the same group.",
    );
    directory.set(grace, "cn", "Grace B. M. Hopper");
    directory.set(grace, "uid", "ghopper");
    directory.rename(grace, &person_dn("ghopper"));
    demo.run(&[], 0, "incremental")?;
    demo.kanidm_holds(&[
        ("ada", "Ada Lovelace"),
        ("alan", "Alan Turing"),
        ("ghopper", "Grace B. M. Hopper"),
        ("pioneers", "ada, alan, ghopper"),
    ])?;
    check(
        demo.kanidm.entries().get(&grace).is_some_and(|e| e.name.as_deref() == Some("ghopper")),
        "Grace kept her UUID",
    )?;

    headline("5. A deletion");
    paragraph("Alan leaves.");
    directory.delete(alan);
    demo.run(&[], 0, "1 deleted")?;
    let three =
        [("ada", "Ada Lovelace"), ("ghopper", "Grace B. M. Hopper"), ("pioneers", "ada, ghopper")];
    demo.kanidm_holds(&three)?;

    headline("6. Two bad entries, and nobody else is held up");
    paragraph(
        "Mary comes. So does Edsger, with a kind of password hash that Kanidm does not import: the hash is left out, and he is named. A \
         group has a name that Kanidm has given to a group of its own: it is held back and named. Everything else goes through.",
    );
    demo.person("mary", "Mary Somerville", GOOD_HASH);
    let edsger = demo.person("edsger", "Edsger Dijkstra", BAD_HASH);
    let admins = demo.group("idm_admins", &["ada"]);
    demo.run(&[], 3, "1 held")?;
    let five =
        [three[0], ("edsger", "Edsger Dijkstra"), three[1], ("mary", "Mary Somerville"), three[2]];
    demo.kanidm_holds(&five)?;

    headline("7. Mended");
    paragraph("Such entries are named on every run, until they are mended.");
    directory.set(edsger, "userPassword", GOOD_HASH);
    directory.delete(admins);
    demo.run(&[], 0, "0 held")?;
    demo.kanidm_holds(&five)?;

    headline("8. An accident");
    let typo = "(objectClass=persom)";
    paragraph(&format!(
        "Somebody mistypes the filter, ldap_filter = \"{typo}\". The directory answers, correctly, that nobody is there. The guard does \
         not believe it.",
    ));
    demo.tool.configure(typo)?;
    demo.run(&[], 4, "refused by the deletion guard")?;
    demo.kanidm_holds(&five)?;
    check(demo.kanidm.entries().contains_key(&pioneers), "the group is still there")?;

    headline("Now with your servers");
    println!("{YOUR_SERVERS}");
    Ok(())
}

const YOUR_SERVERS: &str = "\
1. A sync account, and its token:
     kanidm login -D admin
     kanidm system sync create -D admin ldap-sync
     kanidm system sync generate-token -D admin ldap-sync first
2. examples/config and examples/kanidm-ldap-sync, with your values in them, as
     /etc/kanidm/config and /etc/kanidm/ldap-sync
3. See what would happen, then let it happen:
     cargo build --release
     target/release/kanidm-ldap-sync --dry-run
     target/release/kanidm-ldap-sync
README.md has it in more detail, and what the directory needs for it.";

/// Both servers, and the tool.
struct Demo {
    directory: Directory,
    kanidm: Kanidm,
    tool: Tool,
}

impl Demo {
    fn start() -> Result<Demo, Box<dyn Error>> {
        let (tls, ca) = server::certificate()?;
        let (directory, kanidm) = (Directory::default(), Kanidm::new());
        let (d, k) = (directory.clone(), kanidm.clone());
        let directory_address = server::listen(tls.clone(), move |stream| d.serve(stream))?;
        let kanidm_address = server::listen(tls, move |stream| http::serve(&k, stream))?;
        let tool = Tool::new(directory_address, kanidm_address, &ca)?;
        Ok(Demo { directory, kanidm, tool })
    }

    fn person(&self, uid: &str, name: &str, password: &str) -> uuid::Uuid {
        let attributes =
            [("objectClass", "person"), ("uid", uid), ("cn", name), ("userPassword", password)];
        self.directory.add(&person_dn(uid), &attributes)
    }

    fn group(&self, name: &str, members: &[&str]) -> uuid::Uuid {
        let members: Vec<String> = members.iter().map(|uid| person_dn(uid)).collect();
        let mut attributes = vec![("objectClass", "groupOfNames"), ("cn", name)];
        attributes.extend(members.iter().map(|dn| ("member", dn.as_str())));
        self.directory.add(&format!("cn={name},ou=groups,{SUFFIX}"), &attributes)
    }

    /// Runs the tool, which has to end with `code` and to say `words`.
    fn run(&self, options: &[&str], code: i32, words: &str) -> Result<(), Box<dyn Error>> {
        let (text, ended) = self.tool.run(options)?;
        check(ended == code, &format!("the exit code is {code}"))?;
        check(text.contains(words), &format!("the tool says {words:?}"))
    }

    /// Prints what Kanidm has, which has to be this: names, and the display name of a person or the
    /// members of a group.
    fn kanidm_holds(&self, expected: &[(&str, &str)]) -> Result<(), Box<dyn Error>> {
        let entries = self.kanidm.entries();
        let name = |uuid| entries.get(uuid).and_then(|e| e.name.clone()).unwrap_or_default();
        let mut rows: Vec<(String, String, &str)> = Vec::new();
        for (uuid, entry) in &entries {
            let mut members: Vec<String> = entry.members.iter().map(name).collect();
            members.sort_unstable();
            let content =
                if members.is_empty() { entry.display_name.clone() } else { members.join(", ") };
            rows.push((name(uuid), content, &entry.external_id));
        }
        rows.sort_unstable();
        println!("\n  Kanidm holds {}", if rows.is_empty() { "nothing." } else { "now" });
        rows.iter().for_each(|(name, content, dn)| screen::row(name, content, dn));
        let held = rows.iter().map(|(name, content, _)| (name.as_str(), content.as_str()));
        check(held.eq(expected.iter().copied()), &format!("Kanidm holds {expected:?}"))
    }
}

fn check(holds: bool, claim: &str) -> Result<(), Box<dyn Error>> {
    if holds { Ok(()) } else { Err(format!("this does not hold: {claim}").into()) }
}

fn person_dn(uid: &str) -> String {
    format!("uid={uid},ou=people,{SUFFIX}")
}
