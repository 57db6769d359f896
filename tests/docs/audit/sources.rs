//! Counts in the source files of a crate. Whole crates are counted, with the code of features and
//! systems that are not built: an upper bound.

use std::fs;
use std::path::Path;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// What there is to read.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Lines of Rust that are neither empty nor a comment only.
    pub lines: usize,
    /// The keyword `unsafe`, outside of tests.
    pub unsafe_tokens: usize,
    /// Files of C or assembly.
    pub foreign_files: usize,
}

impl Counts {
    /// Both together.
    pub fn plus(self, other: Counts) -> Counts {
        Counts {
            lines: self.lines + other.lines,
            unsafe_tokens: self.unsafe_tokens + other.unsafe_tokens,
            foreign_files: self.foreign_files + other.foreign_files,
        }
    }
}

/// Counts everything below the folder of a crate.
pub fn count(folder: &Path) -> Counts {
    let mut counts = Counts::default();
    walk(
        folder,
        folder,
        &mut |path| match path.extension().and_then(|extension| extension.to_str()) {
            Some("rs") => {
                let text = fs::read_to_string(path)
                    .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
                counts.lines += text
                    .lines()
                    .map(str::trim)
                    .filter(|line| !line.is_empty() && !line.starts_with("//"))
                    .count();
                counts.unsafe_tokens += unsafe_tokens(&text)
                    .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            }
            Some("c" | "h" | "inl" | "S" | "asm" | "o" | "a") => counts.foreign_files += 1,
            _ => {}
        },
    );
    counts
}

/// How often the keyword stands in the code, that of tests and what is in comments and strings left
/// out.
pub fn unsafe_tokens(code: &str) -> Result<usize, String> {
    // Most files need no reading.
    if !code.contains("unsafe") {
        return Ok(0);
    }
    let tokens: TokenStream =
        code.parse().map_err(|error| format!("does not read as Rust: {error}"))?;
    Ok(in_stream(tokens))
}

/// Whether a file, named from the crate's folder on, is part of the library or its build script.
pub fn is_shipped(path: &Path) -> bool {
    let only_for_tests = |name: &str| {
        matches!(
            name,
            "tests" | "test" | "tests.rs" | "test.rs" | "benches" | "examples" | "fuzz" | "target"
        )
    };
    path.components().all(|part| !part.as_os_str().to_str().is_some_and(only_for_tests))
}

fn walk(root: &Path, folder: &Path, visit: &mut dyn FnMut(&Path)) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if !is_shipped(path.strip_prefix(root).unwrap()) {
            continue;
        }
        if path.is_dir() { walk(root, &path, visit) } else { visit(&path) }
    }
}

fn in_stream(tokens: TokenStream) -> usize {
    let mut count = 0;
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Ident(word) if word == "unsafe" => count += 1,
            TokenTree::Punct(mark) if mark.as_char() == '#' => match tokens.peek() {
                Some(TokenTree::Group(group)) if is_for_tests(group.stream()) => {
                    tokens.next();
                    skip_item(&mut tokens);
                }
                _ => {}
            },
            TokenTree::Group(group) => count += in_stream(group.stream()),
            _ => {}
        }
    }
    count
}

/// Whether an attribute is `cfg(test)` or `cfg(all(test, …))`.
fn is_for_tests(attribute: TokenStream) -> bool {
    let text = attribute.to_string().replace(' ', "");
    text == "cfg(test)" || text.starts_with("cfg(all(test,")
}

/// Passes over an item with the rest of its attributes: up to its `;`, or its block.
fn skip_item(tokens: &mut dyn Iterator<Item = TokenTree>) {
    for token in tokens {
        match token {
            TokenTree::Punct(mark) if mark.as_char() == ';' => return,
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => return,
            _ => {}
        }
    }
}
