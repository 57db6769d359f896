//! Every link within the documentation leads somewhere: the file is there, and so is the headline.

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
