//! The lines of a dry run: one for each entry that the run would write, delete, hold or skip.

use std::collections::HashMap;

use uuid::Uuid;

use super::guard::{Deletions, Gone};
use super::read::Reading;
use crate::content::changeset::Kind;
use crate::content::members::external_ids;
use crate::kanidm::known::Known;
use crate::kanidm::request::Retention;
use crate::kanidm::sketch::Sketch;
use crate::text::thousands;

/// The lines of a dry run. `names` has the DNs of deleted entries that the directory still has.
pub fn lines(
    reading: &Reading,
    known: Option<&Known>,
    deletions: Deletions,
    names: &HashMap<Uuid, String>,
) -> Vec<String> {
    let mut lines = Vec::new();
    writes(reading, &mut lines);
    deletes(reading, known, deletions, names, &mut lines);
    let content = &reading.content;
    for held in &content.held {
        let problems: Vec<String> =
            held.problems.iter().map(|p| format!("{}: {}", p.attribute, p.rule)).collect();
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

/// The entries that a run would delete, with their kinds, as far as their UUIDs are known.
pub fn going(reading: &Reading, known: Option<&Known>) -> Vec<(Option<Kind>, Uuid)> {
    let Some(known) = known else {
        return match &reading.retention {
            Retention::Delete(uuids) => uuids.iter().map(|uuid| (None, *uuid)).collect(),
            _ => Vec::new(),
        };
    };
    let of_kind = |kind| {
        let sketch: &Sketch = known.of(kind);
        let going: Vec<Uuid> = match &reading.retention {
            Retention::Ignore => Vec::new(),
            Retention::Retain(uuids) => sketch.named_missing_from(uuids, usize::MAX),
            Retention::Delete(uuids) => sketch.named_among(uuids).collect(),
        };
        going.into_iter().map(move |uuid| (Some(kind), uuid))
    };
    of_kind(Kind::Person).chain(of_kind(Kind::Group)).collect()
}

fn writes(reading: &Reading, lines: &mut Vec<String>) {
    let changes = &reading.content.changes;
    for record in changes.records() {
        let (dn, name) = (changes.external_id(record), changes.name(record));
        lines.push(match record.kind {
            Kind::Group => {
                let members = external_ids(&changes.json(record)).count();
                format!("write group  {dn} -> {name}, members {members}")
            }
            Kind::Person => format!("write person {dn} -> {name}"),
        });
    }
}

fn deletes(
    reading: &Reading,
    known: Option<&Known>,
    deletions: Deletions,
    names: &HashMap<Uuid, String>,
    lines: &mut Vec<String>,
) {
    let going = going(reading, known);
    match (&reading.retention, known) {
        (Retention::Retain(uuids), None) => {
            let kept = thousands(uuids.len() as u64);
            lines.push(format!(
                "delete every entry that this sync account has in Kanidm, except {kept} that the directory shows; \
                 the deleted ones cannot be named, because no earlier run left a list of them"
            ));
        }
        (Retention::Retain(_) | Retention::Delete(_), Some(known))
            if !known.is_exact() && deletions != Deletions::Exactly(0) =>
        {
            lines.push(format!("delete {deletions} in all; the names of these are known:"));
        }
        _ => {}
    }
    let skipped: HashMap<Uuid, &str> =
        reading.content.skipped.iter().map(|entry| (entry.uuid, entry.dn.as_str())).collect();
    for (kind, uuid) in going {
        let dn =
            skipped.get(&uuid).map(|dn| (*dn).to_owned()).or_else(|| names.get(&uuid).cloned());
        let kind = match kind {
            Some(Kind::Person) => "person ",
            Some(Kind::Group) => "group  ",
            None => "",
        };
        lines.push(format!("delete {kind}{}", Gone { uuid, dn }));
    }
}
