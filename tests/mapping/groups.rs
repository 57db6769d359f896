//! Groups: members, user-private groups, look-ups of an incremental run.

use kanidm_ldap_sync::config::sync::{EntryConfig, InvalidEntries, MappingConfig};
use kanidm_ldap_sync::mapping::{Changed, Content, Mapper, Questions, SkipReason};
use serde_json::Value;
use uuid::Uuid;

use crate::samples::*;

fn dn(name: &str) -> String {
    format!("uid={name},ou=people,dc=example,dc=com")
}

#[test]
fn members_are_sent_as_their_entries_are_spelled() {
    let mut special = person(3, "zoe");
    special.dn = "cn=R\\2BD Lead,ou=people,dc=example,dc=com".to_string();
    let mut umlaut = person(4, "juergen");
    umlaut.dn = "cn=Jürgen Müller,ou=people,dc=example,dc=com".to_string();
    let mut multi = person(5, "multi");
    multi.dn = "cn=Multi Rdn+uid=multirdn,ou=people,dc=example,dc=com".to_string();
    let team = group(1, "team")
        .with("member", "UID=Alice, OU=People, DC=example , dc=com")
        .with("member", "cn=r\\+d lead,ou=people,dc=example,dc=com")
        .with("member", "cn=J\\C3\\BCrgen  Müller;ou=people;dc=example;dc=com")
        .with("member", "UID=multirdn+cn=multi rdn,ou=people,dc=example,dc=com");
    let content =
        map(&config(), &[team, person(2, "alice"), special.clone(), umlaut.clone(), multi.clone()]);
    let mut expected = [dn("alice"), special.dn, umlaut.dn, multi.dn];
    expected.sort();
    assert_eq!(members(&content, "team"), expected);
    assert_eq!(content.members_out_of_scope, 0);
}

#[test]
fn a_member_is_sent_once_however_often_it_is_spelled() {
    let team = group(1, "team")
        .with("member", dn("alice"))
        .with("member", "UID=alice, OU=people, dc=example, dc=com")
        .with("member", "uid=ALICE,ou=people,dc=example,dc=com");
    assert_eq!(members(&map(&config(), &[team, person(2, "alice")]), "team"), [dn("alice")]);
}

#[test]
fn a_group_without_members_has_no_member_list() {
    let content = map(
        &config(),
        &[
            group(1, "empty"),
            group(2, "blank").with("member", ""),
            group(3, "gone").with("member", dn("nobody")),
        ],
    );
    for name in ["empty", "blank", "gone"] {
        assert_eq!(named(&content, name)["member"], Value::Null, "{name}");
    }
    assert_eq!(content.members_out_of_scope, 1);
    assert_eq!(content.out_of_scope.len(), 1);
    assert_eq!(
        (content.out_of_scope[0].group.as_str(), content.out_of_scope[0].member.clone()),
        ("cn=gone,ou=groups,dc=example,dc=com", dn("nobody"))
    );
}

#[test]
fn groups_may_be_nested_in_themselves_and_each_other() {
    let name = |name: &str| format!("cn={name},ou=groups,dc=example,dc=com");
    let content = map(
        &config(),
        &[
            group(1, "outer").with("member", name("inner")).with("member", name("outer")),
            group(2, "inner").with("member", name("outer")).with("member", dn("alice")),
            person(3, "alice"),
        ],
    );
    assert_eq!(members(&content, "outer"), [name("inner"), name("outer")]);
    assert_eq!(members(&content, "inner"), [name("outer"), dn("alice")]);
}

#[test]
fn what_is_no_dn_is_out_of_scope() {
    let team = group(1, "team")
        .with("member", "alice")
        .with("member", b"\xff")
        .with("member", "uid=alice,,");
    let content = map(&config(), &[team, person(2, "alice")]);
    assert_eq!((content.members_out_of_scope, members(&content, "team").len()), (3, 0));
}

#[test]
fn unique_member_may_have_a_bit_string_behind_the_dn() {
    let team = group(1, "team").with("member", format!("{}#'0101'B", dn("alice")));
    assert_eq!(members(&map(&config(), &[team, person(2, "alice")]), "team"), [dn("alice")]);
}

