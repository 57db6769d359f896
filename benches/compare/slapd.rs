//! The three of them against a real slapd, in turn: A B C A B C …

use crate::contestants::{Tool, ldapsearch};
use crate::document::Document;
use crate::measure::{Meter, Sample};
use crate::support::pki::Pki;
use crate::support::seed::{SUFFIX, Seed, SeedOptions, group_dn, user_dn};
use crate::support::slapd::{Slapd, SlapdOptions};
use crate::support::tool::ConfigText;
use crate::table::{Table, cells, megabytes, ratio, seconds, verdict};

/// After a warm-up.
const ROUNDS: usize = 5;

/// The medians of the three, in the order of the tables: ours, Kanidm's, ldapsearch.
type Medians = [Sample; 3];

/// A directory and what reads it.
struct Field {
    slapd: Slapd,
    config: ConfigText,
    ours: Tool,
    kanidms: Tool,
    meter: Meter,
    changes: usize,
}

impl Field {
    fn new(seed: SeedOptions) -> Field {
        eprintln!("loading a slapd with {} accounts", seed.users);
        let options = SlapdOptions {
            seed: Seed::Generated(seed),
            sessionlog: Some(10_000),
            ..SlapdOptions::default()
        };
        let slapd = Slapd::start(options);
        // Kanidm's own tool takes messages of 32 KiB by default, and a group of 50,000 members has
        // 2 MB.
        let config = ConfigText::for_slapd(&slapd).set("max_ber_size", 64 * 1024 * 1024);
        let pki = Pki::new();
        let (ours, kanidms) = (Tool::ours(&config, &pki), Tool::kanidms(&config, &pki));
        Field { slapd, config, ours, kanidms, meter: Meter::new(), changes: 0 }
    }

    /// Everything, into a Kanidm that has nothing.
    fn first(&mut self) -> Medians {
        rounds("first run", || {
            let search = ldapsearch(&self.slapd, &self.config, None);
            let tools = [&self.ours, &self.kanidms].map(|tool| {
                tool.sink.reset();
                let sample = self.meter.run(&tool.program);
                // Kanidm's own tool ends with 0 when it fails.
                assert!(
                    !tool.sink.take_posts().is_empty(),
                    "{:?} sent nothing\n{}",
                    tool.program,
                    self.meter.complaint()
                );
                sample
            });
            [tools[0], tools[1], self.meter.run(&search)]
        })
    }

    /// What has changed since the run before.
    fn next(&mut self, what: &str, changed: Option<fn(usize) -> String>) -> Medians {
        rounds(what, || {
            let cookie = self.cookie();
            if let Some(change) = changed {
                self.changes += 1;
                self.slapd.modify(&change(self.changes));
            }
            let search = ldapsearch(&self.slapd, &self.config, Some(&cookie));
            let tools = [&self.ours, &self.kanidms].map(|tool| {
                let sample = self.meter.run(&tool.program);
                let sent = !tool.sink.take_posts().is_empty();
                assert!(
                    sent || changed.is_none(),
                    "{:?} sent nothing\n{}",
                    tool.program,
                    self.meter.complaint()
                );
                sample
            });
            [tools[0], tools[1], self.meter.run(&search)]
        })
    }

    fn cookie(&self) -> String {
        let suffix = self.slapd.admin().search(SUFFIX, "(objectClass=dcObject)", &["contextCSN"]);
        format!("rid=000,csn={}", suffix[0].text("contextCSN").expect("content synchronisation"))
    }
}

fn rounds(what: &str, mut round: impl FnMut() -> [Sample; 3]) -> Medians {
    let mut samples: [Vec<Sample>; 3] = Default::default();
    for number in 0..=ROUNDS {
        let round = round();
        eprintln!("{what}, round {number}: {}", round.map(|s| cells(s).join(" ")).join(" | "));
        if number > 0 {
            samples.iter_mut().zip(round).for_each(|(all, sample)| all.push(sample));
        }
    }
    samples.map(|samples| Sample::median(&samples))
}

