//! The shipped systemd units, as systemd-analyze judges them. Needs the Debian package systemd, but
//! no running systemd.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const SERVICES: [&str; 2] = ["kanidm-ldap-sync.service", "kanidm-ldap-sync-once.service"];

/// The units with the program where it was built, because verify looks whether it is there.
fn units(name: &str) -> PathBuf {
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(&directory).unwrap();
    for unit in
        fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/systemd")).unwrap()
    {
        let unit = unit.unwrap();
        let text = fs::read_to_string(unit.path()).unwrap();
        let text = text.replace(
            "=/usr/bin/kanidm-ldap-sync",
            concat!("=", env!("CARGO_BIN_EXE_kanidm-ldap-sync")),
        );
        fs::write(directory.join(unit.file_name()), text).unwrap();
    }
    directory
}

fn analyze(arguments: &[&str], unit: &Path) -> Output {
    let output = Command::new("systemd-analyze")
        .args(arguments)
        .arg(unit)
        .env("SYSTEMD_COLORS", "0")
        .output();
    output.expect("systemd-analyze (Debian package systemd) has to be installed for this test")
}

/// What verify complains of; systemd says much of it without failing.
fn complaints(unit: &Path) -> String {
    let output = analyze(&["verify", "--man=no"], unit);
    let said = String::from_utf8(output.stderr).unwrap();
    if output.status.success() { said } else { format!("{said}\nverify failed") }
}

#[test]
fn the_units_are_correct() {
    let directory = units("verify");
    for unit in SERVICES.iter().chain(&["kanidm-ldap-sync-once.timer"]) {
        assert_eq!(complaints(&directory.join(unit)), "", "{unit}");
    }
    // And verify would have said so.
    let unit = directory.join(SERVICES[0]);
    let text = fs::read_to_string(&unit).unwrap();
    fs::write(&unit, text.replace("ProtectClock", "ProtectClocks")).unwrap();
    assert!(complaints(&unit).contains("ProtectClocks"));
}

#[test]
fn the_services_are_hardened() {
    let directory = units("security");
    for unit in SERVICES {
        // The threshold is in tenths, out of 10 that stands for no hardening at all.
        let output = analyze(
            &["security", "--offline=true", "--threshold=11", "--no-pager"],
            &directory.join(unit),
        );
        assert!(
            output.status.success(),
            "{unit}:\n{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

#[test]
fn no_core_dump_holds_the_secrets() {
    for unit in SERVICES {
        let text = fs::read_to_string(
            Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/systemd").join(unit),
        )
        .unwrap();
        assert!(text.lines().any(|line| line == "LimitCORE=0"), "{unit}");
    }
}

/// Exit code 5: somebody else has the lock, and perhaps for good.
#[test]
fn a_run_that_finds_the_lock_taken_is_a_failed_unit() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for folder in ["examples/systemd", "packaging/debian"] {
        for file in fs::read_dir(root.join(folder)).unwrap() {
            let text = fs::read_to_string(file.unwrap().path()).unwrap();
            assert!(!text.contains("SuccessExitStatus"), "{folder}: {text}");
        }
    }
}
