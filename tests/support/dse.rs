//! Editing 389's `dse.ldif` while the server is down.

use std::fs;
use std::path::Path;

/// Its entries, each as its lines, unfolded; the first line is the DN.
pub struct Dse(Vec<Vec<String>>);

impl Dse {
    pub fn read(path: &Path) -> Dse {
        let text = fs::read_to_string(path)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
            .replace("\n ", "");
        let lines = |entry: &str| {
            entry
                .lines()
                .filter(|line| !line.is_empty() && !line.starts_with('#'))
                .map(str::to_owned)
                .collect()
        };
        Dse(text.split("\n\n").map(lines).filter(|entry: &Vec<String>| !entry.is_empty()).collect())
    }

    /// One value in place of all there are.
    pub fn set(&mut self, dn: &str, attribute: &str, value: &str) {
        self.remove(dn, attribute);
        self.add(dn, attribute, value);
    }

    /// One more value.
    pub fn add(&mut self, dn: &str, attribute: &str, value: &str) {
        self.entry(dn).push(format!("{attribute}: {value}"));
    }

    /// No value.
    pub fn remove(&mut self, dn: &str, attribute: &str) {
        self.entry(dn).retain(|line| {
            line.split(':').next().is_some_and(|name| !name.eq_ignore_ascii_case(attribute))
        });
    }

    pub fn write(&self, path: &Path) {
        let text: String = self.0.iter().map(|entry| entry.join("\n") + "\n\n").collect();
        fs::write(path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }

    fn entry(&mut self, dn: &str) -> &mut Vec<String> {
        let first = format!("dn: {dn}");
        let found = self.0.iter().position(|entry| entry[0].eq_ignore_ascii_case(&first));
        let index = found.unwrap_or_else(|| {
            self.0.push(vec![first]);
            self.0.len() - 1
        });
        &mut self.0[index]
    }
}
