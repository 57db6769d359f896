//! The dry run's listing: what would be sent, entry by entry, and why the rest would not.

use serde_json::Value;

use super::changeset::Kind;
use super::read::Reading;
use crate::kanidm::known::Known;
use crate::kanidm::request::Retention;

/// A line for each entry that would be written, held or skipped, and for each that would be deleted and can be named: `known` is a sample
/// of what Kanidm holds, and all of it where that is not much.
pub fn lines(reading: &Reading, known: Option<&Known>) -> Vec<String> {
    let content = &reading.content;
    let mut lines = Vec::new();
    for record in content.changes.records() {
        // Our own serialisation: it always parses.
        let entry: Value = serde_json::from_slice(&content.changes.json(record)).unwrap_or_default();
        let text = |key: &str| entry.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (dn, name) = (text("externalId"), text("name"));
        lines.push(match record.kind {
            Kind::Group => {
                let members = entry.get("member").and_then(Value::as_array).map_or(0, Vec::len);
                format!("write group  {dn} -> {name}, members {members}")
            }
            Kind::Person => format!("write person {dn} -> {name}"),
        });
    }
    match &reading.retention {
        Retention::Ignore => {}
        Retention::Retain(uuids) => {
            lines.push(format!("keep {} entries, delete every other", uuids.len()));
            let gone = known.map(|known| known.named_missing_from(uuids, usize::MAX)).unwrap_or_default();
            lines.extend(gone.iter().map(|uuid| format!("delete {uuid}, which is one of them")));
        }
        Retention::Delete(uuids) => lines.extend(uuids.iter().map(|uuid| format!("delete {uuid}, where Kanidm has it"))),
    }
    for held in &content.held {
        let problems: Vec<String> = held.problems.iter().map(|p| format!("{}: {}", p.attribute, p.rule)).collect();
        lines.push(format!("hold {}: {}", held.dn, problems.join("; ")));
    }
    for dropped in &content.dropped {
        lines.push(format!("leave out of {}: {}: {}", dropped.dn, dropped.attribute, dropped.rule));
    }
    for skipped in &content.skipped {
        lines.push(format!("skip {}: {}", skipped.dn, skipped.reason));
    }
    lines
}
