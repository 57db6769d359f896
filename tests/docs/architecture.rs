//! The rooms of the house, and the direction in which they use one another.
//! `docs/architecture.md` says why.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// From the ground up. A room may use the rooms of the lines above its own, and on its own line only
/// itself.
const FLOORS: &[&[&str]] = &[
    &["clock", "env", "exit", "heartbeat", "text", "within"],
    &["file", "terminal"],
    &["log"],
    &["content", "metrics", "schedule", "net"],
    &["config"],
    &["directory", "mapping", "kanidm"],
    &["upload"],
    &["sync", "service"],
    &["cli", "output", "progress"],
    &["settings"],
    &["check", "explain"],
    &["app"],
];

#[test]
fn a_room_uses_only_rooms_below_it() {
    let mut files = Vec::new();
    read(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")), "", &mut files);
    let rooms: BTreeSet<&str> = files
        .iter()
        .map(|(room, _)| room.as_str())
        .filter(|room| !["lib", "main"].contains(room))
        .collect();
    assert_eq!(
        rooms,
        FLOORS.iter().flat_map(|floor| floor.iter().copied()).collect(),
        "each room has its floor"
    );
    assert_eq!(wrong_arrows(&files), Vec::<String>::new());
}

#[test]
fn an_arrow_that_runs_up_or_beside_is_found() {
    let files = |text: &str| vec![("mapping".to_owned(), text.to_owned())];
    assert_eq!(
        wrong_arrows(&files(
            "use crate::content::scim;\nuse super::index;\n// crate::sync is not used\n"
        )),
        Vec::<String>::new()
    );
    for (room, text) in [
        ("sync", "use crate::sync::run;"),
        ("kanidm", "    let x = crate::kanidm::state::MAX;"),
        ("upload", "use crate::{content, upload::Upload};"),
    ] {
        assert_eq!(wrong_arrows(&files(text)), [format!("mapping uses {room}")]);
    }
}

/// The layout of an entry is known to `content`. `kanidm` reads answers and states, `sync` writes the
/// dump, and `output` prints it and the reports.
#[test]
fn entries_are_json_in_one_room_only() {
    let mut files = Vec::new();
    read(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")), "", &mut files);
    let code = |text: &str| text.split("#[cfg(test)]").next().unwrap().contains("serde_json");
    let rooms: BTreeSet<&str> =
        files.iter().filter(|(_, text)| code(text)).map(|(room, _)| room.as_str()).collect();
    assert_eq!(rooms, BTreeSet::from(["content", "kanidm", "output", "sync"]));
}

/// Which rooms use which others and must not.
fn wrong_arrows(files: &[(String, String)]) -> Vec<String> {
    let floor = |room: &str| FLOORS.iter().position(|floor| floor.contains(&room));
    let wrong = |room: &str, used: &str| {
        used != room && floor(used).is_some() && floor(used) >= floor(room)
    };
    let mut found = BTreeSet::new();
    for (room, text) in files.iter().filter(|(room, _)| floor(room).is_some()) {
        let code = text
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"))
            .collect::<Vec<_>>()
            .join("\n");
        for used in
            code.split("crate::").skip(1).flat_map(used_rooms).filter(|used| wrong(room, used))
        {
            found.insert(format!("{room} uses {used}"));
        }
    }
    found.into_iter().collect()
}

/// The rooms at the beginning of a path: one, or several in braces.
fn used_rooms(path: &str) -> Vec<&str> {
    let name = |text: &str| {
        text.trim().find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.trim().len())
    };
    match path.strip_prefix('{').and_then(|list| list.split_once("};")) {
        Some((list, _)) => list.split(',').map(str::trim).map(|part| &part[..name(part)]).collect(),
        None => vec![&path[..name(path)]],
    }
}

/// The texts of all files, each with the room that it is in.
fn read(folder: &Path, room: &str, files: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let room = if room.is_empty() { stem } else { room.to_owned() };
        match path.is_dir() {
            true => read(&path, &room, files),
            false => files.push((room, fs::read_to_string(&path).unwrap())),
        }
    }
}
