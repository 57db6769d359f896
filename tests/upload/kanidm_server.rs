//! The test server around the Kanidm engine answers as facts about Kanidm say, and its controls
//! keep their promises.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::kanidm::{Fault, KanidmOptions, KanidmServer, Moment, State, SyncAccount};
use crate::support::temp::TempDir;

const PERSON: [&str; 2] = [
    "urn:ietf:params:scim:schemas:kanidm:sync:1:account",
    "urn:ietf:params:scim:schemas:kanidm:sync:1:person",
];
const POSIX: &str = "urn:ietf:params:scim:schemas:kanidm:sync:1:posixaccount";
const GROUP: [&str; 1] = ["urn:ietf:params:scim:schemas:kanidm:sync:1:group"];
/// `secret`, as slapd stores it.
const PASSWORD: (&str, &str) = ("secret", "{SSHA}gVK8WC9YyFT1gMsQHTGCgT3sSv5zYWx0");

/// Status, headers that say whose answer it is, body.
#[derive(Debug)]
struct Answer {
    status: u16,
    own: bool,
    content_type: String,
    body: String,
}

/// A sync client that sends what it is told.
struct Client<'s> {
    server: &'s KanidmServer,
    agent: ureq::Agent,
    token: String,
}

impl<'s> Client<'s> {
    fn new(server: &'s KanidmServer, account: &SyncAccount) -> Client<'s> {
        let pem = std::fs::read(server.ca()).unwrap();
        let tls = ureq::tls::TlsConfig::builder()
            .root_certs(ureq::tls::RootCerts::new_with_certs(&[ureq::tls::Certificate::from_pem(
                &pem,
            )
            .unwrap()]))
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .build();
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .tls_config(tls)
            .build()
            .into();
        Client { server, agent, token: account.token.clone() }
    }

    fn send(
        &self,
        method: &str,
        path: &str,
        content_type: &str,
        body: &[u8],
    ) -> Result<Answer, ureq::Error> {
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.server.url()))
            .header("authorization", format!("Bearer {}", self.token))
            .header("content-type", content_type)
            .body(body)
            .unwrap();
        let mut response = self.agent.run(request)?;
        let text = |name: &str| {
            response.headers().get(name).map(|value| value.to_str().unwrap().to_string())
        };
        let (own, content_type) =
            (text("x-kanidm-opid").is_some(), text("content-type").unwrap_or_default());
        Ok(Answer {
            status: response.status().as_u16(),
            own,
            content_type,
            body: response.body_mut().read_to_string()?,
        })
    }

    fn state(&self) -> Answer {
        self.send("GET", "/scim/v1/Sync", "", b"").unwrap()
    }

    fn try_post(&self, body: &Value) -> Result<Answer, ureq::Error> {
        self.send("POST", "/scim/v1/Sync", "application/json", body.to_string().as_bytes())
    }

    fn post(&self, body: &Value) -> Answer {
        self.try_post(body).unwrap()
    }

    /// Posts what must be accepted.
    fn apply(&self, body: &Value) {
        let answer = self.post(body);
        assert_eq!(
            (answer.status, answer.body.as_str(), answer.own),
            (200, "null", true),
            "{body}"
        );
    }
}

fn uuid(n: u128) -> Uuid {
    Uuid::from_u128(0x11111111_2222_4333_8444_000000000000 + n)
}

fn active(cookie: &str) -> Value {
    json!({ "Active": { "cookie": cookie } })
}

fn sync(from: Value, entries: Value, retain: Value) -> Value {
    json!({ "from_state": from, "to_state": active("YQ"), "entries": entries, "retain": retain })
}

fn first(entries: Value) -> Value {
    sync(json!("Refresh"), entries, json!("Ignore"))
}

fn next(entries: Value) -> Value {
    sync(active("YQ"), entries, json!("Ignore"))
}

fn person(n: u128, name: &str) -> Value {
    json!({ "schemas": PERSON, "id": uuid(n), "externalId": format!("uid={name},dc=x"), "name": name, "displayname": name })
}

fn start() -> (KanidmServer, SyncAccount) {
    let server = KanidmServer::start();
    let account = server.create_sync_account("sync");
    (server, account)
}