#[test]
fn held_members_are_sent_and_skipped_ones_are_not() {
    let team = group(1, "team")
        .with("member", dn("held"))
        .with("member", "ou=unit,dc=x")
        .with("member", "cn=refused,ou=groups,dc=example,dc=com");
    let unit = TestEntry::new(4, "ou=unit,dc=x").with("objectClass", "organizationalUnit");
    for full in [true, false] {
        let cfg = config();
        let mut mapper = Mapper::new(&cfg, full);
        let entries = [
            team.clone(),
            person(2, "held").with("mail", "bad mail"),
            group(3, "refused").with("description", "a\0b"),
            unit.clone(),
        ];
        entries.iter().for_each(|entry| feed(&mut mapper, entry));
        let content = mapper.finish();
        assert_eq!(
            members(&content, "team"),
            ["cn=refused,ou=groups,dc=example,dc=com".to_string(), dn("held")]
        );
        assert_eq!((content.held.len(), content.members_out_of_scope), (2, 1));
    }
}

#[test]
fn member_uids_are_user_names() {
    let mut cfg = rfc2307();
    cfg.entries.insert(
        Uuid::from_u128(3),
        EntryConfig { map_name: Some("robert".to_string()), ..Default::default() },
    );
    let group = TestEntry::new(1, "cn=posix,ou=groups,dc=example,dc=com")
        .with("objectClass", "posixGroup")
        .with("cn", "Posix")
        .with("gidNumber", "5000")
        .with("description", "Équipe");
    let group = ["ALICE", "alice", "bob", "robert", "nobody", "zoë"]
        .into_iter()
        .fold(group, |group, uid| group.with("memberUid", uid));
    let content = map(&cfg, &[group, person(2, "Alice"), person(3, "bob"), person(4, "zoë")]);
    // "robert" is what bob is called in Kanidm, not in the directory; zoë is held for her name.
    assert_eq!(members(&content, "posix"), [dn("Alice"), dn("bob"), dn("zoë")]);
    assert_eq!(content.members_out_of_scope, 2);
    let posix = named(&content, "posix");
    assert_eq!(
        (
            posix["gidnumber"].as_u64(),
            posix["description"].as_str(),
            posix["schemas"].as_array().unwrap().len()
        ),
        (Some(5000), Some("Équipe"), 2)
    );
}

/// A run that has only what changed.
fn incremental(
    cfg: &MappingConfig,
    received: &[TestEntry],
    known: &[TestEntry],
) -> (Questions, Content) {
    let mut mapper = Mapper::new(cfg, false);
    received.iter().for_each(|entry| feed(&mut mapper, entry));
    let questions = mapper.questions();
    known.iter().for_each(|entry| answer(cfg, &mut mapper, entry));
    (questions, mapper.finish())
}

#[test]
fn an_incremental_run_asks_for_every_member_that_it_has_not_received() {
    let odd = "UID=bob, OU=people, dc=example, dc=com";
    let gone = "UID=gone, dc=example";
    let team = group(1, "team")
        .with("member", dn("alice"))
        .with("member", dn("carol"))
        .with("member", odd)
        .with("member", gone);
    let other = group(2, "other").with("member", odd.to_lowercase()).with("member", dn("carol"));
    let (questions, content) = incremental(
        &config(),
        &[team.clone(), other, person(3, "alice")],
        &[person(4, "bob"), person(9, "unasked")],
    );
    assert_eq!(questions.member_dns, [dn("carol").as_str(), odd, gone]);
    assert_eq!((questions.member_uids.len(), questions.private_group_names.len()), (0, 0));
    // carol is spelled as a server spells her, but nobody has that DN: Kanidm may know another
    // entry by it still.
    assert_eq!(members(&content, "team"), [dn("alice"), dn("bob")]);
    assert_eq!(members(&content, "other"), [dn("bob")]);
    assert_eq!((content.persons, content.groups, content.members_out_of_scope), (1, 2, 3));

    let cfg = config();
    let mut mapper = Mapper::new(&cfg, true);
    feed(&mut mapper, &team);
    assert!(mapper.questions().is_empty());
    assert_eq!(mapper.finish().members_out_of_scope, 4);
}

#[test]
fn an_incremental_run_asks_for_user_names() {
    let posix = group(1, "posix")
        .with("memberUid", "Alice")
        .with("memberUid", "BOB")
        .with("memberUid", "gone")
        .with("memberUid", "bob");
    let (questions, content) =
        incremental(&rfc2307(), &[posix, person(2, "alice")], &[person(3, "Bob")]);
    assert_eq!(
        questions,
        Questions {
            member_uids: vec!["bob".to_string(), "gone".to_string()],
            ..Questions::default()
        }
    );
    assert_eq!(members(&content, "posix"), [dn("Bob"), dn("alice")]);
    assert_eq!(content.members_out_of_scope, 1);
}

