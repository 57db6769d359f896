//! kanidm-ldap-sync(5): the keys of both configuration files, described by the annotated examples.

use kanidm_ldap_sync::cli::DEFAULT_SYNC_CONFIG;
use kanidm_ldap_sync::config::client;
use kanidm_ldap_sync::config::keys::{CLIENT_KEYS, ENTRY_KEYS, KEYS, Key};

use super::annotated::{Block, Part, sections};
use super::roff::{Page, bold, escaped};

const SYNC_EXAMPLE: &str = include_str!("../../kanidm-ldap-sync");
const CLIENT_EXAMPLE: &str = include_str!("../../config");

/// The page.
pub fn page() -> String {
    let mut page = Page::new(5, "configuration of kanidm-ldap-sync(1)");
    page.section("DESCRIPTION");
    page.text(&format!(
        "`kanidm-ldap-sync` reads two files: the sync config, `{DEFAULT_SYNC_CONFIG}`, says what to read from the LDAP directory and how it \
         becomes persons and groups in Kanidm; Kanidm's client config, `{}`, says where Kanidm is. Both are TOML. The options `-i` and \
         `-c` name other files.",
        client::DEFAULT_PATH
    ));
    page.paragraph(
        "Required are a sync token, `ldap_uri`, `ldap_sync_base_dn` and `ldap_filter`, and, unless the bind is by a local socket or a client \
         certificate, `ldap_sync_dn` with a password. A key of the sync config that is not known is an error. Names of attributes and \
         object classes are the same in upper and lower case.",
    );
    page.paragraph(
        "A file named by `sync_token_file` or `ldap_sync_pw_file` must not be readable for other users; the line break at its end does not \
         count. `%d` at the beginning of a path is the directory of systemd's credentials.",
    );
    page.section("SYNC CONFIG");
    for section in sections(SYNC_EXAMPLE).iter().filter(|section| !section.title.is_empty()) {
        page.subsection(section.title);
        blocks(&mut page, &section.blocks);
    }
    page.section("CLIENT CONFIG");
    page.text(
        "The file belongs to Kanidm, whose other tools read it too; keys that are not listed here are passed over. A table is an instance, \
         for `--instance`: it holds the same keys and takes nothing from those outside.",
    );
    for key in CLIENT_KEYS {
        page.item(&term(key.name)).text(&format!("{}.", key.summary));
    }
    example(&mut page);
    page.section("SEE ALSO").text("`kanidm-ldap-sync`(1), `systemd.exec`(5)");
    page.finish()
}

/// A key that has a comment to itself is described by that; several that share one, by their
/// summaries below it.
fn blocks(page: &mut Page, blocks: &[Block<'_>]) {
    for block in blocks {
        if let ([key], [_, ..], false) =
            (block.keys.as_slice(), block.comment.as_slice(), block.is_table)
        {
            page.item(&term(key));
            comment(page, &block.comment, true);
        } else {
            comment(page, &block.comment, false);
            for key in &block.keys {
                page.item(&term(key)).text(&format!("{}.", table(key).summary));
            }
        }
    }
}

fn comment(page: &mut Page, parts: &[Part<'_>], of_item: bool) {
    for (i, part) in parts.iter().enumerate() {
        match (part, of_item) {
            (Part::Text(text), true) if i == 0 => page.text(text),
            (Part::Text(text), true) => page.item_paragraph(text),
            (Part::Text(text), false) => page.paragraph(text),
            (Part::Lines(lines), true) => page.item_lines(lines),
            (Part::Lines(lines), false) => page.lines(lines),
        };
    }
}

/// The key and its default.
fn term(key: &str) -> String {
    match table(key).default {
        Some(default) => format!("{} (default: {})", bold(key), escaped(default)),
        None => bold(key),
    }
}

/// The table's line about a key. The examples hold no others; a test says so.
fn table(name: &str) -> &'static Key {
    let mut keys = KEYS.iter().chain(ENTRY_KEYS).chain(CLIENT_KEYS);
    keys.find(|key| key.name == name)
        .unwrap_or_else(|| panic!("{name} is a key of an example and of no table"))
}

fn example(page: &mut Page) {
    page.section("EXAMPLES")
        .text(&format!("{DEFAULT_SYNC_CONFIG}:"))
        .lines(&settings_in_force(SYNC_EXAMPLE));
    page.paragraph(&format!("{}:", client::DEFAULT_PATH)).lines(&settings_in_force(CLIENT_EXAMPLE));
}

/// What the example sets, without its comments.
fn settings_in_force(file: &str) -> Vec<&str> {
    file.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect()
}
