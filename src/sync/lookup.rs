//! Searches that complete a refresh, so that memberships are exact. They read the entries that
//! group members name, the groups that name a changed entry, the persons that name a changed TOTP
//! token, and the entries that an earlier run held.
//!
//! Scope: building filters, batching them, and feeding the answers to the [`Mapper`]. A search
//! always asks for a batch, never for a single value.

use std::collections::{HashMap, HashSet};

use ldap_content_sync::SearchResultEntry;
use ldap_content_sync::dn;
use ldap_content_sync::filter::Filter;
use ldap_content_sync::request::Scope;
use ldap_content_sync::sync_session::Provider;
use uuid::Uuid;

use super::observe::{Observer, ReadStep};
use crate::config::sync::{DirectoryConfig, GroupSchema, MappingConfig};
use crate::content::changeset::Kind;
use crate::content::shown::Role;
use crate::directory::client::Directory;
use crate::directory::error::DirectoryError;
use crate::directory::flavour::sync_uuid;
use crate::mapping::prepared::prepare_dn;
use crate::mapping::totp::ChangedTokens;
use crate::mapping::{Changed, Mapper, OutOfScope, Questions, UniqueValues};

/// Maximum terms in one filter. Every server accepts this many, and a thousand names take ten
/// searches.
const TERMS: usize = 100;

/// Maximum bytes of the values in one filter. The author of an entry decides how long a value is.
const TERM_BYTES: usize = 64 * 1024;

/// With more changed entries, reading every group once is cheaper than searching for those that
/// name them.
const MANY_CHANGED: usize = 1_000;

/// With more member DNs, reading the names of all entries once is cheaper than one search for each.
const MANY_MEMBERS: usize = 2_000;

/// Searches the directory for one run.
pub struct Lookup<'a> {
    /// The connection of the refresh.
    pub directory: &'a mut Directory,
    /// Base and filter.
    pub config: &'a DirectoryConfig,
    /// The attributes and classes that name entries and members.
    pub mapping: &'a MappingConfig,
    /// The attributes to request: the mapped ones and the one with the UUID.
    pub attributes: &'a [&'a str],
}

impl<'a> Lookup<'a> {
    /// Reads entries by UUID, as if they were part of the refresh. Entries that are gone or out of
    /// scope do not come.
    pub fn read_again(
        &mut self,
        uuids: &[Uuid],
        mapper: &mut Mapper<'_>,
        observer: &mut Observer<'_>,
    ) -> Result<(), DirectoryError> {
        for batch in uuids.chunks(TERMS) {
            let filter = self.in_scope(self.directory.uuid_filter(batch));
            self.receive(&filter, &|uuid| batch.contains(uuid), mapper, observer)?;
        }
        Ok(())
    }

    /// Member attributes that are not mapped, each with the number of groups that have members only
    /// there.
    pub fn unmapped_members(&mut self) -> Result<Vec<(&'static str, u64)>, DirectoryError> {
        const USUAL: [&str; 3] = ["member", "uniqueMember", "memberUid"];
        let group = &self.mapping.group;
        let is_mapped = |attribute: &str| {
            group.members.iter().any(|member| member.eq_ignore_ascii_case(attribute))
        };
        let without: Vec<Filter> =
            group.members.iter().map(|member| Filter::Not(Box::new(present(member)))).collect();
        let mut found = Vec::new();
        for attribute in USUAL.into_iter().filter(|attribute| !is_mapped(attribute)) {
            let only_there = [any_object_class(&group.object_classes), present(attribute)]
                .into_iter()
                .chain(without.clone());
            let filter = self.in_scope(Filter::And(only_there.collect()));
            let groups = self.count(&filter)?;
            if groups > 0 {
                found.push((attribute, groups as u64));
            }
        }
        Ok(found)
    }

    /// How many of these entries are in scope and visible to the account.
    pub fn count_in_scope(&mut self, uuids: &[Uuid]) -> Result<usize, DirectoryError> {
        let mut found = 0;
        for batch in uuids.chunks(TERMS) {
            let filter = self.in_scope(self.directory.uuid_filter(batch));
            found += self.count(&filter)?;
        }
        Ok(found)
    }

