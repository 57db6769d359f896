//! The members of a group in its JSON.
//!
//! Scope: reading them, and leaving some out. A group may have very many, so they are not taken
//! apart into a tree as other values are ([`super::body`]).

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A group. Other keys pass through unchanged.
#[derive(Default, Deserialize, Serialize)]
struct Group<'a> {
    #[serde(borrow, default, skip_serializing_if = "Vec::is_empty")]
    member: Vec<Member<'a>>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

#[derive(Deserialize, Serialize)]
struct Member<'a> {
    #[serde(borrow)]
    external_id: Cow<'a, str>,
}

/// The `externalId` of each member.
pub fn external_ids(group: &[u8]) -> impl Iterator<Item = Cow<'_, str>> {
    read(group).member.into_iter().map(|member| member.external_id)
}

/// The group without the members for which `keep` is false.
pub fn retain(group: &[u8], keep: impl Fn(&str) -> bool) -> Vec<u8> {
    let mut group = read(group);
    group.member.retain(|member| keep(&member.external_id));
    serde_json::to_vec(&group).unwrap_or_default()
}

fn read(group: &[u8]) -> Group<'_> {
    serde_json::from_slice(group).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_read_and_left_out() {
        let group =
            br#"{"id":"1","name":"g","member":[{"external_id":"a\\b"},{"external_id":"c"}]}"#;
        assert!(external_ids(group).eq(["a\\b", "c"]));
        let text = |keep: fn(&str) -> bool| String::from_utf8(retain(group, keep)).unwrap();
        assert_eq!(text(|id| id == "c"), r#"{"member":[{"external_id":"c"}],"id":"1","name":"g"}"#);
        assert_eq!(text(|_| false), r#"{"id":"1","name":"g"}"#);
        assert_eq!(external_ids(br#"{"id":"1"}"#).count(), 0);
    }
}
