//! Messages that make no sense where they come, or not at all.

use std::time::Duration;

use crate::bench::{
    Bench, REFRESH, changes, changes_refresh, full, person, prelude, speaking, uuid, with_refresh,
};
use crate::support::peer::{
    done, entry, id_set, message, message_with, notice, number, reference, sync_done, sync_entry,
    tlv, unsolicited,
};

/// What is to come of it.
enum Then {
    /// The run fails with these words, and sends nothing.
    Fails(&'static str),
    /// As if the oddity were not there.
    Correct,
    /// The entry is held, and keeps what Kanidm has of it.
    Held,
}
use Then::{Correct, Fails, Held};

/// A Sync Info message, of this choice.
fn info(choice: u8, content: impl AsRef<[u8]>) -> Vec<u8> {
    message(
        REFRESH,
        tlv(
            0x79,
            [tlv(0x80, "1.3.6.1.4.1.4203.1.9.1.4"), tlv(0x81, tlv(choice, content))].concat(),
        ),
    )
}

const REFRESH_DELETE: u8 = 0xa1;
const REFRESH_PRESENT: u8 = 0xa2;

fn intermediate(content: &[u8]) -> Vec<u8> {
    message(REFRESH, tlv(0x79, content))
}

/// A message of the refresh with more controls.
fn with_controls(whole: &[u8], controls: &[Vec<u8>]) -> Vec<u8> {
    // The list of controls is the last element of a message; both lengths are of four octets, or
    // the message is short.
    let at = whole.windows(2).rposition(|pair| pair[0] == 0xa0).unwrap();
    let header = if whole[at + 1] == 0x84 { 6 } else { 2 };
    let start = if whole[1] == 0x84 { 6 } else { 2 };
    let list = [&whole[at + header..], &controls.concat()].concat();
    tlv(0x30, [&whole[start..at], &tlv(0xa0, list)].concat())
}

fn control(oid: &str, critical: Option<u8>, value: &str) -> Vec<u8> {
    let critical = critical.map(|octet| tlv(1, [octet])).unwrap_or_default();
    tlv(0x30, [tlv(4, oid), critical, tlv(4, value)].concat())
}

/// So many elements within each other.
fn nested(tag: u8, depth: usize) -> Vec<u8> {
    // Built from within, the lengths in four octets.
    let mut reversed = Vec::with_capacity(depth * 6);
    for length in (0..depth).map(|level| level * 6) {
        reversed.extend(u32::try_from(length).unwrap().to_le_bytes());
        reversed.extend([0x84, tag]);
    }
    reversed.reverse();
    reversed
}

/// Of what `changes` has for a refresh: the deletion of 3, the change of 2, the end.
fn oddities() -> Vec<(&'static str, Vec<Vec<u8>>, Then)> {
    let [gone, changed, end]: [Vec<u8>; 3] = changes_refresh().try_into().unwrap();
    let around = |odd: Vec<u8>| vec![gone.clone(), odd, changed.clone(), end.clone()];
    let controlled =
        |controls: &[Vec<u8>]| vec![gone.clone(), with_controls(&changed, controls), end.clone()];
    let unknown = |critical| control("1.2.3.4.5", critical, "x");
    let many = |count: usize| vec![unknown(None); count];
    let no_control = done(REFRESH, 0, "");
    let referral = tlv(0xa3, tlv(4, "ldap://elsewhere.example/dc=example"));
    let moved = message(
        REFRESH,
        tlv(0x65, [number(10, 10), tlv(4, ""), tlv(4, "not here"), referral].concat()),
    );
    vec![
        ("nothing odd", changes_refresh(), Correct),
        // Message IDs.
        ("another ID on an entry", around(person(77, 9, "x")), Fails("message ID 77")),
        ("ID 0 on an entry", around(person(0, 9, "x")), Fails("message ID 0")),
        ("the bind's ID on an entry", around(person(2, 9, "x")), Fails("message ID 2")),
        ("the ID of a request to come", around(person(REFRESH + 1, 9, "x")), Fails("message ID 5")),
        (
            "another ID on the end",
            vec![changed.clone(), sync_done(77, Some("c"), true)],
            Fails("message ID 77"),
        ),
        (
            "an ID beyond maxInt",
            vec![message_with(u32::MAX, tlv(0x65, []), "1.2", vec![])],
            Fails("messageID"),
        ),
        // Unsolicited notifications.
        ("10,000 notifications", around(unsolicited("1.2.3", 0, "hello").repeat(10_000)), Correct),
        (
            "a notification that is none",
            around(message(0, tlv(0x78, [number(10, 0), tlv(4, ""), tlv(4, "")].concat()))),
            Correct,
        ),
        ("the notice of disconnection", around(notice(52, "good night")), Fails("good night")),
        // Intermediate responses.
        (
            "one that nobody knows",
            around(intermediate(&[tlv(0x80, "1.2.3"), tlv(0x81, "x")].concat())),
            Correct,
        ),
        ("one without a name", around(intermediate(&tlv(0x81, "x"))), Correct),
        ("an empty one", around(intermediate(&[])), Correct),
        (
            "a Sync Info without a value",
            around(intermediate(&tlv(0x80, "1.3.6.1.4.1.4203.1.9.1.4"))),
            Fails("syncInfoValue"),
        ),
        ("a Sync Info of another kind", around(info(0xa7, [])), Fails("syncInfoValue")),
        ("a new cookie in the middle", around(info(0x80, "rid=000,csn=1.5")), Correct),
        (
            "the end of the delete phase after it",
            vec![gone.clone(), changed.clone(), info(REFRESH_DELETE, []), end.clone()],
            Correct,
        ),
        (
            "the end of the present phase in the delete phase",
            around(info(REFRESH_PRESENT, [])),
            Fails("out of order"),
        ),
        (
            "the present phase after the delete phase",
            around([info(REFRESH_DELETE, []), info(REFRESH_PRESENT, [])].concat()),
            Fails("out of order"),
        ),
        (
            "two ends of the present phase",
            vec![info(REFRESH_PRESENT, []).repeat(2), end.clone()],
            Fails("out of order"),
        ),
        (
            "present UUIDs in the delete phase",
            around(id_set(REFRESH, false, &[uuid(1), uuid(8)])),
            Correct,
        ),
        // The end.
        (
            "the end without its control",
            vec![gone.clone(), changed.clone(), no_control.clone()],
            Fails("Sync Done"),
        ),
        (
            "the end twice",
            vec![gone.clone(), changed.clone(), end.repeat(2)],
            Fails("message ID 4"),
        ),
        (
            "an entry after the end",
            vec![gone.clone(), changed.clone(), end.clone(), person(REFRESH, 9, "x")],
            Fails("message ID 4"),
        ),
        (
            "a deletion after the end",
            vec![gone.clone(), changed.clone(), end.clone(), id_set(REFRESH, true, &[uuid(1)])],
            Fails("message ID 4"),
        ),
        (
            "the end first",
            vec![no_control, gone.clone(), changed.clone(), end.clone()],
            Fails("Sync Done"),
        ),
        // Controls. On a response criticality means nothing (RFC 4511 §4.1.11).
        ("an unknown control", controlled(&[unknown(None)]), Correct),
        ("an unknown critical control", controlled(&[unknown(Some(0xff))]), Correct),
        (
            "an unknown critical control on the end",
            vec![gone.clone(), changed.clone(), with_controls(&end, &[unknown(Some(0xff))])],
            Correct,
        ),
        (
            "criticality that is no BOOLEAN",
            controlled(&[unknown(Some(7))]),
            Fails("Control.criticality"),
        ),
        ("31 more controls", controlled(&many(31)), Correct),
        ("32 more controls", controlled(&many(32)), Fails("more than 32")),
        (
            "the end's control twice",
            vec![
                changed.clone(),
                with_controls(&end, &[control("1.3.6.1.4.1.4203.1.9.1.3", None, "\x30\x00")]),
            ],
            Fails("more than one Sync Done control"),
        ),
        (
            "an entry without its control",
            around(entry(REFRESH, "uid=x,dc=example", &[])),
            Fails("Sync State"),
        ),
        // Referrals: never followed.
        (
            "a thousand references",
            around(reference(REFRESH, "ldap://elsewhere.example/dc=example").repeat(1_000)),
            Correct,
        ),
        ("a reference to nowhere", around(reference(REFRESH, "\u{1}not a URI")), Correct),
        (
            "a referral",
            vec![gone.clone(), changed.clone(), moved],
            Fails("set ldap_uri to the one that does"),
        ),
        // Contradictions.
        ("the same entry twice", around(person(REFRESH, 2, "An older name")), Held),
        (
            "deleted, and there",
            vec![id_set(REFRESH, true, &[uuid(2)]), gone.clone(), changed.clone(), end.clone()],
            Correct,
        ),
        (
            "there, and deleted in the phase behind the present one",
            vec![
                person(REFRESH, 9, "x"),
                id_set(REFRESH, false, &[uuid(1)]),
                changed.clone(),
                info(REFRESH_PRESENT, []),
                id_set(REFRESH, true, &[uuid(9)]),
                end.clone(),
            ],
            Correct,
        ),
        // Nesting.
        (
            "a message of sequences in sequences",
            around(nested(0x30, 100_000)),
            Fails("LDAPMessage"),
        ),
        (
            "an entry of sequences in sequences",
            around(message(REFRESH, tlv(0x64, nested(0x30, 100_000)))),
            Fails("SearchResultEntry"),
        ),
        (
            "controls of sequences in sequences",
            around(tlv(
                0x30,
                [number(2, REFRESH), tlv(0x65, []), tlv(0xa0, nested(0x30, 100_000))].concat(),
            )),
            Fails("at byte"),
        ),
        (
            "a Sync Info of sets in sets",
            around(info(0xa3, nested(0x31, 100_000))),
            Fails("syncInfoValue"),
        ),
        // Not LDAP.
        (
            "an indefinite length",
            around(vec![0x30, 0x80, 2, 1, 4, 0, 0]),
            Fails("indefinite length"),
        ),
        ("a length of 126 octets", around(vec![0x30, 0xfe, 0, 0, 0]), Fails("126 octets")),
        ("nothing but zeros", around(vec![0; 64]), Fails("LDAPMessage")),
        ("a request", around(message(REFRESH, tlv(0x42, []))), Fails("unbindRequest")),
    ]
}

#[test]
fn odd_messages_are_refused_or_do_not_matter() {
    for (what, refresh, then) in oddities() {
        let mut bench = Bench::new();
        let result = bench.run(false, speaking(with_refresh(refresh)));
        match then {
            Correct => bench.assert_correct(what, &result),
            Fails(words) => bench.assert_failed(what, &result, &[words]),
            Held => {
                let report = result.unwrap_or_else(|error| panic!("{what}: {error}")).report;
                assert_eq!(
                    report.held.iter().map(|held| held.uuid).collect::<Vec<_>>(),
                    [uuid(2)],
                    "{what}"
                );
                assert_eq!(
                    bench.content(),
                    [(uuid(1), "Some One".to_owned()), (uuid(2), "Some One".to_owned())].into(),
                    "{what}"
                );
                let result = bench.run(true, speaking(full()));
                bench.assert_correct(what, &result);
            }
        }
    }
}

/// After everything was read nobody waits for anything any more.
#[test]
fn what_comes_after_the_last_answer_is_not_read() {
    for (what, odd) in [
        ("the end twice", sync_done(REFRESH, Some("x"), false)),
        ("an entry", person(REFRESH, 9, "x")),
        ("noise", vec![0xff; 99]),
    ] {
        let mut conversation = full();
        conversation.last_mut().unwrap().push(odd);
        let mut bench = Bench::new();
        let result = bench.run(true, speaking(conversation));
        bench.assert_correct(what, &result);
    }
}

/// The first two answers, spoilt: nothing has been synchronised yet, and nothing is.
#[test]
fn odd_answers_before_the_refresh_end_the_run() {
    for (turn, what, odd, words) in [
        (0, "an entry for a bind", person(2, 1, "x"), "during the bind"),
        (0, "an intermediate response for a bind", intermediate(&[]), "during the bind"),
        (0, "the end of a search for a bind", done(2, 0, ""), "during the bind"),
        (
            1,
            "a bind for a search",
            message(3, tlv(0x61, [number(10, 0), tlv(4, ""), tlv(4, "")].concat())),
            "the root DSE",
        ),
        (
            1,
            "the refresh before it was asked for",
            sync_entry(REFRESH, uuid(1), "uid=user1,dc=example", &[]),
            "the root DSE",
        ),
    ] {
        let mut conversation = changes();
        conversation[turn] = vec![odd];
        let mut bench = Bench::new();
        bench.timeout = Duration::from_secs(5);
        let result = bench.run(false, speaking(conversation));
        bench.assert_failed(what, &result, &[words]);
    }
}

/// A group that is not part of what is present comes back into the content between the refresh and
/// the search for the groups that name who has changed.
#[test]
fn what_is_read_beside_a_refresh_is_present() {
    const TEAM: [(&str, &[&str]); 3] = [
        ("objectClass", &["groupOfNames"]),
        ("cn", &["team"]),
        ("member", &["uid=user2,dc=example"]),
    ];
    let mut bench = Bench::new();
    let team = sync_entry(REFRESH, uuid(9), "cn=team,dc=example", &TEAM);
    let persons = (1..=3).map(|number| person(REFRESH, number, "Some One"));
    let refresh = persons.chain([team, sync_done(REFRESH, Some("rid=000,csn=2"), true)]).collect();
    bench.run(true, speaking([prelude(), vec![refresh]].concat())).unwrap();
    assert!(bench.model.entries.contains_key(&uuid(9)));
    bench.forget_roster();

    let present = id_set(REFRESH, false, &[uuid(1), uuid(2), uuid(3)]);
    let refresh = vec![
        present,
        person(REFRESH, 2, "Two again"),
        sync_done(REFRESH, Some("rid=000,csn=3"), false),
    ];
    let id = uuid(9).to_string();
    let id: &[&str] = &[&id];
    let team = [&TEAM[..], &[("entryUUID", id)]].concat();
    let beside = vec![entry(REFRESH + 1, "cn=team,dc=example", &team), done(REFRESH + 1, 0, "")];
    bench.run(false, speaking([prelude(), vec![refresh, beside]].concat())).unwrap();
    assert_eq!(bench.content().get(&uuid(2)).map(String::as_str), Some("Two again"));
    assert!(
        bench.model.entries.contains_key(&uuid(9)) && bench.model.deleted.is_empty(),
        "{:?}",
        bench.model.deleted
    );
}

/// Kanidm refuses the person until the UUID is free again, and takes it as a new one then: without
/// the memberships, unless the groups are sent again.
#[test]
fn somebody_who_was_deleted_in_kanidm_counts_as_new() {
    let mut bench = Bench::new();
    let persons = (1..=3).map(|number| person(REFRESH, number, "Some One"));
    let refresh = persons.chain([sync_done(REFRESH, Some("rid=000,csn=2"), true)]).collect();
    bench.run(true, speaking([prelude(), vec![refresh]].concat())).unwrap();
    assert_eq!(bench.envelope().roster.map(|roster| roster.len()), Some(3));

    let deleted = bench.model.entries.remove(&uuid(2)).unwrap();
    bench.model.recycled.insert(uuid(2), deleted);
    let refresh = vec![
        person(REFRESH, 1, "One again"),
        person(REFRESH, 2, "Two again"),
        sync_done(REFRESH, Some("rid=000,csn=3"), true),
    ];
    let report = bench.run(false, speaking([prelude(), vec![refresh]].concat())).unwrap().report;
    assert_eq!(report.held.iter().map(|held| held.uuid).collect::<Vec<_>>(), [uuid(2)]);
    assert_eq!(bench.envelope().roster.map(|roster| roster.len()), Some(2));
}

/// The directory is asked whether it hides a token when the run has read all persons. Somebody who
/// has gone, or got a token, by then hides none.
#[test]
fn a_person_that_changes_during_the_run_hides_no_token() {
    let id = |number: u128| uuid(number).to_string();
    let found = |message: u32, number: u128, token: Option<&str>| {
        let id = id(number);
        let (ids, tokens) = ([id.as_str()], token.map(|token| [token]));
        let mut attributes: Vec<(&str, &[&str])> = vec![("entryUUID", &ids)];
        attributes.extend(tokens.as_ref().map(|tokens| ("oathTOTPToken", &tokens[..])));
        entry(message, &format!("uid=user{number},dc=example"), &attributes)
    };
    let persons = (1..=3).map(|number| person(REFRESH, number, "Some One"));
    let refresh: Vec<Vec<u8>> =
        persons.chain([sync_done(REFRESH, Some("rid=000,csn=2"), true)]).collect();
    let without = vec![found(5, 1, None), found(5, 3, None), done(5, 0, "")];
    for (what, again, is_refused) in [
        ("gone", vec![vec![done(6, 0, "")]], false),
        ("with a token", vec![vec![found(6, 2, Some("cn=t,dc=x")), done(6, 0, "")]], false),
        (
            "confirmed now",
            vec![vec![found(6, 2, None), done(6, 0, "")], vec![found(7, 2, None), done(7, 0, "")]],
            false,
        ),
        (
            "hidden", // The last answer: where the schema is, nobody may know.
            vec![
                vec![found(6, 2, None), done(6, 0, "")],
                vec![done(7, 0, "")],
                vec![done(8, 0, "")],
            ],
            true,
        ),
    ] {
        let mut bench = Bench::new();
        bench.tokens = true;
        let conversation = [prelude(), vec![refresh.clone(), without.clone()], again].concat();
        let result = bench.run(true, speaking(conversation));
        match result {
            Ok(_) => assert!(!is_refused, "{what}"),
            Err(error) => {
                let says = error.to_string().contains("oathTOTPToken of 1 person is hidden");
                assert!(is_refused && says, "{what}: {error}");
            }
        }
    }
}
