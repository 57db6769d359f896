//! The shipped Containerfile has what it copies. The container itself is not built here: that takes
//! an engine and base images.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::process::run;
use crate::support::temp::TempDir;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn container(name: &str) -> String {
    fs::read_to_string(Path::new(ROOT).join("examples/container").join(name)).unwrap()
}

/// What the ignore file lets through: everything is ignored but for the lines that begin with `!`.
fn context() -> Vec<PathBuf> {
    let text = container("Containerfile.dockerignore");
    let mut lines = text.lines().filter(|line| !line.starts_with('#'));
    assert_eq!(lines.next(), Some("*"));
    lines.map(|line| PathBuf::from(line.strip_prefix('!').expect(line))).collect()
}

/// The instructions that begin with a word, without it.
fn instructions(word: &str) -> Vec<String> {
    container("Containerfile")
        .lines()
        .filter_map(|line| Some(line.strip_prefix(word)?.trim().to_owned()))
        .collect()
}

/// `COPY . .` copies the sources that the program is made of: all of them, and not the rest of the
/// tree.
#[test]
fn the_program_can_be_built_from_what_is_copied() {
    let folder = TempDir::new("container");
    // What only the source archive of a release has: the crates, and the word that they are there.
    let vendored = ["vendor", ".cargo"].map(PathBuf::from);
    assert!(vendored.iter().all(|path| context().contains(path)));
    for path in context() {
        if vendored.contains(&path) && !Path::new(ROOT).join(&path).exists() {
            continue;
        }
        let target = folder.path().join(&path);
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        run(Command::new("cp").arg("-r").arg(Path::new(ROOT).join(&path)).arg(target));
    }
    assert_eq!(instructions("COPY")[0], ". .");
    // In the folder of this test, where the crates are already.
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let mut check = Command::new(env!("CARGO"));
    check
        .args(["check", "--quiet", "--locked", "--offline", "--bin", "kanidm-ldap-sync"])
        .current_dir(folder.path());
    run(check.env("CARGO_TARGET_DIR", target));
}

/// What the first stage runs is there and may be executed; what the second takes is what that
/// makes, and what the container starts.
#[test]
fn the_program_is_taken_from_where_it_is_built() {
    let commands = instructions("RUN");
    let [script] = &commands[..] else { panic!("one command") };
    assert!(context().contains(&PathBuf::from(script)));
    let text = fs::read_to_string(Path::new(ROOT).join(script)).unwrap();
    assert!(
        text.contains("target=${CARGO_TARGET_DIR:-$root/target}")
            && text.contains("what=(--bin kanidm-ldap-sync) folder=release")
    );
    let folder = &instructions("WORKDIR")[0];
    let program = "/usr/bin/kanidm-ldap-sync";
    assert_eq!(
        instructions("COPY")[1],
        format!("--from=build {folder}/target/release/kanidm-ldap-sync {program}")
    );
    assert_eq!(instructions("ENTRYPOINT"), [format!("[\"{program}\"]")]);
}
