//! kanidm-ldap-sync(1): what the program does, its options, exit codes, variables, files and
//! signals.

use kanidm_ldap_sync::cli::{CliOption, DEFAULT_SYNC_CONFIG, OPTIONS, VARIABLES};
use kanidm_ldap_sync::config::client;
use kanidm_ldap_sync::exit::ExitCode;

use super::roff::{Page, bold, italic};

/// What the program takes from its surroundings beside [`VARIABLES`], which are for its users.
const SYSTEM_VARIABLES: &[(&str, &str)] = &[
    ("CREDENTIALS_DIRECTORY", "set by systemd: what `%d` in the path of a secret file stands for"),
    (
        "NOTIFY_SOCKET, WATCHDOG_USEC, WATCHDOG_PID",
        "set by systemd for `--schedule`: readiness, status, signs of life",
    ),
    ("JOURNAL_STREAM", "set by systemd: log lines then begin with their priority and have no time"),
    ("LC_ALL, LC_CTYPE, LANG", "whether the marks of `--check` are UTF-8 or ASCII"),
    (
        "COLUMNS",
        "where lines end on a terminal, 80 unless it is set; elsewhere a message is one line",
    ),
];

const SIGNALS: &[(&str, &str)] = &[
    (
        "SIGTERM, SIGINT",
        "end the program within a second; a run that is cut off is repaired by the next one",
    ),
    (
        "SIGHUP",
        "with `--schedule`: read the configuration again; one that cannot be used leaves the old one in force",
    ),
    ("SIGUSR1", "with `--schedule`: synchronise at once"),
];

/// The page.
pub fn page() -> String {
    let mut page = Page::new(1, "copy persons and groups from an LDAP directory into Kanidm");
    page.section("SYNOPSIS").text("`kanidm-ldap-sync` [options]");
    description(&mut page);
    page.section("OPTIONS");
    for option in OPTIONS {
        page.item(&term(option)).text(&format!("{}.", option.help));
    }
    exit_codes(&mut page);
    page.section("SIGNALS");
    list(&mut page, SIGNALS);
    page.section("ENVIRONMENT");
    list(&mut page, VARIABLES);
    list(&mut page, SYSTEM_VARIABLES);
    page.section("FILES");
    list(
        &mut page,
        &[
            (
                DEFAULT_SYNC_CONFIG,
                "the sync config: what to read from the directory, see `kanidm-ldap-sync`(5)",
            ),
            (
                client::DEFAULT_PATH,
                "Kanidm's client config: where Kanidm is, see `kanidm-ldap-sync`(5)",
            ),
        ],
    );
    page.paragraph("No other file is written or kept: what has to be remembered between runs, Kanidm stores with the sync account.");
    examples(&mut page);
    page.section("SEE ALSO").text("`kanidm-ldap-sync`(5), `kanidm`(1), RFC 4533");
    page.finish()
}

fn description(page: &mut Page) {
    page.section("DESCRIPTION").text(
        "`kanidm-ldap-sync` reads persons and groups from an LDAP directory that speaks content synchronisation (RFC 4533: OpenLDAP, \
         389 Directory Server) and sends them to Kanidm, everything at first and after that only what has changed. Without options it does \
         so once, and its exit code says how it went.",
    );
    page.paragraph(
        "An entry that Kanidm would refuse is held back and named, keeps what Kanidm has of it, and is tried again on every run; all others \
         go through. A run is refused that would delete all persons, all groups, or more than `max_delete_percent` of either, and so is \
         one that would take an attribute from more of those who have it: nothing is sent then.",
    );
    page.paragraph(
        "Results go to standard output; log lines and errors go to standard error. On a terminal a run that takes a while shows its \
         progress there. The program refuses to run as root.",
    );
}

fn exit_codes(page: &mut Page) {
    page.section("EXIT STATUS");
    for (code, meaning) in ExitCode::ALL {
        page.item(&bold(&code.code().to_string())).text(&format!("{meaning}."));
    }
    page.paragraph(
        "A dry run ends with the code that the guard and the checks before sending give. `--status` ends with 0 (OK), 2 (CRITICAL) or \
         3 (UNKNOWN: no answer); `--check` with 0, 1 (a step failed) or 2 (a configuration file is wrong).",
    );
}

fn examples(page: &mut Page) {
    page.section("EXAMPLES");
    for (what, command) in [
        ("Try everything that a run needs, and send nothing:", "kanidm-ldap-sync --check"),
        ("See what a run would send, entry by entry:", "kanidm-ldap-sync --dry-run"),
        (
            "Read the whole directory once more and bring Kanidm into line (look first with --dry-run):",
            "kanidm-ldap-sync --full-refresh",
        ),
        (
            "From cron: say something only when something needs looking at:",
            "kanidm-ldap-sync --quiet",
        ),
        (
            "How many entries are held back:",
            "kanidm-ldap-sync --json --dry-run | jq '.held | length'",
        ),
    ] {
        page.paragraph(what).lines(&[command]);
    }
}

fn list(page: &mut Page, items: &[(&str, &str)]) {
    for (name, meaning) in items {
        page.item(&bold(name)).text(&format!("{meaning}."));
    }
}

/// `-c, --client-config PATH`.
fn term(option: &CliOption) -> String {
    let names: Vec<String> = option
        .short
        .iter()
        .map(|c| format!("-{c}"))
        .chain(option.long.iter().map(|long| format!("--{long}")))
        .map(|name| bold(&name))
        .collect();
    names.join(", ") + &option.value.map(|value| format!(" {}", italic(value))).unwrap_or_default()
}