#[test]
fn answers_that_are_excluded_or_not_mapped_are_out_of_scope() {
    let cfg = with_table(2, EntryConfig { exclude: true, ..Default::default() });
    let team = group(1, "team")
        .with("member", "uid=bob, dc=x")
        .with("member", "ou=unit, dc=x")
        .with("member", "cn=known, dc=x");
    let at = |dn: &str, entry: TestEntry| TestEntry { dn: dn.to_string(), ..entry };
    let unit = TestEntry::new(3, "ou=unit,dc=x").with("objectClass", "organizationalUnit");
    let (_, content) = incremental(
        &cfg,
        &[team],
        &[at("uid=bob,dc=x", person(2, "bob")), unit, at("cn=known,dc=x", group(4, "known"))],
    );
    assert_eq!(
        (members(&content, "team"), content.members_out_of_scope),
        (vec!["cn=known,dc=x".to_string()], 2)
    );
}

#[test]
fn changed_entries_are_named_as_groups_name_them() {
    let cfg = with_table(1, EntryConfig { map_name: Some("al".to_string()), ..Default::default() });
    let mut mapper = Mapper::new(&cfg, false);
    for entry in [
        person(1, "Alice").with("uidNumber", "20000"),
        person(2, "held").with("mail", "bad mail"),
        group(3, "team").with("gidNumber", "5000"),
        person(4, "Bob"),
    ] {
        feed(&mut mapper, &entry);
    }
    answer(&cfg, &mut mapper, &person(5, "known"));
    let changed: Vec<Changed> = mapper.changed(false).collect();
    let changed: Vec<(&str, Vec<&str>)> = changed
        .iter()
        .map(|entry| {
            (entry.dn.as_str(), entry.user_names.iter().map(String::as_str).collect::<Vec<_>>())
        })
        .collect();
    let (alice, bob) = (dn("Alice"), dn("Bob"));
    let team = "cn=team,ou=groups,dc=example,dc=com";
    assert_eq!(changed, [(&*alice, vec!["alice"]), (team, vec![]), (&*bob, vec!["bob"])]);
}

/// The run sends the group without the member. A later run must read the group for the entry.
#[test]
fn a_member_that_does_not_resolve_is_remembered_by_the_name_of_its_entry() {
    let renamed =
        with_table(1, EntryConfig { map_name: Some("al".to_string()), ..Default::default() });
    let uid = {
        let mut cfg = rfc2307();
        cfg.entries = renamed.entries.clone();
        cfg
    };
    for (cfg, member, own) in [
        (&renamed, "member", " UID=Alice , ou=PEOPLE,dc=example,dc=com".to_owned()),
        (&uid, "memberuid", " ALICE ".to_owned()),
    ] {
        for full in [true, false] {
            let mut mapper = Mapper::new(cfg, full);
            let strange = if member == "member" { dn("strange") } else { "strange".to_owned() };
            feed(&mut mapper, &group(3, "team").with(member, &own).with(member, strange));
            let content = mapper.finish();
            assert_eq!((content.missed.len(), content.members_out_of_scope), (2, 2));
            let is_missed = |entry: TestEntry| {
                let mut mapper = Mapper::new(cfg, false);
                feed(&mut mapper, &entry);
                let changed = mapper.changed(false).next().unwrap();
                changed.hashes.iter().any(|hash| content.missed.contains(hash))
            };
            assert!(is_missed(person(1, "alice")) && !is_missed(person(2, "bob")));
            let several = person(2, "bob").with("uid", "alice");
            assert_eq!(is_missed(several), member == "memberuid");
        }
    }
    let mut mapper = Mapper::new(&renamed, true);
    feed(&mut mapper, &person(1, "alice"));
    feed(&mut mapper, &group(3, "team").with("member", dn("alice")));
    assert!(mapper.finish().missed.is_empty());
}