/// 10,000 and 100,000 accounts: the first run, one with nothing to do, one with a change. The
/// budgets are those of 100,000.
pub fn first_and_later_runs(document: &mut Document) {
    for users in [10_000, 100_000] {
        let mut field = Field::new(SeedOptions {
            users,
            groups: users / 50,
            specials: false,
            ..SeedOptions::default()
        });
        let first = field.first();
        let idle = field.next("nothing to do", None);
        let change = field.next("one change", Some(rename_account));
        document.put(
            &format!("RUNS_{users}"),
            table(&[
                ("first run", first),
                ("nothing to do", idle),
                ("one account changed", change),
            ]),
        );
        document.put("BUDGETS", budgets(first, idle));
    }
}

fn rename_account(number: usize) -> String {
    format!(
        "dn: {}\nchangetype: modify\nreplace: displayName\ndisplayName: Changed {number}\n",
        user_dn(number)
    )
}

/// One group of 50,000 members, among 50,000 accounts.
pub fn large_group(document: &mut Document) {
    let mut field = Field::new(SeedOptions {
        users: 50_000,
        groups: 0,
        big_group: 50_000,
        specials: false,
        ..SeedOptions::default()
    });
    let first = field.first();
    let change = field.next("a member less", Some(remove_member));
    document.put("GROUP", table(&[("first run", first), ("one member removed", change)]));
}

fn remove_member(number: usize) -> String {
    format!(
        "dn: {}\nchangetype: modify\ndelete: member\nmember: {}\n",
        group_dn("biggroup"),
        user_dn(number)
    )
}

fn table(runs: &[(&str, Medians)]) -> String {
    let mut table = Table::new(&["run", "", "wall", "CPU", "peak memory"]);
    for (run, [ours, kanidms, search]) in runs {
        let row = |table: &mut Table, who: &str, [wall, cpu, peak]: [String; 3]| {
            table.row(&[run.to_string(), who.to_owned(), wall, cpu, peak])
        };
        row(&mut table, "this tool", cells(*ours));
        row(&mut table, "Kanidm's own tool", cells(*kanidms));
        row(&mut table, "`ldapsearch`", cells(*search));
        let ratios = |other: &Sample| {
            [
                ratio(ours.wall, other.wall),
                cpu_ratio(ours.cpu, other.cpu),
                ratio(ours.peak, other.peak),
            ]
        };
        row(&mut table, "this tool : Kanidm's own", ratios(kanidms));
        row(&mut table, "this tool : `ldapsearch`", ratios(search));
    }
    table.text()
}

/// Hundredths of a second are all the kernel counts: nothing can be said of less than ten.
fn cpu_ratio(ours: f64, other: f64) -> String {
    if ours.min(other) < 0.1 { "–".to_owned() } else { ratio(ours, other) }
}

fn budgets([ours, kanidms, search]: Medians, [idle, kanidms_idle, _]: Medians) -> String {
    let mut table = Table::new(&["what", "allowed", "measured", ""]);
    let mut row = |what: &str, allowed: &str, ours: f64, limit: f64, write: fn(f64) -> String| {
        table.row(&[
            what,
            &format!("{allowed} = {}", write(limit)),
            &write(ours),
            verdict(ours, limit),
        ]);
    };
    row("first run, wall", "1.25 × `ldapsearch`", ours.wall, 1.25 * search.wall, seconds);
    row("first run, CPU", "1/5 of Kanidm's own tool", ours.cpu, kanidms.cpu / 5.0, seconds);
    row(
        "first run, peak memory",
        "1/10 of Kanidm's own tool",
        ours.peak,
        kanidms.peak / 10.0,
        megabytes,
    );
    row(
        "nothing to do, wall",
        "1/2 of Kanidm's own tool",
        idle.wall,
        kanidms_idle.wall / 2.0,
        seconds,
    );
    row(
        "nothing to do, peak memory",
        "1/2 of Kanidm's own tool",
        idle.peak,
        kanidms_idle.peak / 2.0,
        megabytes,
    );
    table.text()
}
