//! Search filters: text to value to text, and into a request.

use ldap_content_sync::filter::{Filter, MAX_DEPTH, MAX_LENGTH, is_attribute_description};
use ldap_content_sync::request::{Scope, SearchRequest, search};

/// The text of a filter.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let _ = is_attribute_description(text);
    let filter = match Filter::parse(text) {
        Ok(filter) => filter,
        Err(error) => {
            assert!(error.offset <= text.len() && !error.to_string().is_empty());
            return;
        }
    };
    assert!(text.len() <= MAX_LENGTH && depth(&filter) <= MAX_DEPTH);
    let written = filter.to_string();
    if written.len() <= MAX_LENGTH {
        assert_eq!(Filter::parse(&written).as_ref(), Ok(&filter), "{written}");
    }
    let request = SearchRequest {
        base: "dc=example",
        scope: Scope::Subtree,
        filter: &filter,
        attributes: &[],
        size_limit: 0,
        time_limit: 0,
        types_only: false,
        sync: None,
    };
    assert!(!search(1, &request).is_empty());
}

fn depth(filter: &Filter) -> usize {
    1 + match filter {
        Filter::And(filters) | Filter::Or(filters) => filters.iter().map(depth).max().unwrap_or(0),
        Filter::Not(filter) => depth(filter),
        _ => 0,
    }
}
