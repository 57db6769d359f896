//! The name and the number of a person or group: from its entry table, or from the directory.

use super::values::{self, Picked};
use super::{Findings, MISSING};
use crate::config::sync::EntryConfig;
use crate::content::rules::{self, Rule};

/// The origins of name and number.
#[derive(Clone, Copy)]
pub(super) struct Naming<'c> {
    /// The attribute of the name.
    pub(super) name: &'c str,
    /// The attribute of the number.
    pub(super) gidnumber: &'c str,
    pub(super) table: Option<&'c EntryConfig>,
}

impl<'c> Naming<'c> {
    fn mapped_name(&self) -> Option<&'c str> {
        self.table.and_then(|table| table.map_name.as_deref())
    }

    fn mapped_gidnumber(&self) -> Option<u32> {
        self.table.and_then(|table| table.map_gidnumber)
    }

    /// The key or attribute that gives the name.
    pub(super) fn name_origin(&self) -> &'c str {
        self.mapped_name().map_or(self.name, |_| "map_name")
    }

    /// The key or attribute that gives the number.
    pub(super) fn gidnumber_origin(&self) -> &'c str {
        self.mapped_gidnumber().map_or(self.gidnumber, |_| "map_gidnumber")
    }

    /// Writes the name in Kanidm, in lower case and empty if missing. `text` is the name in the
    /// directory. Returns true if Kanidm accepts the name.
    pub(super) fn read_name(
        &self,
        text: Result<Option<&str>, Rule>,
        name: &mut String,
        findings: &mut Findings,
    ) -> bool {
        let text = self.mapped_name().map_or(text, |name| Ok(Some(name)));
        lower_case(text.ok().flatten().unwrap_or_default(), name);
        let checked = match text {
            Err(rule) => Err(rule),
            Ok(_) if name.is_empty() => Err(MISSING),
            Ok(_) => rules::name(name),
        };
        checked.map_err(|rule| findings.required(self.name_origin(), rule)).is_ok()
    }

    /// The number, if Kanidm accepts it.
    pub(super) fn read_gidnumber(
        &self,
        values: Option<&Picked<'_>>,
        findings: &mut Findings,
    ) -> Option<u32> {
        let number = match self.mapped_gidnumber() {
            Some(number) => rules::gidnumber_range(number).map(|()| number),
            None => values::first_text(values).transpose()?.and_then(rules::gidnumber),
        };
        number.map_err(|rule| findings.optional(self.gidnumber_origin(), rule)).ok()
    }
}

/// The name and the number in the directory. The name is in lower case, and empty if missing. The
/// number is `None` if Kanidm does not accept it.
pub(super) fn identity(
    attribute: &str,
    dn: &str,
    names: Option<&Picked<'_>>,
    gidnumbers: Option<&Picked<'_>>,
    name: &mut String,
) -> Option<u32> {
    let text = values::naming_text(names, attribute, dn).ok().flatten();
    lower_case(text.unwrap_or_default(), name);
    let number = values::first_text(gidnumbers).ok().flatten();
    number.and_then(|text| rules::gidnumber(text).ok())
}

/// Names compare and are sent in lower case. Kanidm accepts only ASCII names.
pub(super) fn lower_case(text: &str, lower: &mut String) {
    lower.clear();
    lower.push_str(text);
    lower.make_ascii_lowercase();
}