    /// True if more than a tenth of these members are DNs or user names of entries in scope.
    /// Members that are gone or out of scope say nothing about the configuration. A sample is
    /// enough: a wrong schema misses all members.
    pub fn are_in_scope(&mut self, members: &[OutOfScope]) -> Result<bool, DirectoryError> {
        const SAMPLE: usize = 200;
        let step = members.len().div_ceil(SAMPLE).max(1);
        let sample: Vec<&str> =
            members.iter().step_by(step).map(|member| member.member.as_str()).collect();
        let filter = &self.config.filter;
        let dns =
            sample.iter().filter(|member| dn::normalize(member).is_ok_and(|form| !form.is_empty()));
        let searches: Vec<(String, Scope, &Filter)> =
            dns.map(|dn| ((*dn).to_owned(), Scope::Base, filter)).collect();
        let mut found = 0;
        self.directory.search_each(&searches, &["1.1"], &mut |_, _| found += 1)?;
        let names: Vec<Filter> =
            sample.iter().map(|name| equality(&self.mapping.person.user_name, name)).collect();
        for batch in batches(&names) {
            let filter = self.in_scope(Filter::Or(batch.to_vec()));
            found += self.count(&filter)?;
        }
        Ok(found * 10 > sample.len())
    }

    /// The DNs of entries by their directory UUIDs, in scope or not. Entries that are gone, or
    /// hidden from the account, have none.
    pub fn names(&mut self, uuids: &[Uuid]) -> Result<HashMap<Uuid, String>, DirectoryError> {
        let uuid_attribute = [self.directory.uuid_attribute()];
        let mut names = HashMap::new();
        for batch in uuids.chunks(TERMS) {
            let filter = self.directory.uuid_filter(batch);
            self.search(&filter, &uuid_attribute, &mut |uuid, entry| {
                if batch.contains(&uuid) {
                    names.insert(uuid, entry.dn().to_owned());
                }
            })?;
        }
        Ok(names)
    }

    /// Tells the mapper which entry owns a name, number or mail address of a held entry. The held
    /// entry stays held for it, without a request that Kanidm would refuse in every run.
    pub fn owners(&mut self, held: &[Uuid], mapper: &mut Mapper<'_>) -> Result<(), DirectoryError> {
        let mut unique = UniqueValues::default();
        for batch in held.chunks(TERMS) {
            let filter = self.in_scope(self.directory.uuid_filter(batch));
            self.search(&filter, self.attributes, &mut |uuid, entry| {
                if batch.contains(&uuid) {
                    mapper.unique_values(uuid, entry, &mut unique);
                }
            })?;
        }
        let person = &self.mapping.person;
        let mut terms: Vec<Filter> =
            unique.names.iter().map(|name| equality(&person.user_name, name)).collect();
        terms.extend(
            unique.gidnumbers.iter().map(|number| equality(&person.gidnumber, &number.to_string())),
        );
        terms.extend(unique.mails.iter().map(|mail| equality(&person.mail, mail)));
        let held = HashSet::<&Uuid>::from_iter(held);
        for batch in batches(&terms) {
            let filter = self.of_classes(&person.object_classes, batch);
            self.search(&filter, self.attributes, &mut |uuid, entry| {
                if !held.contains(&uuid) {
                    mapper.owner(uuid, entry);
                }
            })?;
        }
        Ok(())
    }

    /// Reads the groups that name one of the changed entries. Kanidm drops unknown members
    /// silently. An entry that comes into scope regains its memberships only if its groups are sent
    /// again.
    pub fn groups_naming(
        &mut self,
        changed: &[Changed],
        mapper: &mut Mapper<'_>,
        observer: &mut Observer<'_>,
    ) -> Result<(), DirectoryError> {
        let classes = &self.mapping.group.object_classes;
        if changed.len() > MANY_CHANGED {
            let filter = self.in_scope(any_object_class(classes));
            return self.receive(&filter, &|_| true, mapper, observer);
        }
        let terms: Vec<Filter> = changed.iter().flat_map(|c| self.naming(c)).collect();
        for batch in batches(&terms) {
            let filter = self.of_classes(classes, batch);
            self.receive(&filter, &|_| true, mapper, observer)?;
        }
        Ok(())
    }

