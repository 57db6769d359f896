//! Refreshes and searches that go well, on each flavour of server, and the ones that have to be
//! repeated in full.

use kanidm_ldap_sync::directory::client::Directory;
use kanidm_ldap_sync::directory::error::{DirectoryError, DirectoryProblem};
use kanidm_ldap_sync::directory::flavour::sync_uuid;
use kanidm_ldap_sync::directory::refresh::Refresh;
use ldap_content_sync::SearchResultEntry;
use ldap_content_sync::filter::Filter;
use ldap_content_sync::request::Scope;
use ldap_content_sync::sync_session::{NextCookie, Provider, RefreshOutcome};
use uuid::Uuid;

use crate::support::peer::{
    self, Link, Peer, SLAPD, bind_response, done, ds389, entry, id_set, reference, sync_done,
    sync_entry,
};
use crate::support::pki::Pki;

fn uuid(number: u128) -> Uuid {
    Uuid::from_u128(number << 96 | number)
}

/// As 389 spells it.
fn ns_unique_id(number: u128) -> String {
    format!("{number:08x}-00000000-00000000-{number:08x}")
}

/// What the refresh handed out, and how it ended.
struct Run {
    entries: Vec<(Uuid, String, Vec<String>)>,
    result: Result<Refresh, DirectoryError>,
}

impl Run {
    fn outcome(self) -> RefreshOutcome {
        match self.result {
            Ok(Refresh::Done(outcome)) => outcome,
            other => panic!("{other:?}"),
        }
    }

    fn reason(&self) -> &str {
        match &self.result {
            Ok(Refresh::Required { reason }) => reason,
            other => panic!("{other:?}"),
        }
    }

    fn names(&self) -> Vec<&str> {
        self.entries.iter().map(|(_, dn, _)| dn.as_str()).collect()
    }
}

/// Connects to a server with this root DSE, refreshes with `cookie` and the attributes `cn` and
/// `nsAccountLock`.
fn refresh(cookie: Option<&str>, script: impl FnOnce(&mut Link) + Send + 'static) -> Run {
    let pki = Pki::new();
    let peer = Peer::tls(&pki.localhost(), script);
    let mut directory =
        Directory::connect(&peer::config("localhost", &peer, Some(pki.ca()))).unwrap();
    let mut entries = Vec::new();
    let result = directory.refresh(
        &["cn", "nsAccountLock"],
        cookie.map(str::as_bytes),
        &mut |uuid, entry| {
            let attributes =
                entry.attributes().map(|attribute| attribute.description().to_owned()).collect();
            entries.push((uuid, entry.dn().to_owned(), attributes));
        },
    );
    Run { entries, result }
}

/// As a script begins on slapd, up to the refresh.
fn slapd(link: &mut Link) -> u32 {
    link.begin(SLAPD);
    let search = link.request();
    assert!(
        search.is_refresh()
            && search.mentions("dc=example")
            && search.mentions("cn")
            && search.mentions("nsAccountLock")
    );
    search.id
}

#[test]
fn a_first_refresh_hands_out_everything() {
    let run = refresh(None, |link| {
        let id = slapd(link);
        link.send(sync_entry(id, uuid(1), "cn=a", &[("cn", &["a"]), ("cn;lang-de", &["ä"])]));
        link.send(reference(id, "ldap://elsewhere.example/dc=example"));
        link.send(sync_entry(id, uuid(2), "cn=b", &[]));
        link.send(sync_done(id, Some("rid=000,csn=1"), true));
    });
    let attributes = vec!["cn".to_string(), "cn;lang-de".to_string()];
    assert_eq!(
        run.entries,
        [(uuid(1), "cn=a".into(), attributes), (uuid(2), "cn=b".into(), vec![])]
    );
    let outcome = run.outcome();
    assert_eq!(outcome.present, Some(vec![uuid(1), uuid(2)]));
    assert_eq!(outcome.cookie, NextCookie::New(b"rid=000,csn=1".to_vec()));
    assert_eq!((outcome.deleted.len(), outcome.references), (0, 1));
}

