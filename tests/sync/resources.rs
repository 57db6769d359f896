//! What a run takes of the machine: nothing on disk, and where files or memory are short, a clear
//! error and no harm.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::expect::{self, GROUPS_OF_NAMES};
use crate::support::kanidm::{Fault, Moment};
use crate::support::ports;
use crate::support::seed::{user_dn, user_ldif};
use crate::support::slapd::SlapdOptions;
use crate::support::temp::TempDir;
use crate::support::tool::{Outcome, Running, run_command};
use crate::support::world::{ACCOUNT, World};

/// The program under a limit, as `prlimit` knows it.
fn limited(world: &World, limit: &str, arguments: &[&str]) -> Command {
    let plain = world.tool.command();
    let mut command = Command::new("prlimit");
    command.arg(limit).arg(plain.get_program()).args(plain.get_args()).args(arguments);
    for (name, value) in plain.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// No file may grow beyond nothing: whoever writes a byte to one is ended by SIGXFSZ.
const NO_FILES: &str = "--fsize=0";
const SIGXFSZ: i32 = 25;
const SIGSEGV: i32 = 11;

/// Everything below a folder: path, length, time of the last change.
fn listing(folder: &Path) -> Vec<(PathBuf, u64, std::time::SystemTime)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let (path, metadata) =
            entry.map(|entry| (entry.path(), entry.metadata().unwrap())).unwrap();
        if metadata.is_dir() {
            found.extend(listing(&path));
        }
        found.push((path, metadata.len(), metadata.modified().unwrap()));
    }
    found.sort();
    found
}

#[test]
fn a_run_writes_nothing() {
    let status = ports::own_address().to_string();
    let mut world = World::new(SlapdOptions::default());
    world.reconfigure(|config| {
        config.set("status_bind", status).set("schedule", "0 0 0 1 1 * 2099")
    });
    let home = TempDir::new("home");
    let at_home = |command: &mut Command| {
        command.current_dir(home.path());
        for variable in [
            "HOME",
            "TMPDIR",
            "XDG_CACHE_HOME",
            "XDG_STATE_HOME",
            "XDG_DATA_HOME",
            "XDG_RUNTIME_DIR",
        ] {
            command.env(variable, home.path());
        }
    };
    let before = (listing(world.tool.dir().path()), listing(home.path()));
    let run = |what: &str, arguments: &[&str], code: i32| {
        let mut command = limited(&world, NO_FILES, arguments);
        at_home(&mut command);
        let outcome = run_command(&mut command);
        assert_eq!(outcome.code, Some(code), "{what}\n{}", outcome.all());
        assert_eq!((listing(world.tool.dir().path()), listing(home.path())), before, "{what}");
    };
    run("a check", &["--check"], 0);
    run("a dry run", &["--dry-run", "--debug"], 3);
    run("a dump", &["--proto-dump"], 3);
    run("a first refresh", &["--json"], 3);
    world.slapd.modify(&format!("{}\ndn: {}\nchangetype: delete\n", user_ldif(100), user_dn(1)));
    run("an increment", &[], 3);
    run("everything again", &["--full-refresh", "-q"], 3);
    world.slapd.change(&user_dn(2), "replace: cn\ncn: Changed");
    world.kanidm.fault(Fault::own_status(Moment::Received, 500, "\"backend\"").only("POST"));
    run("a failure in the middle", &["--json"], 1);
    run("nobody to ask", &["--status"], 3);
    run("a wrong command line", &["--wrong"], 2);

    // A service: runs, a new configuration, the end.
    let mut command = limited(&world, NO_FILES, &["--schedule"]);
    at_home(&mut command);
    let begun = runs(&world);
    let mut service = Running::of(command.spawn().unwrap());
    wait("its first run", || runs(&world) > begun);
    for signal in ["USR1", "HUP", "USR1"] {
        service.signal(signal);
    }
    wait("the others", || runs(&world) > begun + 1);
    service.signal("TERM");
    let outcome = service.finish();
    assert_eq!(outcome.code, Some(0), "{}", outcome.all());
    assert_eq!((listing(world.tool.dir().path()), listing(home.path())), before, "a service");

    // And this is what would have become of it otherwise.
    let mut writer = Command::new("prlimit");
    at_home(
        writer
            .args([NO_FILES, "dd", "if=/dev/zero", "of=written", "count=1"])
            .stderr(Stdio::null()),
    );
    assert_eq!(writer.status().unwrap().signal(), Some(SIGXFSZ));
    assert_ne!(listing(home.path()), before.1);
}