    /// Reads the persons that name one of these TOTP tokens. Their own entries have not changed.
    pub fn persons_naming(
        &mut self,
        tokens: &ChangedTokens,
        mapper: &mut Mapper<'_>,
        observer: &mut Observer<'_>,
    ) -> Result<(), DirectoryError> {
        let Some(attribute) = &self.mapping.person.totp else { return Ok(()) };
        let terms: Vec<Filter> = match tokens.everybody {
            true => vec![present(attribute)],
            false => tokens.dns.iter().map(|dn| equality(attribute, dn)).collect(),
        };
        for batch in batches(&terms) {
            let filter = self.of_classes(&self.mapping.person.object_classes, batch);
            self.receive(&filter, &|_| true, mapper, observer)?;
        }
        Ok(())
    }

    /// Those of `roles` that no entry in scope shows.
    pub fn shown_by_nobody(&mut self, roles: &[&Role]) -> Result<Vec<Role>, DirectoryError> {
        let mut unshown = Vec::new();
        for role in roles {
            let classes = match role.kind {
                Kind::Person => &self.mapping.person.object_classes,
                Kind::Group => &self.mapping.group.object_classes,
            };
            let attributes: Vec<&str> = role.attributes().collect();
            let shows: Vec<Filter> = attributes.iter().map(|name| present(name)).collect();
            let filter = self.of_classes(classes, &shows);
            if !self.directory.shows_any(&self.config.base_dn, &filter, &attributes)? {
                unshown.push(Role::clone(role));
            }
        }
        Ok(unshown)
    }

    /// How many of these persons have the attribute, although the account cannot read it. A filter
    /// that says "absent" does not match them, because no filter on a hidden attribute matches.
    pub fn hidden(&mut self, attribute: &str, uuids: &[Uuid]) -> Result<usize, DirectoryError> {
        let unconfirmed = self.unconfirmed(attribute, uuids)?;
        if unconfirmed.is_empty() {
            return Ok(0);
        }
        // The directory may have changed since the run read these persons.
        let silent = self.showing_none(attribute, &unconfirmed)?;
        Ok(self.unconfirmed(attribute, &silent)?.len())
    }

