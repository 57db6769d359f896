//! A directory of any size that costs next to nothing: entries are copies of one, with other
//! numbers in it, made while they are sent.
//!
//! For seeing how our own cost grows. What a real slapd adds is measured elsewhere.

use uuid::Uuid;

use crate::support::peer::{self, Link, Peer};
use crate::support::pki::Identity;
use crate::support::seed::SUFFIX;

/// In a template: where the number of an entry goes, in seven digits.
const NUMBER: &[u8] = b"0000000";
/// In a template: where the UUID of an entry goes.
const MARK: Uuid = Uuid::from_u128(0x4d41_524b_4d41_524b_4d41_524b_4d41_524b);
/// How many members a group has.
const MEMBERS: u32 = 10;
/// Of the last change.
const CSN: &str = "20260101000000.000000Z#000000#000#000000";
/// Sent at once.
const PIECE: usize = 256 * 1024;

/// A server for one connection, with so many persons, and a group for each hundred of them.
pub fn serve(identity: &Identity, persons: u32) -> Peer {
    Peer::tls(identity, move |link| {
        link.begin(peer::SLAPD);
        let search = link.request();
        assert!(search.is_refresh(), "a refresh");
        send_persons(link, search.id, persons);
        send_groups(link, search.id, persons);
        link.send(peer::sync_done(search.id, Some(&format!("rid=000,csn={CSN}")), true));
        nothing_was_left_out(link);
        link.stay_silent();
    })
}

/// A slapd leaves out what changes meanwhile, and is asked for it: whether the account may see
/// `entryCSN`, and what has a newer one.
fn nothing_was_left_out(link: &mut Link) {
    let base = link.request();
    link.send(
        [peer::entry(base.id, SUFFIX, &[("entryCSN", &[CSN])]), peer::done(base.id, 0, "")]
            .concat(),
    );
    let newer = link.request();
    link.send(peer::done(newer.id, 0, ""));
}

fn send_persons(link: &mut Link, id: u32, persons: u32) {
    let template = Template::of(person(id));
    let mut piece = Vec::with_capacity(PIECE + 4096);
    for number in 1..=persons {
        template.write(number, &mut piece);
        if piece.len() >= PIECE || number == persons {
            link.send(&piece);
            piece.clear();
        }
    }
}

fn send_groups(link: &mut Link, id: u32, persons: u32) {
    let mut piece = Vec::new();
    for number in 1..=persons / 100 {
        let members: Vec<String> =
            (0..MEMBERS).map(|k| person_dn((number * 97 + k * 13) % persons + 1)).collect();
        let members: Vec<&str> = members.iter().map(String::as_str).collect();
        let (name, dn) =
            (format!("team{number:05}"), format!("cn=team{number:05},ou=groups,dc=example,dc=com"));
        let attributes: [(&str, &[&str]); 4] = [
            ("objectClass", &["top", "groupOfNames"]),
            ("cn", &[&name]),
            ("description", &["A team"]),
            ("member", &members),
        ];
        piece.extend(peer::sync_entry(
            id,
            Uuid::from_u128(u128::MAX - u128::from(number)),
            &dn,
            &attributes,
        ));
    }
    link.send(&piece);
}

fn person_dn(number: u32) -> String {
    format!("uid=user{number:07},ou=people,dc=example,dc=com")
}

/// The attributes that are mapped, as a directory of POSIX accounts has them; an Ed25519 key and a
/// salted SHA-512 hash.
fn person(id: u32) -> Vec<u8> {
    let hash = "{SSHA512}UkOx2BxJcmRqKZqNSJXbF8mJVxT8rSmRzzT7nAaRhQ8hY7bH0wS0p3PnXoHkQm4c6rQzHn8kK8nJQwqVt3oYxWxhYnNhbHQw";
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMfbnJ0VkQyXo2WdFYXuzDNQq3XFQqqvDVk3rLFJ0QXl user0000000@example.com";
    let attributes: [(&str, &[&str]); 8] = [
        (
            "objectClass",
            &[
                "top",
                "person",
                "organizationalPerson",
                "inetOrgPerson",
                "posixAccount",
                "ldapPublicKey",
            ],
        ),
        ("uid", &["user0000000"]),
        ("cn", &["Zoë Example 0000000"]),
        ("uidNumber", &["100000000"]),
        ("loginShell", &["/bin/bash"]),
        ("userPassword", &[hash]),
        ("mail", &["user0000000@example.com"]),
        ("sshPublicKey", &[key]),
    ];
    peer::sync_entry(id, MARK, &person_dn(0), &attributes)
}

/// A message with places for a number and a UUID.
struct Template {
    message: Vec<u8>,
    numbers: Vec<usize>,
    uuid: usize,
}

impl Template {
    fn of(message: Vec<u8>) -> Template {
        let places = |what: &[u8]| -> Vec<usize> {
            let all = message.windows(what.len()).enumerate().filter(|(_, window)| *window == what);
            // The zeros of a uidNumber, 100000000, hold the mark twice: they do not overlap when
            // the first counts.
            let mut places: Vec<usize> = all.map(|(at, _)| at).collect();
            places.dedup_by(|later, earlier| *later < *earlier + what.len());
            places
        };
        let (numbers, uuid) = (places(NUMBER), places(MARK.as_bytes())[0]);
        Template { message, numbers, uuid }
    }

    fn write(&self, number: u32, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&self.message);
        let message = &mut out[start..];
        let digits = format!("{number:07}");
        for at in &self.numbers {
            message[*at..*at + NUMBER.len()].copy_from_slice(digits.as_bytes());
        }
        message[self.uuid..self.uuid + 16].copy_from_slice(uuid_of(number).as_bytes());
    }
}

/// As random as an entryUUID, the same on every run: the finaliser of MurmurHash3.
fn uuid_of(number: u32) -> Uuid {
    let mix = |mut x: u64| {
        x = (x ^ (x >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        x = (x ^ (x >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        x ^ (x >> 33)
    };
    let high = mix(u64::from(number));
    uuid::Builder::from_random_bytes(
        u128::from_be_bytes(
            [high.to_be_bytes(), mix(high).to_be_bytes()].concat().try_into().expect("16"),
        )
        .to_be_bytes(),
    )
    .into_uuid()
}
