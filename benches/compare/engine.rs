//! The real Kanidm engine behind our tool: where the time of a run goes outside of it.

use crate::contestants::ours;
use crate::document::Document;
use crate::measure::{Meter, Program, Sample};
use crate::support::kanidm::KanidmServer;
use crate::support::seed::{Seed, SeedOptions, user_dn};
use crate::support::slapd::{Slapd, SlapdOptions};
use crate::support::temp::TempDir;
use crate::support::tool::ConfigText;
use crate::table::{Table, seconds};

const USERS: usize = 10_000;

/// 10,000 accounts into an empty Kanidm, then nothing, then one change: once each.
pub fn measure(document: &mut Document) {
    let seed =
        SeedOptions { users: USERS, groups: USERS / 50, specials: false, ..SeedOptions::default() };
    let slapd = Slapd::start(SlapdOptions {
        seed: Seed::Generated(seed),
        sessionlog: Some(10_000),
        ..SlapdOptions::default()
    });
    let kanidm = KanidmServer::start();
    let token = kanidm.create_sync_account("ldap").token;
    let files = TempDir::new("engine");
    let client = files.write("config", ConfigText::for_kanidm(&kanidm.url(), kanidm.ca()).text());
    let sync = files
        .write("ldap-sync", ConfigText::for_slapd(&slapd).set("sync_token", token.as_str()).text());
    let path = |path: &std::path::Path| path.to_str().expect("a UTF-8 path").to_owned();
    let program = Program::new(ours(), &["-c", &path(&client), "-i", &path(&sync), "-s", "--json"]);
    let meter = Meter::new();

    let mut table = Table::new(&[
        "run",
        "wall",
        "of it waiting for the directory, and mapping",
        "of it waiting for Kanidm",
        "our CPU",
    ]);
    let mut run = |what: &str| {
        let (sample, report) = meter.run_and_read(&program);
        eprintln!("{what}: {sample:?}");
        table.row(&row(what, sample, &report));
    };
    run("first run");
    run("nothing to do");
    slapd.modify(&format!(
        "dn: {}\nchangetype: modify\nreplace: displayName\ndisplayName: Changed\n",
        user_dn(1)
    ));
    run("one account changed");
    document.put("ENGINE", table.text());
}

fn row(what: &str, sample: Sample, report: &str) -> [String; 5] {
    let report: serde_json::Value = serde_json::from_str(report).expect("a report");
    let time = |key: &str| {
        seconds(report["seconds"][key].as_f64().unwrap_or_else(|| panic!("no {key} in {report}")))
    };
    [what.to_owned(), seconds(sample.wall), time("ldap"), time("kanidm"), seconds(sample.cpu)]
}