/// A change of any other value leaves the mark as it is, in an increment and in a full refresh.
#[test]
fn a_mark_tells_whether_groups_may_name_an_entry_otherwise() {
    let cfg = config();
    let mark = |entry: &TestEntry| {
        let mut mapper = Mapper::new(&cfg, false);
        feed(&mut mapper, entry);
        let mark = mapper.changed(false).next().unwrap().names.unwrap();
        let content = map(&cfg, std::slice::from_ref(entry));
        assert_eq!(content.changes.records()[0].names, mark);
        mark
    };
    let alice = || person(1, "alice").with("uidNumber", "20000");
    let team = || group(3, "team").with("gidNumber", "5000");
    assert_eq!(mark(&alice()), mark(&alice().with("mail", "a@example.com")));
    assert_eq!(mark(&team()), mark(&team().with("description", "all")));
    let others = [alice(), person(1, "alicia"), alice().with("uid", "alicia"), team()];
    let marks: std::collections::HashSet<u16> = others.iter().map(mark).collect();
    assert_eq!(marks.len(), others.len());
}

/// A user-private group as useradd makes it, and its user.
fn alice_and_hers() -> [TestEntry; 2] {
    [
        person(1, "alice").with("uidNumber", "20000"),
        group(2, "Alice").with("gidNumber", "20000").with("member", dn("alice")),
    ]
}

#[test]
fn user_private_groups_are_skipped_in_any_order() {
    let [alice, hers] = alice_and_hers();
    let by_name = hers.clone().without("gidNumber").without("member");
    let other_number = hers.clone().set("gidNumber", "30000");
    let held = alice.clone().with("mail", "bad mail");
    for (person, group) in
        [(&alice, &hers), (&alice, &by_name), (&alice, &other_number), (&held, &hers)]
    {
        for entries in [[person.clone(), group.clone()], [group.clone(), person.clone()]] {
            let content = map(&config(), &entries);
            assert_eq!(
                content
                    .skipped
                    .iter()
                    .map(|skipped| (skipped.sync_uuid.as_u128(), skipped.reason))
                    .collect::<Vec<_>>(),
                [(2, SkipReason::UserPrivateGroup)]
            );
            assert_eq!((content.groups, content.persons + content.held.len()), (0, 1));
        }
    }
}

#[test]
fn a_group_of_somebody_else_is_not_private() {
    let [alice, hers] = alice_and_hers();
    // Own name and number: sent. Alice's: she keeps them.
    for (group, attribute) in [
        (hers.clone().with("member", dn("bob")), Some("cn")),
        (group(2, "team").with("member", dn("alice")), None),
    ] {
        let content = map(&config(), &[group, alice.clone(), person(3, "bob")]);
        assert!(content.skipped.is_empty());
        match attribute {
            None => assert_eq!(content.groups, 1),
            Some(attribute) => {
                assert_eq!(problems(&content)[0].0, attribute);
                assert!(problems(&content).iter().all(|(_, rule)| rule.contains(&dn("alice"))));
                assert_eq!(content.persons, 2);
            }
        }
    }
}

/// A number that coincides says nothing: the group would be deleted.
#[test]
fn a_group_with_a_persons_number_and_another_name_is_sent_without_the_number() {
    let [alice, hers] = alice_and_hers();
    let staff =
        TestEntry { dn: "cn=staff,dc=x".to_string(), ..hers }.set("cn", "staff").without("member");
    for policy in [InvalidEntries::DropValue, InvalidEntries::Hold] {
        let cfg = MappingConfig { invalid_entries: policy, ..config() };
        for entries in [[alice.clone(), staff.clone()], [staff.clone(), alice.clone()]] {
            let content = map(&cfg, &entries);
            assert_eq!((content.skipped.len(), content.persons), (0, 1));
            let named = match policy {
                InvalidEntries::DropValue => {
                    content.dropped.iter().map(|d| (d.attribute.clone(), d.rule.clone())).collect()
                }
                _ => problems(&content),
            };
            assert_eq!(named.len(), 1, "{named:?}");
            assert!(named[0].0 == "gidnumber" && named[0].1.contains(&dn("alice")), "{named:?}");
            assert_eq!(content.groups, usize::from(policy == InvalidEntries::DropValue));
        }
    }
}

#[test]
fn a_private_group_is_nobodys_member() {
    let [alice, hers] = alice_and_hers();
    let team = group(3, "team").with("member", &hers.dn).with("member", &alice.dn);
    for entries in [[team.clone(), alice.clone(), hers.clone()], [hers, alice.clone(), team]] {
        let content = map(&config(), &entries);
        assert_eq!(
            (members(&content, "team"), content.members_out_of_scope),
            (vec![alice.dn.clone()], 1)
        );
    }
}