    /// Those of `uuids` that the directory does not confirm to be without the attribute.
    fn unconfirmed(
        &mut self,
        attribute: &str,
        uuids: &[Uuid],
    ) -> Result<Vec<Uuid>, DirectoryError> {
        let absent = Filter::Not(Box::new(present(attribute)));
        let uuid_attribute = [self.directory.uuid_attribute()];
        let mut left: HashSet<Uuid> = uuids.iter().copied().collect();
        let mut confirm = |uuid: Uuid, _: &SearchResultEntry<'_>| {
            left.remove(&uuid);
        };
        if uuids.len() > MANY_CHANGED {
            let filter = self.of_classes(&self.mapping.person.object_classes, &[absent]);
            self.search(&filter, &uuid_attribute, &mut confirm)?;
        } else {
            for batch in uuids.chunks(TERMS) {
                let filter = Filter::And(vec![self.directory.uuid_filter(batch), absent.clone()]);
                self.search(&filter, &uuid_attribute, &mut confirm)?;
            }
        }
        Ok(left.into_iter().collect())
    }

    /// Those of `uuids` that are in scope now and show no value of the attribute.
    fn showing_none(
        &mut self,
        attribute: &str,
        uuids: &[Uuid],
    ) -> Result<Vec<Uuid>, DirectoryError> {
        let mut silent = Vec::new();
        let attributes = [self.directory.uuid_attribute(), attribute];
        for batch in uuids.chunks(TERMS) {
            let filter = self.in_scope(self.directory.uuid_filter(batch));
            self.search(&filter, &attributes, &mut |uuid, entry| {
                if !entry.attributes().any(|own| own.is(attribute)) {
                    silent.push(uuid);
                }
            })?;
        }
        Ok(silent)
    }

    /// Answers the mapper's questions about members that are not part of the run. A member outside
    /// the base is out of scope, so no search asks for it. The directory may well have such an
    /// entry.
    pub fn answer(
        &mut self,
        questions: &Questions,
        mapper: &mut Mapper<'_>,
    ) -> Result<(), DirectoryError> {
        let below = Below::new(&self.config.base_dn, self.directory.provider() != Provider::Ds389);
        let member_dns: Vec<&str> =
            questions.member_dns.iter().map(String::as_str).filter(|dn| below.has(dn)).collect();
        if questions.everybody || member_dns.len() > MANY_MEMBERS {
            let filter = self.config.filter.clone();
            self.know(&filter, mapper)?;
        } else {
            self.know_by_dn(&member_dns, mapper)?;
        }
        let person = &self.mapping.person;
        if questions.everybody {
            return Ok(());
        }
        let names = questions.member_uids.iter().chain(&questions.private_group_names);
        let terms: Vec<Filter> = names.map(|name| equality(&person.user_name, name)).collect();
        for batch in batches(&terms) {
            let filter = self.of_classes(&person.object_classes, batch);
            self.know(&filter, mapper)?;
        }
        Ok(())
    }

    /// Every way in which a group can name an entry.
    fn naming(&self, changed: &Changed) -> Vec<Filter> {
        let group = &self.mapping.group;
        let mut terms = Vec::new();
        for member in &group.members {
            match group.schema {
                GroupSchema::Rfc2307Bis => terms.push(equality(member, &changed.dn)),
                GroupSchema::Rfc2307 => {
                    terms.extend(changed.user_names.iter().map(|name| equality(member, name)))
                }
            }
        }
        if !group.send_user_private {
            // A group may have become this user's private group, or may no longer be it.
            terms.extend(changed.user_names.iter().map(|name| equality(&group.name, name)));
        }
        terms
    }

    fn know_by_dn(&mut self, dns: &[&str], mapper: &mut Mapper<'_>) -> Result<(), DirectoryError> {
        let filter = &self.config.filter;
        let searches: Vec<(String, Scope, &Filter)> =
            dns.iter().map(|dn| ((*dn).to_owned(), Scope::Base, filter)).collect();
        let provider = self.directory.provider();
        let attributes = self.known_attributes();
        self.directory.search_each(&searches, &attributes, &mut |_, entry| {
            if let Some(uuid) = sync_uuid(provider, entry) {
                mapper.known(uuid, entry);
            }
        })
    }

    fn know(&mut self, filter: &Filter, mapper: &mut Mapper<'_>) -> Result<(), DirectoryError> {
        let attributes = self.known_attributes();
        self.search(filter, &attributes, &mut |uuid, entry| mapper.known(uuid, entry))
    }

    fn known_attributes(&self) -> Vec<&'a str> {
        let uuid = self.directory.uuid_attribute();
        Mapper::known_attributes(self.mapping).into_iter().chain([uuid]).collect()
    }

    /// `is_asked_for` rejects entries that the server returns although the filter does not name
    /// them.
    fn receive(
        &mut self,
        filter: &Filter,
        is_asked_for: &dyn Fn(&Uuid) -> bool,
        mapper: &mut Mapper<'_>,
        observer: &mut Observer<'_>,
    ) -> Result<(), DirectoryError> {
        self.search(filter, self.attributes, &mut |uuid, entry| {
            if is_asked_for(&uuid) && !mapper.contains(&uuid) {
                observer(ReadStep::Received(uuid, entry));
                mapper.entry(uuid, entry);
            }
        })
    }

    /// Passes the matching entries below the base to `on_entry`. Ignores entries without a UUID.
    fn search(
        &mut self,
        filter: &Filter,
        attributes: &[&str],
        on_entry: &mut dyn FnMut(Uuid, &SearchResultEntry<'_>),
    ) -> Result<(), DirectoryError> {
        let (base, provider) = (&self.config.base_dn, self.directory.provider());
        self.directory.search(base, Scope::Subtree, filter, attributes, &mut |entry| {
            if let Some(uuid) = sync_uuid(provider, entry) {
                on_entry(uuid, entry);
            }
        })
    }

    /// How many entries below the base match.
    fn count(&mut self, filter: &Filter) -> Result<usize, DirectoryError> {
        let mut found = 0;
        let base = &self.config.base_dn;
        self.directory.search(base, Scope::Subtree, filter, &["1.1"], &mut |_| found += 1)?;
        Ok(found)
    }

    /// Entries in scope with one of these classes that match one of the terms.
    pub(crate) fn of_classes(&self, classes: &[String], terms: &[Filter]) -> Filter {
        self.in_scope(Filter::And(vec![any_object_class(classes), Filter::Or(terms.to_vec())]))
    }

    pub(crate) fn in_scope(&self, filter: Filter) -> Filter {
        Filter::And(vec![self.config.filter.clone(), filter])
    }
}