#[test]
fn changes_since_a_cookie_on_slapd() {
    let run = refresh(Some("rid=000,csn=1"), |link| {
        link.begin(SLAPD);
        let search = link.request();
        assert!(search.mentions("rid=000,csn=1"));
        link.send(id_set(search.id, true, &[uuid(7), uuid(8)]));
        link.send(sync_entry(search.id, uuid(1), "cn=a", &[]));
        link.send(sync_done(search.id, None, true));
    });
    assert_eq!(run.names(), ["cn=a"]);
    let outcome = run.outcome();
    assert_eq!(
        (outcome.present, outcome.deleted, outcome.cookie),
        (None, vec![uuid(7), uuid(8)], NextCookie::Absent)
    );
}

#[test]
fn a_cookie_that_slapd_does_not_know_is_given_up() {
    let run = refresh(Some("garbage"), |link| {
        let id = slapd(link);
        link.send(sync_entry(id, uuid(1), "cn=a", &[]));
        link.send(sync_done(id, Some(""), false));
    });
    assert!(run.reason().contains("does not know the cookie"));
    let run = refresh(Some("old"), |link| {
        let id = slapd(link);
        link.send(done(id, 4096, "sync cookie is stale"));
    });
    assert!(run.reason().contains("sync cookie is stale"));
}

