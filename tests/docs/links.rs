//! Every link within the documentation leads somewhere: the file is there, and so is the headline.
//! Every test file and test program that a document names exists.

use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn every_relative_link_leads_somewhere() {
    let documents = documents();
    assert!(documents.len() > 8, "{documents:?}");
    let mut dead = Vec::new();
    let mut links = 0;
    for document in &documents {
        let text = without_code(&fs::read_to_string(document).unwrap());
        for target in text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            links += 1;
            let (path, headline) = target
                .split_once('#')
                .map_or((target, None), |(path, headline)| (path, Some(headline)));
            let file = if path.is_empty() {
                document.clone()
            } else {
                document.parent().unwrap().join(path)
            };
            let found = file.exists()
                && headline
                    .is_none_or(|headline| headlines(&file).iter().any(|slug| slug == headline));
            if !found {
                dead.push(format!("{}: {target}", document.display()));
            }
        }
    }
    assert!(dead.is_empty(), "{dead:#?}");
    assert!(links > 40, "{links} links: does the search still find them?");
}

/// A document says how to repeat a test. A renamed test must not leave the old command there.
#[test]
fn every_named_test_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut files, mut programs, mut missing) = (0, 0, Vec::new());
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        let mut missed = |name: &str| missing.push(format!("{}: {name}", document.display()));
        for word in text.split(|c: char| !c.is_ascii_alphanumeric() && !"_-./*<".contains(c)) {
            // A path may be relative to the document or to one of the packages.
            let is_test = word.ends_with(".rs")
                && ["tests/", "proto/tests/", "../tests/"].iter().any(|at| word.starts_with(at));
            if is_test {
                files += 1;
                if ![root, document.parent().unwrap()].iter().any(|at| at.join(word).exists()) {
                    missed(word);
                }
            }
        }
        for after in text.split("--test ").skip(1) {
            let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
            let name = after.split(|c| !is_name(c)).next().unwrap();
            programs += 1;
            let is_there =
                ["tests", "proto/tests"].map(|tests| root.join(tests)).iter().any(|at| {
                    at.join(name).join("main.rs").exists() || at.join(format!("{name}.rs")).exists()
                });
            if !is_there {
                missed(&format!("--test {name}"));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
    assert!(files > 100 && programs > 10, "{files} files and {programs} programs are named");
}

#[test]
fn headlines_become_links_as_forges_make_them() {
    assert_eq!(
        slug("3. The account, its rights and limits"),
        "3-the-account-its-rights-and-limits"
    );
    assert_eq!(slug("The service and `--status`"), "the-service-and---status");
}

/// The Markdown files of the project.
fn documents() -> Vec<PathBuf> {
    let mut folders = vec![PathBuf::from(env!("CARGO_MANIFEST_DIR"))];
    let mut documents = Vec::new();
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_dir() && !path.is_symlink() {
                // What is built, vendored or made by a packager is not ours to check.
                if !name.starts_with('.') && !["target", "vendor", "dist"].contains(&name) {
                    folders.push(path);
                }
            } else if name.ends_with(".md") {
                documents.push(path);
            }
        }
    }
    documents
}

fn headlines(file: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap_or_default();
    without_code(&text)
        .lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| slug(line.trim_start_matches('#')))
        .collect()
}

/// Letters and digits in lower case, a dash for each blank, and nothing else.
fn slug(headline: &str) -> String {
    let kept =
        headline.trim().chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.flat_map(char::to_lowercase).map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// Without fenced blocks.
fn without_code(text: &str) -> String {
    text.split("\n```").step_by(2).collect()
}