/// The DNs that are equal to a base or below it.
pub(crate) struct Below {
    /// The base in comparison form, as the end of a DN. In this form a comma only separates two
    /// RDNs.
    suffix: String,
    /// True if the server compares DNs as RFC 4518 prepares them.
    prepare: bool,
}

impl Below {
    pub(crate) fn new(base: &str, prepare: bool) -> Below {
        let mut below = Below { suffix: String::new(), prepare };
        // The configuration has only valid DNs.
        let form = below.form(base).unwrap_or_default();
        below.suffix = if form.is_empty() { form } else { format!(",{form}") };
        below
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.form(name).is_some_and(|form| {
            form.ends_with(&self.suffix) || self.suffix.strip_prefix(',') == Some(&form)
        })
    }

    fn form(&self, name: &str) -> Option<String> {
        let mut form = dn::normalize(name).ok()?;
        if self.prepare {
            prepare_dn(&mut form);
        }
        Some(form)
    }
}

/// Splits terms into filters of at most [`TERMS`] terms and [`TERM_BYTES`] bytes. A single term may
/// be longer.
fn batches(terms: &[Filter]) -> impl Iterator<Item = &[Filter]> {
    let mut rest = terms;
    std::iter::from_fn(move || {
        let mut bytes = 0_usize;
        let fits = |term: &&Filter| {
            bytes = bytes.saturating_add(size(term));
            bytes <= TERM_BYTES
        };
        let count = rest.iter().take(TERMS).take_while(fits).count().max(1);
        let (batch, more) = rest.split_at_checked(count)?;
        rest = more;
        Some(batch)
    })
}

fn size(term: &Filter) -> usize {
    match term {
        Filter::Equality { attribute, value } => attribute.len().saturating_add(value.len()),
        _ => 0,
    }
}

pub(crate) fn any_object_class(classes: &[String]) -> Filter {
    Filter::Or(classes.iter().map(|class| equality("objectClass", class)).collect())
}

pub(crate) fn present(attribute: &str) -> Filter {
    Filter::Present { attribute: attribute.to_owned() }
}

pub(crate) fn equality(attribute: &str, value: &str) -> Filter {
    Filter::Equality { attribute: attribute.to_owned(), value: value.as_bytes().to_vec() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_limited_in_terms_and_in_bytes() {
        let sizes = |lengths: &[usize]| {
            let terms: Vec<Filter> =
                lengths.iter().map(|length| equality("", &"x".repeat(*length))).collect();
            batches(&terms).map(<[Filter]>::len).collect::<Vec<_>>()
        };
        assert_eq!(sizes(&[]), [0; 0]);
        assert_eq!(sizes(&[1; 250]), [100, 100, 50]);
        assert_eq!(sizes(&[TERM_BYTES, 1, TERM_BYTES - 1, 1]), [1, 2, 1]);
        assert_eq!(sizes(&[1, TERM_BYTES + 1, 1]), [1, 1, 1]);
    }

    #[test]
    fn a_name_stands_below_a_base_by_whole_rdns() {
        let below = Below::new("OU=People, dc=example,dc=com", true);
        for inside in [
            "uid=a,ou=people,dc=example,dc=com",
            "UID=a , ou=PEOPLE,DC=example, dc=com",
            "ou=people,dc=example,dc=com",
        ] {
            assert!(below.has(inside), "{inside}");
        }
        for outside in [
            "dc=example,dc=com",
            "uid=a,ou=staff,dc=example,dc=com",
            "uid=a,xou=people,dc=example,dc=com",
            r"uid=a\,ou=people,dc=example,dc=com",
            "uid=a+ou=people,dc=example,dc=com",
            "ou=people,dc=example,dc=com,dc=org",
            "no name",
            "",
        ] {
            assert!(!below.has(outside), "{outside}");
        }
        assert!(Below::new("", true).has("dc=com"));
        let (composed, decomposed) = ("o=zo\u{eb}", "uid=a,o=zoe\u{308}");
        assert!(
            Below::new(composed, true).has(decomposed)
                && !Below::new(composed, false).has(decomposed)
        );
    }
}