#[test]
fn sync_sends_private_groups_unless_they_collide() {
    let mut cfg = config();
    cfg.group.send_user_private = true;
    let [alice, hers] = alice_and_hers();
    let content = map(&cfg, &[hers, alice, person(3, "bob")]);
    assert!(content.skipped.is_empty());
    assert_eq!(
        problems(&content).iter().map(|(at, _)| at.as_str()).collect::<Vec<_>>(),
        ["cn", "gidnumber"]
    );
}

#[test]
fn an_incremental_run_asks_whose_a_group_may_be() {
    let [alice, hers] = alice_and_hers();
    let many =
        group(3, "team").with("gidNumber", "5000").with("member", dn("a")).with("member", dn("b"));
    let empty = group(4, "empty");
    let ask = |cfg: &MappingConfig, received: &[TestEntry]| incremental(cfg, received, &[]).0;
    let questions = ask(&config(), &[hers.clone(), many, empty]);
    assert_eq!(questions.private_group_names, ["alice", "empty"]);
    // Nothing is left to ask when she is there, or when private groups are sent.
    assert!(ask(&config(), &[hers.clone(), alice.clone()]).is_empty());
    let mut sync = config();
    sync.group.send_user_private = true;
    assert!(ask(&sync, std::slice::from_ref(&hers)).private_group_names.is_empty());

    let (_, content) = incremental(&config(), std::slice::from_ref(&hers), &[alice]);
    assert_eq!((content.skipped.len(), content.groups), (1, 0));
    let (_, content) = incremental(&config(), &[hers], &[]);
    assert_eq!((content.skipped.len(), content.groups), (0, 1));
}

#[test]
fn what_is_known_conflicts_with_nothing() {
    let received = person(1, "alice").with("uidNumber", "20000").with("mail", "a@x");
    let known = TestEntry { dn: "uid=alice,ou=old,dc=x".to_string(), ..person(2, "alice") }
        .with("uidNumber", "20000")
        .with("mail", "a@x");
    let team = group(3, "alice2").with("member", "uid=alice, ou=old, dc=x");
    let cfg = config();
    let mut mapper = Mapper::new(&cfg, false);
    answer(&cfg, &mut mapper, &known);
    feed(&mut mapper, &received);
    feed(&mut mapper, &team);
    let content = mapper.finish();
    assert_eq!(
        (content.persons, content.held.len(), members(&content, "alice2")),
        (1, 0, vec![known.dn])
    );
}

#[test]
fn an_answer_that_is_received_after_all_is_sent() {
    let cfg = config();
    let mut mapper = Mapper::new(&cfg, false);
    let inner = group(1, "inner").with("member", dn("bob"));
    answer(&cfg, &mut mapper, &inner);
    assert!(!mapper.contains(&inner.uuid));
    feed(&mut mapper, &inner);
    feed(&mut mapper, &group(2, "outer").with("member", inner.dn.to_uppercase()));
    assert!(mapper.contains(&inner.uuid));
    answer(&cfg, &mut mapper, &inner);
    let content = mapper.finish();
    assert_eq!((content.groups, members(&content, "outer")), (2, vec![inner.dn]));
}

/// A directory with everything that could depend on order, without conflicts (of those the first
/// wins).
fn directory() -> Vec<TestEntry> {
    let mut entries: Vec<TestEntry> = (0..20)
        .map(|n| person(n, &format!("user{n}")).with("uidNumber", (20000 + n).to_string()))
        .collect();
    for n in 0..12_u128 {
        let mut group = group(100 + n, &format!("group{n}"));
        for m in 0..n {
            let member = match m % 4 {
                0 => dn(&format!("user{}", (n * m) % 20)),
                1 => format!("UID=User{}, OU=People, DC=example, dc=com", (n + m) % 20),
                2 => format!("cn=group{},ou=groups,dc=example,dc=com", (n * m) % 12),
                _ => dn(&format!("gone{m}")),
            };
            group = group.with("member", member);
        }
        entries.push(group);
    }
    for n in 0..5_u128 {
        entries.push(group(200 + n, &format!("user{n}")).with("member", dn(&format!("user{n}"))));
        entries.push(person(300 + n, &format!("held{n}")).with("mail", "bad mail"));
        entries.push(
            group(400 + n, &format!("mixed{n}"))
                .with("member", dn(&format!("held{n}")))
                .with("member", format!("cn=user{n},ou=groups,dc=example,dc=com")),
        );
    }
    entries
}