#[test]
fn a_slapd_that_is_behind_its_cookie_is_not_believed() {
    let cookie = |server: &str, day: u8| {
        format!("rid=000,csn=202601{day:02}000000.000000Z#000000#{server}#000000")
    };
    let (sent, behind) = (cookie("001", 2), cookie("001", 1));
    let error = refresh(Some(&sent), move |link| {
        let id = slapd(link);
        link.send(sync_entry(id, uuid(1), "cn=a", &[]));
        link.send(sync_done(id, Some(&behind), false));
    });
    let error = error.result.unwrap_err();
    assert!(matches!(*error.problem, DirectoryProblem::Behind { .. }), "{error}");
    let text = error.to_string();
    for words in [
        "\"dc=example\" showed an older state than an earlier run has read",
        "restored from a backup",
        "nothing was changed in Kanidm",
        "--full-refresh",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
}

#[test]
fn an_empty_cookie_is_none() {
    let run = refresh(Some(""), |link| {
        let id = slapd(link);
        link.send(sync_done(id, Some("c"), false));
    });
    assert_eq!(run.outcome().present, Some(vec![]));
}

#[test]
fn messages_may_come_in_any_pieces_and_one_may_be_large() {
    let run = refresh(None, |link| {
        let id = slapd(link);
        let members: Vec<String> = (0..12_000)
            .map(|number| format!("uid=user{number:05},ou=people,dc=example,dc=com"))
            .collect();
        let members: Vec<&str> = members.iter().map(String::as_str).collect();
        let mut answers = Vec::new();
        for number in 1..200 {
            answers.extend(sync_entry(
                id,
                uuid(number),
                &format!("cn={number}"),
                &[("cn", &["x"])],
            ));
        }
        answers.extend(sync_entry(id, uuid(200), "cn=200", &[("member", &members)]));
        answers.extend(sync_done(id, Some("c"), true));
        let (single, pieces) = answers.split_at(3_000);
        single.iter().for_each(|byte| link.send([*byte]));
        pieces.chunks(7_777).for_each(|piece| link.send(piece));
    });
    assert_eq!(run.entries.len(), 200);
    assert_eq!(run.outcome().present.unwrap().len(), 200);
}

const COOKIE: &str = "h:389#cn=sync:dc=example:(objectClass=*)#40";

/// As a script begins on 389 with [`COOKIE`] and a changelog that reaches back, up to the refresh.
fn begin_389(link: &mut Link) -> u32 {
    let bind = link.request();
    link.send(bind_response(bind.id, 0, ""));
    ds389(link, 1, 45);
    ds389(link, 1, 45);
    let search = link.request();
    assert!(search.is_refresh() && search.mentions(COOKIE));
    search.id
}

#[test]
fn changes_on_389_are_read_again_with_their_operational_attributes() {
    let run = refresh(Some(COOKIE), |link| {
        let id = begin_389(link);
        for (number, dn) in [(1, "cn=a"), (2, "cn=b"), (3, "cn=c")] {
            // All user attributes, and no operational ones.
            link.send(sync_entry(id, uuid(number), dn, &[("description", &["not asked for"])]));
        }
        link.send(id_set(id, true, &[uuid(8), uuid(9), uuid(3)]));
        link.send(sync_done(id, Some("h#45"), false));
        ds389(link, 1, 45);

        let again = link.request();
        assert!(
            !again.is_refresh() && again.mentions("nsAccountLock") && again.mentions("objectClass"),
            "{again:?}"
        );
        assert!((1..=3).all(|number| again.mentions(&ns_unique_id(number))));
        // The second has left the content in the meantime, the third is there again.
        let locked: &[(&str, &[&str])] =
            &[("cn", &["a"]), ("nsAccountLock", &["true"]), ("nsuniqueid", &[&ns_unique_id(1)])];
        link.send(entry(again.id, "cn=a", locked));
        link.send(entry(again.id, "cn=c", &[("nsuniqueid", &[&ns_unique_id(3)])]));
        link.send(done(again.id, 0, ""));

        let by_name = link.request();
        assert!(by_name.mentions("cn=b"));
        link.send(done(by_name.id, 32, ""));
    });
    assert_eq!(run.names(), ["cn=a", "cn=c"]);
    assert_eq!(run.entries[0].0, uuid(1));
    assert_eq!(run.entries[0].2, ["cn", "nsAccountLock", "nsuniqueid"]);
    let outcome = run.outcome();
    assert_eq!(outcome.deleted, [uuid(2), uuid(8), uuid(9)]);
    assert_eq!((outcome.present, outcome.cookie), (None, NextCookie::New(b"h#45".to_vec())));
}

#[test]
fn many_changes_on_389_are_read_again_in_batches() {
    let run = refresh(Some(COOKIE), |link| {
        let id = begin_389(link);
        for number in 1..=250 {
            link.send(sync_entry(id, uuid(number), &format!("cn={number}"), &[]));
        }
        link.send(sync_done(id, Some("h#45"), false));
        ds389(link, 1, 45);
        let mut batches = Vec::new();
        while batches.iter().sum::<usize>() < 250 {
            let again = link.request();
            let asked: Vec<u128> =
                (1..=250).filter(|number| again.mentions(&ns_unique_id(*number))).collect();
            assert!(!asked.is_empty());
            batches.push(asked.len());
            for number in asked {
                link.send(entry(
                    again.id,
                    &format!("cn={number}"),
                    &[("nsUniqueId", &[&ns_unique_id(number)])],
                ));
            }
            link.send(done(again.id, 0, ""));
        }
        assert_eq!(batches, [100, 100, 50]);
    });
    assert_eq!(run.entries.len(), 250);
    assert!(run.outcome().deleted.is_empty());
}

#[test]
fn an_entry_that_cannot_be_found_by_its_uuid_is_not_taken_for_gone() {
    for uuid_shown in [false, true] {
        let run = refresh(Some(COOKIE), move |link| {
            let by_name = not_found_by_uuid(link);
            let attributes: &[(&str, &[&str])] =
                if uuid_shown { &[("nsUniqueId", &[&ns_unique_id(1)])] } else { &[] };
            link.send(entry(by_name, "cn=a", attributes));
            link.send(done(by_name, 0, ""));
        });
        let error = run.result.unwrap_err();
        assert!(matches!(*error.problem, DirectoryProblem::UuidHidden { .. }), "{error}");
        assert!(error.to_string().contains("rights to search and to read nsUniqueId"), "{error}");
    }
    // Nor one that the account may not look for by its name, or that another server is said to
    // have.
    for code in [10, 50] {
        let run = refresh(Some(COOKIE), move |link| {
            let by_name = not_found_by_uuid(link);
            link.send(done(by_name, code, ""));
        });
        assert!(matches!(*run.result.unwrap_err().problem, DirectoryProblem::SearchFailed { .. }));
    }
    // Another entry with the old name: the first one is gone.
    let run = refresh(Some(COOKIE), |link| {
        let by_name = not_found_by_uuid(link);
        link.send(entry(by_name, "cn=a", &[("nsUniqueId", &[&ns_unique_id(2)])]));
        link.send(done(by_name, 0, ""));
    });
    assert_eq!(run.outcome().deleted, [uuid(1)]);
}

/// A 389 that reports `cn=a` and then does not find it by its UUID. The request for its name is
/// next.
fn not_found_by_uuid(link: &mut Link) -> u32 {
    let id = begin_389(link);
    link.send(sync_entry(id, uuid(1), "cn=a", &[]));
    link.send(sync_done(id, Some("h#45"), false));
    ds389(link, 1, 45);
    let again = link.request();
    link.send(done(again.id, 0, ""));
    link.request().id
}

#[test]
fn a_base_that_vanishes_from_389_deletes_nobody() {
    let run = refresh(Some(COOKIE), |link| {
        let id = begin_389(link);
        link.send(sync_entry(id, uuid(1), "cn=a", &[]));
        link.send(sync_done(id, Some("h#45"), false));
        ds389(link, 1, 45);
        let again = link.request();
        link.send(done(again.id, 32, ""));
    });
    assert!(matches!(*run.result.unwrap_err().problem, DirectoryProblem::SearchFailed { .. }));
}

#[test]
fn fifty_deletions_on_389_are_too_many_to_believe() {
    for (sets, believed) in [(vec![49], true), (vec![50], false), (vec![50, 29], false)] {
        let run = refresh(Some(COOKIE), move |link| {
            let id = begin_389(link);
            for (set, count) in sets.into_iter().enumerate() {
                let gone: Vec<Uuid> =
                    (0..count).map(|number| uuid(1 + 1000 * set as u128 + number)).collect();
                link.send(id_set(id, true, &gone));
            }
            link.send(sync_done(id, Some("h#45"), false));
            if believed {
                ds389(link, 1, 45);
            }
        });
        if believed {
            assert_eq!(run.outcome().deleted.len(), 49);
        } else {
            assert!(
                run.entries.is_empty() && run.reason().contains("deletions"),
                "{}",
                run.reason()
            );
        }
    }
}

#[test]
fn a_changelog_of_389_that_does_not_reach_back_is_noticed() {
    let with_changelog = |first, last| {
        refresh(Some(COOKIE), move |link| {
            let bind = link.request();
            link.send(bind_response(bind.id, 0, ""));
            ds389(link, 1, 45);
            ds389(link, first, last);
        })
    };
    assert!(
        with_changelog(42, 99)
            .reason()
            .contains("begins with change 42, the last run had read up to 40")
    );
    assert!(with_changelog(1, 39).reason().contains("ends with change 39"));

    // Trimmed while the changes were read.
    let run = refresh(Some(COOKIE), |link| {
        let id = begin_389(link);
        link.send(sync_entry(id, uuid(1), "cn=a", &[]));
        link.send(sync_done(id, Some("h#45"), false));
        ds389(link, 43, 45);
    });
    assert!(
        run.entries.is_empty() && run.reason().contains("begins with change 43"),
        "{}",
        run.reason()
    );

    // Never sent: 389 would not answer it.
    for cookie in ["rid=000,csn=1", "h#4\u{0}0"] {
        let run = refresh(Some(cookie), |link| {
            let bind = link.request();
            link.send(bind_response(bind.id, 0, ""));
            ds389(link, 1, 45);
            ds389(link, 1, 45);
            assert_eq!(link.request().tag, 0x42, "an unbind");
        });
        assert!(run.reason().contains("not one of 389"), "{}", run.reason());
    }
}

#[test]
fn a_first_refresh_on_389_needs_no_second_look() {
    let run = refresh(None, |link| {
        let bind = link.request();
        link.send(bind_response(bind.id, 0, ""));
        ds389(link, 1, 45);
        let search = link.request();
        assert!(search.is_refresh());
        link.send(sync_entry(search.id, uuid(1), "cn=a", &[("nsAccountLock", &["true"])]));
        link.send(sync_done(search.id, Some("h#45"), false));
    });
    assert_eq!(run.entries, [(uuid(1), "cn=a".into(), vec!["nsAccountLock".into()])]);
    assert_eq!(run.outcome().present, Some(vec![uuid(1)]));
}

#[test]
fn flavours_are_told_apart_by_the_root_dse() {
    const SYNC: (&str, &[&str]) = ("supportedControl", &["1.3.6.1.4.1.4203.1.9.1.1"]);
    for (root_dse, provider, attribute, spelling) in [
        (
            vec![("objectclass", &["openldaprootdse"][..]), SYNC],
            Provider::OpenLdap,
            "entryUUID",
            uuid(5).to_string(),
        ),
        (
            vec![("vendorname", &["389 Project"][..]), SYNC],
            Provider::Ds389,
            "nsUniqueId",
            ns_unique_id(5),
        ),
        (
            vec![("vendorName", &["ACME"][..]), SYNC],
            Provider::Rfc4533,
            "entryUUID",
            uuid(5).to_string(),
        ),
        // 389 may hide most of what it says about itself.
        (
            vec![("vendorversion", &["389-Directory/2.3.1 B2023.039.0000"][..]), SYNC],
            Provider::Ds389,
            "nsUniqueId",
            ns_unique_id(5),
        ),
        (
            vec![("lastchangenumber", &["7"][..]), SYNC],
            Provider::Ds389,
            "nsUniqueId",
            ns_unique_id(5),
        ),
        (
            vec![("firstChangeNumber", &["1"][..]), SYNC],
            Provider::Ds389,
            "nsUniqueId",
            ns_unique_id(5),
        ),
        (
            vec![("dataversion", &["020261124035000020261124035000"][..]), SYNC],
            Provider::Ds389,
            "nsUniqueId",
            ns_unique_id(5),
        ),
        // Others have had change numbers, too.
        (
            vec![("vendorName", &["ACME"][..]), ("lastchangenumber", &["7"]), SYNC],
            Provider::Rfc4533,
            "entryUUID",
            uuid(5).to_string(),
        ),
    ] {
        let pki = Pki::new();
        let peer = Peer::tls(&pki.localhost(), move |link| {
            link.begin(&root_dse);
            let search = link.request();
            assert!(search.mentions(&spelling) && search.mentions(attribute));
            link.send(entry(
                search.id,
                "cn=a",
                &[("cn", &["x"]), (&attribute.to_uppercase(), &[&spelling])],
            ));
            link.send(entry(search.id, "cn=b", &[("cn", &["x"])]));
            link.send(entry(search.id, "cn=c", &[(attribute, &["no uuid"])]));
            link.send(done(search.id, 0, ""));
        });
        let mut directory =
            Directory::connect(&peer::config("localhost", &peer, Some(pki.ca()))).unwrap();
        assert_eq!((directory.provider(), directory.uuid_attribute()), (provider, attribute));
        let filter = directory.uuid_filter(&[uuid(5)]);
        let mut found = Vec::new();
        let mut on_entry = |entry: &SearchResultEntry<'_>| found.push(sync_uuid(provider, entry));
        directory
            .search("dc=example", Scope::Subtree, &filter, &[attribute], &mut on_entry)
            .unwrap();
        assert_eq!(found, [Some(uuid(5)), None, None]);
    }
}

fn searching<T>(
    script: impl FnOnce(&mut Link) + Send + 'static,
    search: impl FnOnce(&mut Directory) -> T,
) -> T {
    let pki = Pki::new();
    let peer = Peer::tls(&pki.localhost(), script);
    let mut directory =
        Directory::connect(&peer::config("localhost", &peer, Some(pki.ca()))).unwrap();
    search(&mut directory)
}

#[test]
fn a_search_passes_over_references_and_believes_no_error() {
    let anything = Filter::Present { attribute: "cn".into() };
    for (code, good) in [(0, true), (4, false), (1, false), (32, false)] {
        let (result, dns) = searching(
            move |link| {
                link.begin(SLAPD);
                let search = link.request();
                link.send(reference(search.id, "ldap://elsewhere.example/"));
                link.send(entry(search.id, "cn=a", &[]));
                link.send(done(search.id, code, ""));
            },
            |directory| {
                let mut dns = Vec::new();
                let result = directory.search(
                    "dc=example",
                    Scope::Subtree,
                    &anything,
                    &["cn"],
                    &mut |entry| dns.push(entry.dn().to_owned()),
                );
                (result, dns)
            },
        );
        assert_eq!(result.is_ok(), good, "{code}: {result:?}");
        assert_eq!(dns, ["cn=a"]);
    }
}

#[test]
fn many_searches_are_sent_ahead_and_told_apart() {
    let filter = Filter::Present { attribute: "cn".into() };
    let searches: Vec<_> =
        (0..200).map(|number| (format!("cn={number}"), Scope::Base, &filter)).collect();
    let mut found = searching(
        |link| {
            link.begin(SLAPD);
            let mut waiting = Vec::new();
            for number in 0..200 {
                let search = link.request();
                assert!(search.mentions(&format!("cn={number}")));
                waiting.push((number, search.id));
                // No answer before the window is full, then the youngest first.
                if waiting.len() == 64 || number == 199 {
                    for (number, id) in waiting.drain(..).rev() {
                        match number % 6 {
                            0 => link.send(done(id, 32, "")),
                            1 => link.send(done(id, 34, "")),
                            2 => link.send(done(id, 0, "")),
                            // A part of the tree that another server has, or that the account may
                            // not see.
                            4 => link.send(done(id, 10, "")),
                            5 => link.send(done(id, 50, "")),
                            _ => link.send(
                                [entry(id, &format!("cn={number}"), &[]), done(id, 0, "")].concat(),
                            ),
                        }
                    }
                }
            }
        },
        |directory| {
            let mut found = Vec::new();
            directory
                .search_each(&searches, &["cn"], &mut |index, entry| {
                    found.push((index, entry.dn().to_owned()))
                })
                .unwrap();
            found
        },
    );
    found.sort();
    let expected: Vec<_> = (0..200)
        .filter(|number| number % 6 == 3)
        .map(|number| (number, format!("cn={number}")))
        .collect();
    assert_eq!(found, expected);
}

/// Entries that are read again by their UUIDs: the server answers with others as well.
#[test]
fn entries_that_were_not_asked_for_are_ignored() {
    let run = refresh(Some(COOKIE), |link| {
        let id = begin_389(link);
        link.send(sync_entry(id, uuid(1), "cn=1", &[]));
        link.send(sync_done(id, Some(COOKIE), false));
        ds389(link, 1, 45);
        let again = link.request();
        for number in [2, 1, 3] {
            link.send(entry(
                again.id,
                &format!("cn={number}"),
                &[("nsUniqueId", &[&ns_unique_id(number)])],
            ));
        }
        link.send(done(again.id, 0, ""));
    });
    assert_eq!(run.names(), ["cn=1"]);
    assert!(run.outcome().deleted.is_empty());
}

#[test]
fn one_failure_among_many_searches_is_a_failure() {
    let filter = Filter::Present { attribute: "cn".into() };
    for code in [53, 4, 1] {
        let error = searching(
            move |link| {
                link.begin(SLAPD);
                let (first, second) = (link.request(), link.request());
                link.send(done(first.id, 0, ""));
                link.send(done(second.id, code, ""));
            },
            |directory| {
                let searches = [
                    ("cn=a".to_string(), Scope::Base, &filter),
                    ("cn=b".to_string(), Scope::Base, &filter),
                ];
                directory.search_each(&searches, &["cn"], &mut |_, _| {}).unwrap_err()
            },
        );
        assert!(error.to_string().contains("below \"cn=b\" failed"), "{error}");
    }
    searching(
        |link| link.begin(SLAPD),
        |directory| directory.search_each(&[], &[], &mut |_, _| {}),
    )
    .unwrap();
}
