//! The filter on one entry, part by part.
//!
//! Scope: the directory decides about each part, by one search of the entry with that part as its
//! filter. So matching rules, computed attributes and access rules count as they do in a run.

use ldap_content_sync::filter::{Filter, is_attribute_description};
use ldap_content_sync::request::Scope;

use super::answer::{FilterPart, Matches};
use crate::directory::client::Directory;
use crate::directory::error::DirectoryError;

/// Maximum number of parts that the directory is asked about.
const MOST: usize = 200;
/// Maximum characters of a part.
const SHOWN: usize = 300;

/// Asks the directory about each part of a filter.
///
/// # Errors
/// The directory failed.
pub(super) fn ask(
    directory: &mut Directory,
    dn: &str,
    filter: &Filter,
) -> Result<FilterPart, DirectoryError> {
    let mut parts = Vec::new();
    collect(filter, &mut parts);
    let negations: Vec<Filter> = parts.iter().map(|part| negation(part)).collect();
    let both = parts.iter().copied().zip(&negations).flat_map(|(part, not)| [part, not]);
    let searches: Vec<(String, Scope, &Filter)> =
        both.map(|filter| (dn.to_owned(), Scope::Base, filter)).collect();
    let mut found = vec![false; searches.len()];
    directory.search_each(&searches, &["1.1"], &mut |index, _| {
        if let Some(found) = found.get_mut(index) {
            *found = true;
        }
    })?;
    let mut verdicts = found.chunks(2).map(|pair| match pair {
        [true, _] => Matches::Yes,
        [_, true] => Matches::No,
        _ => Matches::Undefined,
    });
    let mut tree = build(filter, &mut verdicts);
    if tree.matches != Matches::Yes {
        mark(&mut tree);
    }
    Ok(tree)
}

/// The parts that reject the entry, each as text with its reason.
pub(super) fn rejecting(tree: &FilterPart) -> Vec<String> {
    let mut found = Vec::new();
    describe(tree, &mut found);
    found
}

fn describe(part: &FilterPart, found: &mut Vec<String>) {
    if part.rejects {
        let whole = whole(part);
        found.push(match part.matches {
            Matches::Undefined => format!("{whole} cannot be decided"),
            _ => whole,
        });
    } else {
        part.parts.iter().for_each(|part| describe(part, found));
    }
}

/// The attributes of the parts that the directory cannot decide.
pub(super) fn undecided(tree: &FilterPart) -> Vec<&str> {
    let mut names = Vec::new();
    let mut parts = vec![tree];
    while let Some(part) = parts.pop() {
        if part.matches != Matches::Undefined {
            continue;
        }
        parts.extend(&part.parts);
        let is_item = part.parts.is_empty();
        let name = part.text.trim_start_matches('(').split(['=', '<', '>', '~', ':']).next();
        names.extend(name.filter(|name| is_item && is_attribute_description(name)));
    }
    names.sort_unstable();
    names.dedup();
    names
}

/// A part as text, shortened.
pub(super) fn whole(part: &FilterPart) -> String {
    let mut text = String::new();
    write(part, &mut text);
    cut(&text)
}

fn write(part: &FilterPart, text: &mut String) {
    text.push_str(&part.text);
    if matches!(part.text.as_str(), "(&" | "(|" | "(!") {
        part.parts.iter().for_each(|part| write(part, text));
        text.push(')');
    }
}

/// All parts, each before its own parts; at most [`MOST`].
fn collect<'f>(filter: &'f Filter, parts: &mut Vec<&'f Filter>) {
    if parts.len() >= MOST {
        return;
    }
    parts.push(filter);
    match filter {
        Filter::And(list) | Filter::Or(list) => list.iter().for_each(|part| collect(part, parts)),
        Filter::Not(part) => collect(part, parts),
        _ => {}
    }
}

fn negation(filter: &Filter) -> Filter {
    match filter {
        Filter::Not(inner) => Filter::clone(inner),
        other => Filter::Not(Box::new(other.clone())),
    }
}