#[test]
fn the_order_of_entries_does_not_matter() {
    let summary = |content: &Content| {
        let mut sent: Vec<(String, Vec<String>)> = sent(content)
            .iter()
            .map(|entry| (entry["name"].to_string(), members_of(entry)))
            .collect();
        sent.sort();
        let mut others: Vec<String> = content
            .skipped
            .iter()
            .map(|skipped| skipped.dn.clone())
            .chain(content.held.iter().map(|held| held.dn.clone()))
            .collect();
        others.sort();
        (sent, others, content.members_out_of_scope)
    };
    let mut entries = directory();
    let expected = summary(&map(&config(), &entries));
    assert_eq!((expected.0.len(), expected.1.len()), (20 + 12 + 5, 5 + 5));
    let seed =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos()
            as u64
            | 1;
    let mut state = seed;
    for round in 0..50 {
        for at in (1..entries.len()).rev() {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            entries.swap(at, (state % (at as u64 + 1)) as usize);
        }
        assert_eq!(summary(&map(&config(), &entries)), expected, "seed {seed}, round {round}");
    }
}

#[test]
fn a_group_of_many_members() {
    let entries: Vec<TestEntry> = (0..5000).map(|n| person(n, &format!("user{n}"))).collect();
    let big = entries
        .iter()
        .fold(group(9999, "big"), |group, entry| group.with("member", entry.dn.to_uppercase()));
    let content = map(&config(), &[&[big][..], &entries].concat());
    assert_eq!((members(&content, "big").len(), content.persons), (5000, 5000));
}

/// memberUid finds a person by any of the names; who is named so first of all comes first.
#[test]
fn a_person_is_a_member_by_any_of_several_names() {
    let cfg = rfc2307();
    let alias = |id, name: &str| person(id, name).with("uid", "alias");
    let posix =
        |member: &str| group(9, "team").set("objectClass", "posixGroup").with("memberUid", member);
    let members_of = |full: bool, received: &[TestEntry], known: &[TestEntry]| {
        let mut mapper = Mapper::new(&cfg, full);
        received.iter().for_each(|entry| feed(&mut mapper, entry));
        let questions = mapper.questions();
        known.iter().for_each(|entry| answer(&cfg, &mut mapper, entry));
        (questions.member_uids, members(&mapper.finish(), "team"))
    };
    assert_eq!(members_of(true, &[posix("ALIAS"), alias(1, "login")], &[]).1, [dn("login")]);
    assert_eq!(members_of(true, &[posix("login"), alias(1, "login")], &[]).1, [dn("login")]);
    assert_eq!(
        members_of(true, &[posix("alias"), alias(1, "login"), person(2, "alias")], &[]).1,
        [dn("alias")]
    );
    assert!(
        members_of(true, &[posix("alias"), alias(1, "a"), alias(2, "b")], &[]).1.is_empty(),
        "nobody can tell which"
    );
    // An increment asks, also where it has somebody of that other name.
    let (asked, found) =
        members_of(false, &[posix("alias"), alias(1, "login")], &[person(2, "alias")]);
    assert_eq!((asked, found), (vec!["alias".to_owned()], vec![dn("alias")]));
    let (asked, found) = members_of(false, &[posix("alias")], &[alias(1, "login")]);
    assert_eq!((asked, found), (vec!["alias".to_owned()], vec![dn("login")]));

    let mut mapper = Mapper::new(&cfg, false);
    feed(&mut mapper, &alias(1, "login"));
    assert_eq!(mapper.changed(false).next().unwrap().user_names, ["login", "alias"]);
}

#[test]
fn members_come_from_up_to_three_attributes() {
    let mut cfg = config();
    cfg.group.members.push("uniqueMember".to_owned());
    let team = group(9, "team")
        .with("uniqueMember", format!("{}#'01'B", dn("b")))
        .with("member", dn("a"))
        .with("member", dn("b"));
    let content = map(&cfg, &[team, person(1, "a"), person(2, "b")]);
    assert_eq!(members(&content, "team"), [dn("a"), dn("b")]);
    assert!(Mapper::attributes(&cfg).contains(&"uniqueMember".to_owned()));
}