/// The other half: an empty file needs no room. Nothing that is shipped can open one for writing.
#[test]
fn the_source_makes_no_file() {
    let mut pending = vec![PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))];
    pending.push(PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/proto/src")));
    let mut files = 0;
    while let Some(path) = pending.pop() {
        if path.is_dir() {
            pending.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        files += 1;
        let text = fs::read_to_string(&path).unwrap();
        let shipped = text.split("#[cfg(test)]").next().unwrap();
        // `metrics_file` is the only file that the program writes; tests/service/metrics.rs.
        if path.ends_with("src/metrics/file.rs") {
            continue;
        }
        // The one place that opens files with options of its own opens them for reading.
        let reads = path.ends_with("src/file.rs")
            && ["write(", "create", "append("].iter().all(|word| !shipped.contains(word));
        let shipped = if reads { shipped.replace("OpenOptions", "") } else { shipped.to_owned() };
        for word in [
            "File::create",
            "OpenOptions",
            "fs::write",
            "create_dir",
            "fs::rename",
            "fs::copy",
            "hard_link",
            "symlink",
        ] {
            assert!(!shipped.contains(word), "{}: {word}", path.display());
        }
    }
    assert!(files > 80, "{files}");
}

/// How many runs have asked Kanidm for its state.
fn runs(world: &World) -> usize {
    world.kanidm.log().iter().filter(|line| line.method == "GET").count()
}

fn wait(what: &str, is_so: impl Fn() -> bool) {
    let begin = std::time::Instant::now();
    while !is_so() {
        assert!(
            begin.elapsed() < crate::support::process::PATIENCE,
            "waiting for {what} takes too long"
        );
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

/// What Kanidm holds is what the directory says.
#[track_caller]
fn assert_whole(world: &World, what: &str) {
    let (want, held) = expect::content(&world.directory(), "entryuuid", GROUPS_OF_NAMES);
    expect::assert_same(
        &expect::held_by_kanidm(&world.kanidm.entries(ACCOUNT), &held),
        &want,
        what,
    );
}

#[test]
fn too_few_open_files_are_a_clear_error() {
    let world = World::new(SlapdOptions::default());
    world.run_and_compare("first refresh", "full");
    let (mut failed, mut succeeded) = (0, 0);
    for files in 3..=16 {
        world.slapd.change(&user_dn(2), &format!("replace: cn\ncn: With {files} files"));
        let outcome = run_command(&mut limited(&world, &format!("--nofile={files}"), &[]));
        let what = format!("{files} open files");
        assert!(!outcome.all().contains("panicked"), "{what}\n{}", outcome.all());
        match outcome.code {
            Some(3) => succeeded += 1,
            Some(1 | 2) => {
                failed += 1;
                assert!(
                    outcome.stderr.contains("Too many open files"),
                    "{what}\n{}",
                    outcome.all()
                );
            }
            // Not even the program's libraries could be opened.
            Some(127) if files == 3 => {}
            code => panic!("{what}: {code:?}\n{}", outcome.all()),
        }
        println!(
            "{what}: {:?} {}",
            outcome.code,
            outcome.stderr.lines().last().unwrap_or_default()
        );
    }
    assert!(failed > 2 && succeeded > 2, "{failed} failed, {succeeded} went through");
    world.run_and_compare("and with enough of them", "incremental");
}

#[test]
fn too_little_memory_ends_the_run_and_nothing_else() {
    let world = World::new(SlapdOptions::default());
    world.run_and_compare("first refresh", "full");
    let (mut failed, mut succeeded) = (0, 0);
    // In quarters of a mebibyte of address space, until it is enough.
    for size in 48..400 {
        world.slapd.change(&user_dn(2), &format!("replace: cn\ncn: With {size} quarters"));
        let outcome = run_command(&mut limited(&world, &format!("--as={}", size << 18), &[]));
        println!(
            "{size}/4 MiB: {:?} {}",
            outcome.code,
            outcome.stderr.lines().last().unwrap_or_default()
        );
        if outcome.code == Some(3) {
            succeeded += 1;
        } else {
            failed += 1;
            assert_says_why(&outcome, size);
        }
        if succeeded == 3 {
            break;
        }
    }
    assert!(failed > 2 && succeeded == 3, "{failed} failed, {succeeded} went through");
    world.run(&[], 3);
    assert_whole(&world, "and with enough of it");
}

/// An error of ours; or the loader, the allocator, the standard library or the C library end the
/// process (SIGABRT), each in words of its own. Where not even the stack can grow, the kernel does
/// (SIGSEGV), and nobody is left to say anything. A panic of ours would be exit code 101.
#[track_caller]
fn assert_says_why(outcome: &Outcome, size: u64) {
    let says = |words: &str| outcome.stderr.contains(words);
    let clear = match outcome.code {
        Some(1) => says(" ERROR "),
        // The words of the loader, with and without its usual beginning.
        Some(127) => {
            says("error while loading shared libraries")
                || says("cannot allocate TLS data structures")
        }
        None => outcome.signal == Some(SIGSEGV) || !outcome.stderr.trim().is_empty(),
        _ => false,
    };
    assert!(clear, "{size}/4 MiB: {:?} {:?}\n{}", outcome.code, outcome.signal, outcome.all());
}