#[test]
fn what_is_sent_is_what_the_entries_show() {
    let (server, account) = start();
    let client = Client::new(&server, &account);
    assert_eq!(client.state().body, r#""Refresh""#);
    let key =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAoy2zP3PhNTPp5mFmOKNX6ErBgqcuvCPbl+yTQgPG4R alice@x";
    let alice = json!({
        "schemas": [PERSON[0], PERSON[1], POSIX], "id": uuid(1), "externalId": "uid=Alice,dc=x",
        "name": "alice", "displayname": "Alice", "legalname": "Alice Able", "gidnumber": 4001, "loginshell": "/bin/sh",
        "mail": [{ "value": "b@x.org" }, { "value": "c@x.org", "primary": true }, { "value": "a@x.org" }],
        "ssh_publickey": [{ "label": "one", "value": key }],
        "password_import": PASSWORD.1, "unix_password_import": PASSWORD.1,
        "account_valid_from": "2020-01-01T00:00:00Z", "account_expire": "2090-01-01T00:00:00Z",
    });
    let group = json!({ "schemas": GROUP, "id": uuid(9), "externalId": "cn=g,dc=x", "name": "g", "description": "all",
        "member": [{ "external_id": uuid(2) }, { "external_id": "uid=alice,dc=x" }, { "external_id": "uid=nobody,dc=x" }] });
    client.apply(&first(json!([alice, person(2, "bob"), group])));

    let entries = server.entries("sync");
    assert_eq!(
        entries.iter().map(|entry| entry.uuid).collect::<Vec<_>>(),
        [uuid(1), uuid(2), uuid(9)]
    );
    assert_eq!(server.entries(&account.uuid.to_string()), entries, "by UUID as by name");
    let alice = &entries[0];
    assert_eq!(alice.external_id.as_deref(), Some("uid=alice,dc=x"));
    assert_eq!(
        (alice.name.as_deref(), alice.displayname.as_deref()),
        (Some("alice"), Some("Alice"))
    );
    assert_eq!(
        (alice.legalname.as_deref(), alice.loginshell.as_deref()),
        (Some("Alice Able"), Some("/bin/sh"))
    );
    assert_eq!(alice.gidnumber, Some(4001));
    assert_eq!(
        alice.mail.iter().map(|mail| (mail.value.as_str(), mail.primary)).collect::<Vec<_>>(),
        [("c@x.org", true), ("a@x.org", false), ("b@x.org", false)]
    );
    assert_eq!(
        alice
            .ssh_publickey
            .iter()
            .map(|(label, key)| (label.as_str(), key.as_str()))
            .collect::<Vec<_>>(),
        [("one", key)]
    );
    assert_eq!(alice.account_valid_from.as_deref(), Some("2020-01-01T00:00:00Z"));
    assert_eq!(alice.account_expire.as_deref(), Some("2090-01-01T00:00:00Z"));
    assert!(alice.classes.iter().any(|class| class == "posixaccount"));
    assert!(alice.has_password && alice.has_unix_password);
    assert!(!entries[1].has_password && !entries[1].has_unix_password);
    assert_eq!(
        (entries[2].description.as_deref(), &entries[2].member),
        (Some("all"), &vec![uuid(1), uuid(2)])
    );
    assert_eq!(server.entry("sync", "g").as_ref(), Some(&entries[2]));

    assert!(
        server.verify_password("alice", PASSWORD.0)
            && server.verify_unix_password(&uuid(1).to_string(), PASSWORD.0)
    );
    assert!(
        !server.verify_password("alice", "wrong") && !server.verify_password("bob", PASSWORD.0)
    );
}

#[test]
fn states_and_the_recycle_bin() {
    let (server, account) = start();
    let client = Client::new(&server, &account);
    assert_eq!(server.state("sync"), State::Refresh);
    client.apply(&first(json!([person(1, "alice"), person(2, "bob")])));
    assert_eq!(server.state("sync"), State::Active { cookie: "YQ".into() });
    assert_eq!(client.state().body, r#"{"Active":{"cookie":"YQ"}}"#);

    client.apply(&sync(active("YQ"), json!([]), json!({ "Delete": [uuid(1)] })));
    assert_eq!(
        server
            .recycled()
            .iter()
            .map(|entry| (entry.uuid, entry.name.as_deref()))
            .collect::<Vec<_>>(),
        [(uuid(1), Some("alice"))]
    );
    let masked = client.post(&next(json!([person(1, "alice")])));
    assert_eq!((masked.status, masked.body.as_str()), (500, r#""invalidentrystate""#));
    server.revive(uuid(1));
    assert!(server.recycled().is_empty());
    assert_eq!(server.entries("sync").len(), 2);
    client.apply(&sync(active("YQ"), json!([]), json!({ "Retain": [uuid(2)] })));
    assert_eq!(server.entries("sync").len(), 1);

    server.force_refresh("sync");
    assert_eq!(server.state("sync"), State::Refresh);
    let stale = client.post(&next(json!([])));
    assert_eq!(
        (stale.status, stale.body.as_str(), stale.own),
        (500, r#""invalidsyncstate""#, true)
    );
    client.apply(&first(json!([])));
    assert!(server.entries("sync").is_empty(), "a refresh deletes what it does not name");

    server.reset();
    assert!(server.log().is_empty() && server.recycled().is_empty());
    server.create_sync_account("sync");
    assert_eq!(client.state().status, 401, "the old token is of another Kanidm");
}

/// Why a member is never sent by a DN that has not been seen: Kanidm may find another entry by it,
/// and go on finding it.
#[test]
fn within_one_post_a_member_is_still_found_by_the_dn_it_gives_up() {
    let (server, account) = start();
    let client = Client::new(&server, &account);
    let moved = |n: u128, name: &str, dn: &str| {
        let mut entry = person(n, name);
        entry["externalId"] = json!(dn);
        entry
    };
    let group = |members: &[&str]| {
        let members: Vec<Value> = members.iter().map(|id| json!({ "external_id": id })).collect();
        let mut group =
            json!({ "schemas": GROUP, "id": uuid(9), "externalId": "cn=g,dc=x", "name": "g" });
        if !members.is_empty() {
            group["member"] = json!(members);
        }
        group
    };
    let members = || server.entry("sync", "g").unwrap().member;
    let named = |dn: &str| {
        client.apply(&next(json!([group(&[])])));
        client.apply(&next(json!([group(&[dn])])));
        members()
    };
    client.apply(&first(json!([person(1, "alice"), person(2, "bob"), group(&[])])));
    client.apply(&next(json!([moved(1, "alice", "uid=a2,dc=x"), group(&["uid=alice,dc=x"])])));
    assert_eq!(members(), [uuid(1)], "by the DN that this POST takes from her");
    assert_eq!(named("uid=alice,dc=x"), [uuid(1)], "and from now on");
    client.apply(&next(json!([moved(1, "alice", "uid=a3,dc=x")])));
    assert_eq!(
        named("uid=a2,dc=x"),
        Vec::<Uuid>::new(),
        "but not by one that nothing looked up in the POST that took it"
    );
    assert_eq!(named("uid=alice,dc=x"), [uuid(1)]);
    client.apply(&next(json!([moved(2, "bob", "uid=alice,dc=x")])));
    assert_eq!(named("uid=alice,dc=x"), [uuid(2)], "until somebody else has it");
    client.apply(&next(json!([moved(2, "bob", "uid=b2,dc=x")])));
    assert_eq!(named("uid=alice,dc=x"), Vec::<Uuid>::new());
}

#[test]
fn a_member_named_by_a_uuid_has_to_exist() {
    let (server, account) = start();
    let client = Client::new(&server, &account);
    let group = |member: Uuid| json!({ "schemas": GROUP, "id": uuid(9), "externalId": "cn=g,dc=x", "name": "g", "member": [{ "external_id": member }] });
    client.apply(&first(json!([person(1, "alice"), person(2, "bob")])));
    client.apply(&next(json!([person(3, "carol"), group(uuid(3))])));
    assert_eq!(server.entry("sync", "g").unwrap().member, [uuid(3)], "made in the same POST");
    client.apply(&sync(active("YQ"), json!([]), json!({ "Delete": [uuid(2)] })));
    for nobody in [uuid(77), uuid(2)] {
        let answer = client.post(&next(json!([group(nobody)])));
        assert_eq!(
            (answer.status, answer.body.contains("referentialintegrity")),
            (500, true),
            "{}",
            answer.body
        );
    }
}

/// Kanidm takes classes in and never takes them away: the account lives on within the group. Only a
/// deletion ends that.
#[test]
fn an_entry_that_changes_between_person_and_group_is_both() {
    let (server, account) = start();
    let client = Client::new(&server, &account);
    let mut alice = person(1, "alice");
    alice["password_import"] = json!(PASSWORD.1);
    let group = |n: u128, name: &str| {
        json!({ "schemas": GROUP, "id": uuid(n), "externalId": format!("uid={name},dc=x"), "name": name,
            "member": [{ "external_id": uuid(3) }] })
    };
    client.apply(&first(json!([alice, group(2, "team"), person(3, "carol")])));
    client.apply(&next(json!([group(1, "alice"), person(2, "team")])));
    for name in ["alice", "team"] {
        let entry = server.entry("sync", name).unwrap();
        assert!(
            ["person", "account", "group"]
                .iter()
                .all(|class| entry.classes.iter().any(|c| c == class)),
            "{entry:#?}"
        );
        assert_eq!(entry.member, [uuid(3)]);
    }
    assert!(
        server.verify_password("alice", PASSWORD.0),
        "a group in the directory, and somebody who logs in"
    );
}

/// A token is written only with a password, and lasts as long as every POST repeats it.
#[test]
fn a_totp_token_needs_a_password_and_goes_with_the_next_post_that_lacks_it() {
    let (server, account) = start();
    let client = Client::new(&server, &account);
    let token = |label: &str| json!({ "external_id": label, "secret": "AP/+c2VjcmV0", "algo": "sha256", "step": 30, "digits": 6 });
    let alice = |keys: Value| {
        let mut alice = person(1, "alice");
        alice.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
        alice
    };
    let labels = || server.entry("sync", "alice").unwrap().totp;
    let reason = || server.log_in("alice", PASSWORD.0, None).unwrap_err();
    let tokens = |tokens: Value| json!({ "password_import": PASSWORD.1, "totp_import": tokens });
    client.apply(&first(json!([alice(tokens(json!([token("b"), token("a"), token("a")])))])));
    assert_eq!(labels(), ["a", "b"], "a label counts once");
    assert!(reason().contains("PasswordTotp"), "{}", reason());
    client.apply(&next(json!([alice(tokens(json!([token("c")])))])));
    assert_eq!(labels(), ["c"], "the others go");
    client.apply(&next(json!([alice(json!({ "password_import": PASSWORD.1 }))])));
    assert_eq!(labels(), [""; 0]);
    assert_eq!(server.log_in("alice", PASSWORD.0, None), Ok(()), "the password alone");

    // A password that the next POST lacks does not help a token.
    let refused = |keys: Value| {
        let answer = client.post(&next(json!([alice(keys)])));
        (answer.status, answer.body)
    };
    let (status, body) = refused(json!({ "totp_import": [token("a")] }));
    assert!(status == 500 && body.contains("credimport"), "{status} {body}");
    let with = |key: &str, value: Value| {
        let mut token = token("a");
        token[key] = value;
        refused(tokens(json!([token])))
    };
    for (key, value) in [
        ("digits", json!(7)),
        ("digits", json!("6")),
        ("step", json!(29)),
        ("step", json!("30")),
        ("algo", json!("sha384")),
        ("algo", json!("SHA1")),
        ("secret", json!("no base64")),
        ("external_id", json!(1)),
    ] {
        let (status, body) = with(key, value.clone());
        assert!(
            status == 400 && body.contains("invalidattribute"),
            "{key} {value}: {status} {body}"
        );
    }
    assert_eq!(with("step", json!(86_400)).0, 200);
    assert_eq!(refused(tokens(json!([]))).0, 400, "an empty list");
    // Imports cannot be yielded.
    server.yield_attributes("sync", &["totp_import", "password_import"]);
    client.apply(&next(json!([alice(tokens(json!([token("d")])))])));
    assert_eq!(labels(), ["d"]);
}

#[test]
fn every_status() {
    let (server, account) = start();
    let other = server.create_sync_account("other");
    let mut client = Client::new(&server, &account);
    client.apply(&first(json!([person(1, "alice")])));
    Client::new(&server, &other).apply(&first(json!([person(2, "bob")])));

    let send = |client: &Client, method: &str, path: &str, content_type: &str, body: &[u8]| {
        let answer = client.send(method, path, content_type, body).unwrap();
        assert!(answer.own, "every answer has an operation id: {answer:?}");
        (answer.status, answer.content_type, answer.body)
    };
    let json_type = "application/json";
    let post =
        |client: &Client, body: &[u8]| send(client, "POST", "/scim/v1/Sync", json_type, body);
    let (status, content_type, _) = post(&client, b"{\"from_state\":");
    assert_eq!((status, content_type.starts_with("text/plain")), (400, true));
    assert_eq!(post(&client, b"{}").0, 422);
    assert_eq!(send(&client, "POST", "/scim/v1/Sync", "text/plain", b"{}").0, 415);
    assert_eq!(
        send(&client, "POST", "/scim/v1/Sync", "application/json; charset=utf-8", b"{}").0,
        422
    );
    assert_eq!(send(&client, "PUT", "/scim/v1/Sync", json_type, b"{}").0, 405);
    assert_eq!(send(&client, "GET", "/scim/v1/Nothing", "", b"").0, 404);

    let bad_mail = json!({ "schemas": PERSON, "id": uuid(3), "externalId": "uid=c,dc=x", "name": "c", "displayname": "c",
        "mail": [{ "value": "nobody" }] });
    let (status, _, body) = post(&client, next(json!([bad_mail])).to_string().as_bytes());
    assert_eq!((status, body.starts_with(r#"{"schemaviolation":"#)), (400, true), "{body}");
    let (status, _, body) = post(
        &client,
        sync(active("YQ"), json!([]), json!({ "Delete": [uuid(2)] })).to_string().as_bytes(),
    );
    assert_eq!(
        (status, body.as_str()),
        (403, r#""accessdenied""#),
        "an entry of another authority"
    );
    let (status, _, body) = post(&client, next(json!([person(3, "bob")])).to_string().as_bytes());
    assert_eq!(status, 409);
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(body["conflicting_attributes"], json!(["name", "sync_external_id"]));
    assert!(body["error"].is_string());

    client.token = server.user_token();
    assert_eq!(client.state().body, r#""serdejsonerror""#);
    assert_eq!(client.state().status, 500);
    client.token = "nonsense".into();
    assert_eq!(
        (client.state().status, client.state().body.as_str()),
        (401, r#""notauthenticated""#)
    );
    assert_eq!(post(&client, b"{}").0, 422, "the shape is looked at before the token");
    assert_eq!(post(&client, first(json!([])).to_string().as_bytes()).0, 401);
    assert_eq!(server.entries("sync").len(), 1, "whatever failed left nothing");
}

#[test]
fn the_limit_of_a_body_is_32_mib() {
    let (server, account) = start();
    let client = Client::new(&server, &account);
    let limit = 32 * 1024 * 1024;
    let mut body = first(json!([])).to_string().into_bytes();
    body.resize(limit, b' ');
    assert_eq!(
        client.send("POST", "/scim/v1/Sync", "application/json", &body).unwrap().status,
        200
    );
    assert_eq!(server.log().last().unwrap().body_bytes, Some(limit));
    body.push(b' ');
    // The answer comes while the client still sends, so it may not get it: closing is as good.
    if let Ok(answer) = client.send("POST", "/scim/v1/Sync", "application/json", &body) {
        assert_eq!(
            (answer.status, answer.content_type.as_str()),
            (413, "text/plain; charset=utf-8")
        );
    }
    server.wait_until_idle();
    assert_eq!(server.log().last().unwrap().status, Some(413));
}

#[test]
fn conflicts_with_kanidms_own_entries() {
    let (server, account) = start();
    let client = Client::new(&server, &account);
    server.create_person("carol", Some(5001), Some("carol@x.org"));
    server.create_group("staff", Some(5002));
    let conflict = |entry: Value| {
        let answer = client.post(&first(json!([entry])));
        assert_eq!(answer.status, 409, "{}", answer.body);
        serde_json::from_str::<Value>(&answer.body).unwrap()["conflicting_attributes"].clone()
    };
    assert_eq!(conflict(person(1, "staff")), json!(["name"]));
    let mut posix = person(1, "dave");
    posix["schemas"] = json!([PERSON[0], PERSON[1], POSIX]);
    posix["gidnumber"] = json!(5002);
    posix["mail"] = json!([{ "value": "carol@x.org" }]);
    assert_eq!(conflict(posix), json!(["gidnumber", "mail"]));
    assert_eq!(
        client.post(&first(json!([person(1, "erin"), person(2, "erin")]))).status,
        409,
        "twice in one request"
    );

    let plain = KanidmServer::start_with(KanidmOptions {
        plain_conflicts: true,
        ..KanidmOptions::default()
    });
    plain.create_group("staff", None);
    let answer = Client::new(&plain, &plain.create_sync_account("sync"))
        .post(&first(json!([person(1, "staff")])));
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (500, r#"{"plugin":{"attrunique":"duplicate value detected"}}"#)
    );
}

#[test]
fn faults_happen_when_they_should_and_the_log_tells() {
    let (server, account) = start();
    let client = Client::new(&server, &account);
    let count = || server.entries("sync").len();

    server.fault(Fault::closed(Moment::Received));
    client.try_post(&first(json!([person(1, "a")]))).expect_err("closed before");
    assert_eq!(count(), 0);
    server.fault(Fault::closed(Moment::Applied));
    client.try_post(&first(json!([person(1, "a")]))).expect_err("closed, and rolled back");
    assert_eq!((count(), server.state("sync")), (0, State::Refresh));
    server.fault(Fault::closed(Moment::Committed));
    client.try_post(&first(json!([person(1, "a")]))).expect_err("closed, though it is done");
    assert_eq!((count(), server.state("sync")), (1, State::Active { cookie: "YQ".into() }));

    server.fault(Fault::status(Moment::Received, 503, "busy").only("POST").after(1).times(2));
    assert_eq!(client.state().status, 200, "not a POST");
    let answers: Vec<_> =
        (2..6).map(|n| client.post(&next(json!([person(n, &format!("p{n}"))])))).collect();
    assert_eq!(
        answers.iter().map(|answer| answer.status).collect::<Vec<_>>(),
        [200, 503, 503, 200]
    );
    assert_eq!((answers[1].body.as_str(), answers[1].own), ("busy", false));
    server.fault(Fault::own_status(Moment::Applied, 408, ""));
    let answer = client.post(&next(json!([person(9, "late")])));
    assert_eq!((answer.status, answer.own, count()), (408, true, 3));
    server.fault(Fault::delay(Moment::Applied, Duration::from_millis(1)));
    client.apply(&next(json!([{ "schemas": [], "id": uuid(7), "externalId": "uid=stub,dc=x" }])));
    assert_eq!(server.pending_faults(), 0);
    server.fault(Fault::closed(Moment::Received).times(9));
    server.clear_faults();
    client.apply(&sync(active("YQ"), json!([]), json!({ "Retain": [uuid(1), uuid(7)] })));

    server.wait_until_idle();
    let log = server.log();
    let summary: Vec<_> = log
        .iter()
        .map(|line| (line.method.as_str(), line.status, line.committed, line.fault.is_some()))
        .collect();
    assert_eq!(
        summary,
        [
            ("POST", None, false, true),
            ("POST", None, false, true),
            ("POST", None, true, true),
            ("GET", Some(200), false, false),
            ("POST", Some(200), true, false),
            ("POST", Some(503), false, true),
            ("POST", Some(503), false, true),
            ("POST", Some(200), true, false),
            ("POST", Some(408), false, true),
            ("POST", Some(200), true, true),
            ("POST", Some(200), true, false),
        ]
    );
    let posts = server.posts();
    let last = posts.last().unwrap();
    assert_eq!((last.entries, last.retain.as_str(), last.retain_count), (0, "Retain", 2));
    assert_eq!(
        (last.from_state.clone(), last.to_state.clone()),
        (State::Active { cookie: "YQ".into() }, State::Active { cookie: "YQ".into() })
    );
    let stub = &posts[posts.len() - 2];
    assert_eq!((stub.entries, stub.stubs, stub.retain.as_str()), (1, 1, "Ignore"));
    server.clear_log();
    assert!(server.log().is_empty());
}

#[test]
fn a_request_that_takes_too_long_gets_408_and_goes_on() {
    let server =
        KanidmServer::start_with(KanidmOptions { time_limit: Some(1), ..KanidmOptions::default() });
    let account = server.create_sync_account("sync");
    let client = Client::new(&server, &account);
    server.fault(Fault::delay(Moment::Applied, Duration::from_secs(4)));
    let answer = client.post(&first(json!([person(1, "a")])));
    assert_eq!((answer.status, answer.own), (408, true));
    server.wait_until_idle();
    assert_eq!(server.entries("sync").len(), 1);
}

#[test]
fn a_database_file_survives_the_death_of_the_server() {
    let folder = TempDir::new("kanidm-db");
    let database = Some(folder.path().join("kanidm.db"));
    let mut server =
        KanidmServer::start_with(KanidmOptions { database, ..KanidmOptions::default() });
    let account = server.create_sync_account("sync");
    let url = server.url();
    Client::new(&server, &account).apply(&first(json!([person(1, "a")])));
    for (n, moment, expected) in
        [(2, Moment::Received, 1), (3, Moment::Applied, 1), (4, Moment::Committed, 2)]
    {
        server.fault(Fault::death(moment));
        Client::new(&server, &account)
            .try_post(&next(json!([person(n, &format!("p{n}"))])))
            .expect_err("it died");
        server.restart();
        assert_eq!(server.entries("sync").len(), expected, "died when {moment:?}");
    }
    server.kill();
    server.restart();
    assert_eq!(server.url(), url);
    assert_eq!(
        Client::new(&server, &account).state().body,
        r#"{"Active":{"cookie":"YQ"}}"#,
        "the token is still good"
    );
}

#[test]
fn other_certificates_and_the_end() {
    let trusted = KanidmServer::start();
    let account = trusted.create_sync_account("sync");
    for identity in [
        trusted.pki().expired(),
        trusted.pki().not_yet_valid(),
        trusted.pki().host(&["other.example.com"]),
    ] {
        let server = KanidmServer::start_with(KanidmOptions {
            identity: Some(identity.clone()),
            ..KanidmOptions::default()
        });
        let client = Client { server: &server, ..Client::new(&trusted, &account) };
        let error = client
            .send("GET", "/scim/v1/Sync", "", b"")
            .expect_err("a certificate that is no good");
        assert!(error.to_string().contains("certificate"), "{identity:?}: {error}");
    }
    let stranger = crate::support::pki::Pki::new();
    let server = KanidmServer::start_with(KanidmOptions {
        identity: Some(stranger.localhost()),
        ..KanidmOptions::default()
    });
    let client = Client { server: &server, ..Client::new(&trusted, &account) };
    client.send("GET", "/scim/v1/Sync", "", b"").expect_err("of an authority that is not trusted");

    let pid = server.pid();
    drop(server);
    assert!(!crate::support::process::is_running(pid));
}

/// The test runs itself as another process, which starts a server and waits, and kills that
/// process.
#[test]
fn ends_when_the_test_is_killed() {
    const INNER: &str = "KLS_KANIDM_INNER";
    if std::env::var_os(INNER).is_some() {
        let server = KanidmServer::start();
        println!("server: {}", server.pid());
        loop {
            std::thread::park();
        }
    }
    let mut inner = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kanidm_server::ends_when_the_test_is_killed", "--nocapture"])
        .env(INNER, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = std::io::BufReader::new(inner.stdout.take().unwrap());
    let pid = std::io::BufRead::lines(output)
        .find_map(|line| line.unwrap().split_once("server: ")?.1.parse().ok())
        .expect("it started");
    assert!(crate::support::process::is_running(pid));
    inner.kill().unwrap();
    inner.wait().unwrap();
    let begin = std::time::Instant::now();
    while crate::support::process::is_running(pid) {
        assert!(
            begin.elapsed() < crate::support::process::PATIENCE,
            "the server outlives the test"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}
