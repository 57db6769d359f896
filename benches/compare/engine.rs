//! The real Kanidm engine behind our tool: where the time of a run goes outside of it.

use crate::contestants::ours;
use crate::document::Document;
use crate::measure::{Meter, Program, Sample};
use crate::support::kanidm::KanidmServer;
use crate::support::seed::{Seed, SeedOptions, group_dn, user_dn, user_ldif};
use crate::support::slapd::{Slapd, SlapdOptions};
use crate::support::temp::TempDir;
use crate::support::tool::ConfigText;
use crate::table::{Table, seconds};

const USERS: usize = 10_000;

/// 10,000 accounts into an empty Kanidm, then nothing, then one change: once each.
pub fn measure(document: &mut Document) {
    let place = Place::new(SeedOptions {
        users: USERS,
        groups: USERS / 50,
        specials: false,
        ..SeedOptions::default()
    });
    let mut table = Table::new(&[
        "run",
        "wall",
        "of it waiting for the directory, and mapping",
        "of it waiting for Kanidm",
        "our CPU",
    ]);
    let mut run = |what: &str| {
        let (sample, report) = place.run();
        eprintln!("{what}: {sample:?}");
        table.row(&row(what, sample, &report));
    };
    run("first run");
    run("nothing to do");
    place.change(1, 0);
    run("one account changed");
    document.put("ENGINE", table.text());
}

/// One account changes or joins, in directories of different sizes, with and without a group of
/// everybody.
pub fn one_change(document: &mut Document) {
    let mut table = Table::new(&[
        "accounts",
        "group of everybody",
        "change",
        "wall",
        "of it waiting for the directory, and mapping",
        "of it waiting for Kanidm",
        "groups sent",
    ]);
    for users in [1_000, 5_000, 20_000] {
        for big_group in [0, users] {
            let seed = SeedOptions {
                users,
                groups: 1,
                big_group,
                specials: false,
                ..SeedOptions::default()
            };
            let place = Place::new(seed);
            place.run();
            let group = if big_group > 0 { "yes" } else { "no" };
            let row = |what: &str, change: &dyn Fn(usize)| {
                let [wall, ldap, kanidm, groups] = place.median(change);
                eprintln!("{users} accounts, group of {big_group}, {what}: {wall:.3} s");
                [
                    users.to_string(),
                    group.to_owned(),
                    what.to_owned(),
                    seconds(wall),
                    seconds(ldap),
                    seconds(kanidm),
                    groups.to_string(),
                ]
            };
            table.row(&row("one account changed", &|n| place.change(n + 1, n)));
            if big_group > 0 {
                table.row(&row("one account joins the group", &|n| place.join(users + n + 1)));
            }
        }
    }
    document.put("CHANGE", table.text());
}

const CHANGES: usize = 11;

fn median(samples: &[[f64; 4]], at: usize) -> f64 {
    let mut values: Vec<f64> = samples.iter().map(|sample| sample[at]).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn figures(sample: Sample, report: &str) -> [f64; 4] {
    let report: serde_json::Value = serde_json::from_str(report).expect("a report");
    let figure = |value: &serde_json::Value| value.as_f64().expect("a number");
    [
        sample.wall,
        figure(&report["seconds"]["ldap"]),
        figure(&report["seconds"]["kanidm"]),
        figure(&report["written"]["groups"]),
    ]
}

/// A slapd, the engine, and our tool between them.
struct Place {
    slapd: Slapd,
    program: Program,
    meter: Meter,
    _kanidm: KanidmServer,
    _files: TempDir,
}

impl Place {
    fn new(seed: SeedOptions) -> Place {
        let slapd = Slapd::start(SlapdOptions {
            seed: Seed::Generated(seed),
            sessionlog: Some(10_000),
            ..SlapdOptions::default()
        });
        let kanidm = KanidmServer::start();
        let token = kanidm.create_sync_account("ldap").token;
        let files = TempDir::new("engine");
        let client =
            files.write("config", ConfigText::for_kanidm(&kanidm.url(), kanidm.ca()).text());
        let sync = ConfigText::for_slapd(&slapd).set("sync_token", token.as_str()).text();
        let sync = files.write("ldap-sync", sync);
        let path = |path: &std::path::Path| path.to_str().expect("a UTF-8 path").to_owned();
        let program =
            Program::new(ours(), &["-c", &path(&client), "-i", &path(&sync), "-s", "--json"]);
        Place { slapd, program, meter: Meter::new(), _kanidm: kanidm, _files: files }
    }

    fn run(&self) -> (Sample, String) {
        self.meter.run_and_read(&self.program)
    }

    /// Wall time, time at the directory, time at Kanidm, and groups sent: medians of runs, each
    /// after one change.
    fn median(&self, change: &dyn Fn(usize)) -> [f64; 4] {
        let samples: Vec<[f64; 4]> = (0..CHANGES)
            .map(|n| {
                change(n);
                let (sample, report) = self.run();
                figures(sample, &report)
            })
            .collect();
        [0, 1, 2, 3].map(|at| median(&samples, at))
    }

    /// A new account, and a member more of the group of everybody.
    fn join(&self, user: usize) {
        self.slapd.modify(&user_ldif(user));
        self.slapd
            .change(&group_dn("biggroup"), &format!("add: member\nmember: {}", user_dn(user)));
    }

    fn change(&self, user: usize, value: usize) {
        self.slapd.modify(&format!(
            "dn: {}\nchangetype: modify\nreplace: displayName\ndisplayName: Changed {value}\n",
            user_dn(user)
        ));
    }
}

fn row(what: &str, sample: Sample, report: &str) -> [String; 5] {
    let report: serde_json::Value = serde_json::from_str(report).expect("a report");
    let time = |key: &str| {
        seconds(report["seconds"][key].as_f64().unwrap_or_else(|| panic!("no {key} in {report}")))
    };
    [what.to_owned(), seconds(sample.wall), time("ldap"), time("kanidm"), seconds(sample.cpu)]
}
