//! Changes drawn by chance, several between two runs, on both servers: after each run Kanidm holds
//! exactly what the directory does. The seed is printed; `SEED=` repeats a test.

use crate::changes::{FILTER, Leaving};
use crate::support::ds389::Ds389Options;
use crate::support::expect::GROUPS_OF_NAMES;
use crate::support::random::Random;
use crate::support::seed::{SUFFIX, Seed, SeedOptions, group_dn, user_dn, user_ldif};
use crate::support::slapd::SlapdOptions;
use crate::support::world::{Between, World, World389};

const ROUNDS: usize = 15;
const MOST_CHANGES: usize = 6;

fn seed() -> Seed {
    Seed::Generated(SeedOptions { users: 40, groups: 8, specials: false, ..SeedOptions::default() })
}

#[test]
fn slapd_without_a_session_log() {
    slapd(None);
}

#[test]
fn slapd_with_a_session_log() {
    slapd(Some(100));
}

fn slapd(sessionlog: Option<u32>) {
    let options =
        SlapdOptions { seed: seed(), sessionlog, memberof: true, ..SlapdOptions::default() };
    let world = World::with(options, GROUPS_OF_NAMES, FILTER, |config| config);
    Changes::new(&world, Leaving::Reported).make();
}

#[test]
fn ds389() {
    let world = World389::with(
        Ds389Options { seed: seed(), memberof: true, ..Ds389Options::default() },
        FILTER,
        |config| config,
    );
    Changes::new(&world, Leaving::Unnoticed).make();
}

struct Changes<'w> {
    world: &'w Between,
    leaving: Leaving,
    random: Random,
    /// Numbers for what is new.
    next: usize,
    /// Something left the filter since the last full refresh.
    left: bool,
}

impl Changes<'_> {
    fn new(world: &Between, leaving: Leaving) -> Changes<'_> {
        Changes { world, leaving, random: Random::from_environment(), next: 1000, left: false }
    }

    fn make(&mut self) {
        self.world.run_and_compare("first refresh", "full");
        for round in 0..ROUNDS {
            let changes: Vec<String> =
                (0..=self.random.below(MOST_CHANGES)).map(|_| self.change()).collect();
            let what = format!("round {round}: {changes:#?}");
            if self.left && self.leaving == Leaving::Unnoticed {
                // Who has left may still have a name or DN that another one takes.
                let code = self.world.tool.run(&["--json"]).code;
                assert!([Some(0), Some(3)].contains(&code), "{what}: {code:?}");
                self.world.run_full_and_compare(&what);
                self.left = false;
            } else {
                self.world.run_and_compare(&what, "incremental");
            }
        }
    }

    /// Makes one change, or a few that belong together, and says which.
    fn change(&mut self) -> String {
        let people = self.find("(objectClass=posixAccount)");
        let groups = self.find("(objectClass=groupOfNames)");
        // Who has left does not come back: Kanidm's recycle bin keeps the UUID.
        let staying = self.find("(&(objectClass=posixAccount)(!(employeeType=out)))");
        let (one, other) = (self.random.of(&people), self.random.of(&people));
        let group = self.random.of(&groups);
        self.next += 1;
        let next = self.next;
        let ldif = match self.random.below(14) {
            0 => user_ldif(next),
            1 if people.len() > 30 => format!("dn: {one}\nchangetype: delete\n"),
            2 => format!(
                "dn: {one}\nchangetype: modify\nreplace: cn\ncn: Changed {next}\n-\nreplace: mail\nmail: m{next}@example.com\n"
            ),
            3 => rename(&one, &format!("uid=renamed{next}")),
            4 => format!(
                "{}newsuperior: ou={},{SUFFIX}\n",
                rename(&one, rdn(&one)),
                self.random.of(&["people", "staff"])
            ),
            5 => {
                self.left = true;
                format!("dn: {one}\nchangetype: modify\nreplace: employeeType\nemployeeType: out\n")
            }
            6 => format!(
                "dn: {}\nchangetype: modify\nreplace: employeeType\nemployeeType: in\n",
                self.random.of(&staying)
            ),
            7 => format!(
                "dn: {group}\nchangetype: modify\nreplace: member\nmember: {one}\nmember: {}\n",
                user_dn(1)
            ),
            8 => format!(
                "dn: {group}\nchangetype: modify\nreplace: member\nmember: {one}\nmember: {group}\n"
            ),
            9 => {
                let again = user_ldif(next).replace(&user_dn(next), &one);
                let again =
                    again.replace(&format!("uid: user{next:05}"), &rdn(&one).replace('=', ": "));
                format!("dn: {one}\nchangetype: delete\n\n{again}")
            }
            10 if one != other => {
                let between = format!("uid=between,{}", parent(&one));
                let (first, second) = (rdn(&one).to_owned(), rdn(&other).to_owned());
                let moved = |from: &str, to: &str, over: &str| {
                    format!("{}newsuperior: {}\n", rename(from, to), parent(over))
                };
                [
                    moved(&one, "uid=between", &one),
                    moved(&other, &first, &one),
                    moved(&between, &second, &other),
                ]
                .join("\n")
            }
            11 => rename(&group, &format!("cn=renamed{next}")),
            12 => format!(
                "dn: {}\nobjectClass: groupOfNames\ncn: new{next}\nmember: {one}\nmember: {other}\n",
                group_dn(&format!("new{next}"))
            ),
            _ if groups.len() > 3 => format!("dn: {group}\nchangetype: delete\n"),
            _ => user_ldif(next),
        };
        // The server may refuse one: a name that is taken at the other place, a member that is
        // there already.
        match self.world.admin.try_modify(&ldif) {
            Ok(()) => ldif,
            Err(error) => format!("refused ({error}): {ldif}"),
        }
    }

    fn find(&self, filter: &str) -> Vec<String> {
        self.world
            .admin
            .search(SUFFIX, filter, &["1.1"])
            .into_iter()
            .map(|entry| entry.dn)
            .collect()
    }
}

fn rename(dn: &str, rdn: &str) -> String {
    format!("dn: {dn}\nchangetype: modrdn\nnewrdn: {rdn}\ndeleteoldrdn: 1\n")
}

fn rdn(dn: &str) -> &str {
    dn.split_once(',').expect("a DN without commas in its names").0
}

fn parent(dn: &str) -> &str {
    dn.split_once(',').expect("a DN without commas in its names").1
}