/// The tree with the verdicts in the order of [`collect`].
fn build(filter: &Filter, verdicts: &mut dyn Iterator<Item = Matches>) -> FilterPart {
    let matches = verdicts.next().unwrap_or(Matches::NotAsked);
    let (text, parts): (String, &[Filter]) = match filter {
        Filter::And(list) => ("(&".to_owned(), list),
        Filter::Or(list) => ("(|".to_owned(), list),
        Filter::Not(part) => ("(!".to_owned(), std::slice::from_ref(part)),
        item => (cut(&item.to_string()), &[]),
    };
    let parts = parts.iter().map(|part| build(part, verdicts)).collect();
    FilterPart { text, matches, rejects: false, parts }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// Marks the smallest parts that reject the entry.
fn mark(part: &mut FilterPart) {
    let is_and = part.text == "(&";
    let is_or = part.text == "(|";
    match part.parts.as_mut_slice() {
        [only] if is_and || is_or => mark(only),
        parts if is_and && parts.iter().any(fails) => {
            parts.iter_mut().filter(|part| fails(part)).for_each(mark)
        }
        _ => part.rejects = true,
    }
}

fn fails(part: &FilterPart) -> bool {
    matches!(part.matches, Matches::No | Matches::Undefined)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rejects(filter: &str, matching: &[&str]) -> Vec<String> {
        let filter = Filter::parse(filter).unwrap();
        let mut parts = Vec::new();
        collect(&filter, &mut parts);
        let mut verdicts = parts.iter().map(|part| {
            if matching.contains(&part.to_string().as_str()) { Matches::Yes } else { Matches::No }
        });
        let mut tree = build(&filter, &mut verdicts);
        mark(&mut tree);
        rejecting(&tree)
    }

    #[test]
    fn the_smallest_part_that_rejects_is_named() {
        assert_eq!(rejects("(a=1)", &[]), ["(a=1)"]);
        assert_eq!(rejects("(&(a=1)(b=2)(c=3))", &["(a=1)"]), ["(b=2)", "(c=3)"]);
        assert_eq!(rejects("(&(a=1)(|(b=2)(c=3)))", &["(a=1)"]), ["(|(b=2)(c=3))"]);
        assert_eq!(rejects("(&(a=1)(|(b=2)))", &["(a=1)"]), ["(b=2)"]);
        assert_eq!(rejects("(&(a=1)(!(b=2)))", &["(a=1)", "(b=2)"]), ["(!(b=2))"]);
        assert_eq!(rejects("(&(&(a=1)(b=2)))", &["(a=1)"]), ["(b=2)"]);
        assert_eq!(rejects("(|)", &[]), ["(|)"]);
    }

    /// A hidden attribute in a part that matches all the same is no reason.
    #[test]
    fn only_undecided_parts_name_their_attributes() {
        let filter = "(&(|(a=1)(ok=1))(!(b>=2))(!(b=3))(c:dn:2.5.13.2:=x)(:dn:2.5.13.2:=y))";
        let filter = Filter::parse(filter).unwrap();
        let mut parts = Vec::new();
        collect(&filter, &mut parts);
        let mut verdicts = parts.iter().map(|part| match part {
            part if part.to_string().starts_with("(|") => Matches::Yes,
            _ => Matches::Undefined,
        });
        assert_eq!(undecided(&build(&filter, &mut verdicts)), ["b", "c"]);
    }

    #[test]
    fn a_large_filter_is_asked_about_in_part() {
        let many: String = (0..MOST * 2).map(|n| format!("(a={n})")).collect();
        let filter = Filter::parse(&format!("(|{many})")).unwrap();
        let mut parts = Vec::new();
        collect(&filter, &mut parts);
        assert_eq!(parts.len(), MOST);
        let mut tree = build(&filter, &mut parts.iter().map(|_| Matches::No));
        assert_eq!(tree.parts.len(), MOST * 2);
        assert_eq!(tree.parts.last().map(|part| part.matches), Some(Matches::NotAsked));
        mark(&mut tree);
        assert_eq!(rejecting(&tree).len(), 1);
        assert!(rejecting(&tree)[0].ends_with("..."));
    }
}