/// One name in two Unicode forms: OpenLDAP takes them for the same, 389 does not.
#[test]
fn names_in_another_unicode_form_are_the_same_where_the_directory_says_so() {
    let (composed, decomposed) = ("zo\u{eb}", "zoe\u{308}");
    let zoe = TestEntry { dn: dn(composed), ..person(1, "zoe") };
    let team = group(9, "team").with("member", dn(decomposed));
    let cfg = config();
    for prepares in [true, false] {
        let mut mapper = Mapper::new(&cfg, true).preparing(prepares);
        [team.clone(), zoe.clone()].iter().for_each(|entry| feed(&mut mapper, entry));
        assert_eq!(members(&mapper.finish(), "team").len(), usize::from(prepares));
    }
    let mut cfg = rfc2307();
    cfg.entries.insert(
        Uuid::from_u128(1),
        EntryConfig { map_name: Some("zoe".into()), ..EntryConfig::default() },
    );
    let mut mapper = Mapper::new(&cfg, true).preparing(true);
    let team = group(9, "team")
        .set("objectClass", "posixGroup")
        .with("memberUid", decomposed.to_uppercase());
    [team, zoe.set("uid", composed)].iter().for_each(|entry| feed(&mut mapper, entry));
    assert_eq!(members(&mapper.finish(), "team"), [dn(composed)]);
}

/// Without its members, or without all of them, it would be an empty group, or a user's own.
#[test]
fn a_group_whose_members_were_not_read_is_held() {
    let limit = 64 * 200;
    let cfg = MappingConfig { invalid_entries: InvalidEntries::DropValue, ..config() };
    let large = "x".repeat(limit);
    let alice = group(1, "alice").with("member", dn("alice")).with("member", &large);
    let content = map_beyond(limit, &cfg, &[person(2, "alice"), alice.clone()]);
    assert_eq!((content.held.len(), content.groups, content.skipped.len()), (1, 0, 0));
    let content = map_beyond(
        limit,
        &cfg,
        &[group(1, "team").with("member", dn("nobody")).with("description", large)],
    );
    assert_eq!((content.dropped.len(), content.groups), (1, 1));
    // One that is too long to be anybody's is none, but it is there: the group is not the user's
    // own.
    let content = map(&cfg, &[person(2, "alice"), alice]);
    assert_eq!((content.held.len(), content.skipped.len()), (1, 0));
    let content = map(
        &cfg,
        &[
            person(2, "alice"),
            group(1, "team").with("member", dn("alice")).with("member", "x".repeat(9_000)),
        ],
    );
    assert_eq!((members(&content, "team"), content.members_out_of_scope), (vec![dn("alice")], 1));
}

/// Junk of one group's author must not hold the others.
#[test]
fn of_too_many_members_together_the_largest_group_is_held() {
    let junk = |id: u128, count: usize| {
        (0..count).fold(group(id, &format!("junk{id}")), |entry, n| {
            entry.with("member", dn(&format!("nobody{n}")))
        })
    };
    let entries = [
        junk(1, 40),
        group(2, "team").with("member", dn("alice")),
        junk(3, 10),
        junk(4, 40),
        group(5, "ours").with("member", dn("alice")),
    ];
    let cfg = config();
    let mut mapper = Mapper::new(&cfg, true).with_member_bytes(1_500);
    feed(&mut mapper, &person(9, "alice"));
    entries.iter().for_each(|entry| feed(&mut mapper, entry));
    let content = mapper.finish();
    let mut held: Vec<&str> =
        content.held.iter().map(|held| held.dn.split(',').next().unwrap()).collect();
    held.sort_unstable();
    assert_eq!((held, content.groups), (vec!["cn=junk1", "cn=junk4"], 3));
    assert_eq!(
        (members(&content, "team"), members(&content, "ours")),
        (vec![dn("alice")], vec![dn("alice")])
    );
    let rule = &content.held[0].problems[0].rule;
    assert!(
        rule.starts_with("the members of all groups are more than 1500 bytes together"),
        "{rule}"
    );
}

/// However much it names, what an incremental run asks about is bounded.
#[test]
fn a_group_of_very_many_strangers_has_everybody_looked_up() {
    let cfg = config();
    let mut mapper = Mapper::new(&cfg, false);
    let long = "x".repeat(8_000);
    let group =
        (0..2_200).fold(group(1, "junk"), |entry, n| entry.with("member", format!("cn={n}{long}")));
    feed(&mut mapper, &group);
    let questions = mapper.questions();
    let bytes: usize = questions.member_dns.iter().map(String::len).sum();
    assert!(questions.everybody && (15 << 20..17 << 20).contains(&bytes), "{bytes}");
}
