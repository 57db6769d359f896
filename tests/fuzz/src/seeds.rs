//! What the fuzzers start from: captures of real servers, golden files and examples of this
//! repository, and a few texts that hold each form of a grammar once. Made when a target starts, so
//! that no corpus needs to be kept.

use crate::sync_config::MARKER;
use kanidm_ldap_sync::kanidm::buckets::Buckets;
use kanidm_ldap_sync::kanidm::known::Known;
use kanidm_ldap_sync::kanidm::missed::Missed;
use kanidm_ldap_sync::kanidm::roster::Roster;
use kanidm_ldap_sync::kanidm::sketch::Sketch;
use kanidm_ldap_sync::kanidm::state::Yielded;
use kanidm_ldap_sync::kanidm::state::{Envelope, SyncState, Unfinished};
use kanidm_ldap_sync::metrics::{Failure, LastRun, Metrics, Success, text};
use ldap_content_sync::{Frame, LdapMessage, Limits, ProtocolOp, frame};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// A seed that is larger slows a target down more than it shows.
const LARGEST: usize = 16 * 1024;

/// Writes the seeds of a target into the folder that `FUZZ_SEEDS` names, if it names one.
pub fn write(target: &str) {
    let Some(folder) = std::env::var_os("FUZZ_SEEDS").map(PathBuf::from) else { return };
    let seeds = of(target);
    assert!(seeds.len() >= 3, "{target} has {} seeds", seeds.len());
    for (number, seed) in seeds.iter().enumerate() {
        fs::write(folder.join(format!("seed-{number:04}")), seed).unwrap();
    }
}

/// The seeds of a target, each once.
pub fn of(target: &str) -> BTreeSet<Vec<u8>> {
    let seeds: Vec<Vec<u8>> = match target {
        "frame" => messages()
            .into_iter()
            .flat_map(|message| [prefixed(&[0xff, 0xff], &message), prefixed(&[0, 64], &message)])
            .collect(),
        "message" => messages(),
        "session" | "listener" => refreshes(),
        "filter" => texts(FILTERS),
        "dn" => names(),
        "sync_config" => sync_configs(),
        "client_config" => client_configs(),
        "cron" => CRON.iter().map(|text| prefixed(&[0x6a, 0, 0, 0], text.as_bytes())).collect(),
        "envelope" => envelopes(),
        "answer" => ANSWERS
            .iter()
            .flat_map(|(status, body)| [0, 1].map(|id| answer(*status, id, body)))
            .collect(),
        "entry" => entries(),
        "metrics" => metrics(),
        _ => panic!("no target of the name {target}"),
    };
    seeds.into_iter().filter(|seed| seed.len() <= LARGEST).collect()
}

fn prefixed(prefix: &[u8], rest: &[u8]) -> Vec<u8> {
    [prefix, rest].concat()
}

fn texts(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// What servers have sent, by capture.
fn captures() -> Vec<Vec<u8>> {
    let mut captures = BTreeMap::new();
    let folders = fs::read_dir(repository().join("fixtures/captures"))
        .unwrap()
        .map(|entry| entry.unwrap().path());
    for file in folders.filter(|path| path.is_dir()).flat_map(|path| fs::read_dir(path).unwrap()) {
        let path = file.unwrap().path();
        let name = path.to_string_lossy().into_owned();
        if name.ends_with(".ber") && !name.ends_with(".req.ber") {
            captures.insert(name, fs::read(path).unwrap());
        }
    }
    assert!(captures.len() > 200, "{} captures", captures.len());
    captures.into_values().collect()
}

fn frames(mut stream: &[u8]) -> Vec<&[u8]> {
    let mut frames = Vec::new();
    while let Ok(Frame::Complete { len }) = frame(stream, Limits::default().max_message) {
        let (message, rest) = stream.split_at(len);
        frames.push(message);
        stream = rest;
    }
    frames
}

/// Captured messages: of each operation one of each length.
fn messages() -> Vec<Vec<u8>> {
    let mut messages = BTreeMap::new();
    for capture in captures() {
        for message in frames(&capture).into_iter().filter(|message| message.len() < 2048) {
            let decoded = LdapMessage::decode(message, &Limits::default()).unwrap();
            messages.entry((decoded.op.name(), message.len())).or_insert_with(|| message.to_vec());
        }
    }
    messages.into_values().collect()
}

/// Captured refreshes without the bind before them, for each provider and cookie.
fn refreshes() -> Vec<Vec<u8>> {
    let before = |message: &&&[u8]| {
        let decoded = LdapMessage::decode(message, &Limits::default()).unwrap();
        matches!(decoded.op, ProtocolOp::BindResponse(_) | ProtocolOp::ExtendedResponse(_))
    };
    let streams: BTreeSet<Vec<u8>> = captures()
        .iter()
        .map(|capture| {
            let frames = frames(capture);
            let first = frames.iter().take_while(before).count();
            frames[first..].concat()
        })
        .filter(|stream| !stream.is_empty() && stream.len() < LARGEST)
        .collect();
    let mut seeds = Vec::new();
    for (number, stream) in streams.iter().enumerate() {
        // Two of the twelve each, all of them in turn.
        seeds.extend(
            [number % 12, (number + 6) % 12].map(|choice| prefixed(&[choice as u8], stream)),
        );
    }
    seeds
}

const FILTERS: &[&str] = &[
    "(objectClass=*)",
    "(cn=Babs Jensen)",
    "(!(cn=Tim Howes))",
    "(&(objectClass=Person)(|(sn=Jensen)(cn=Babs J*)))",
    "(o=univ*of*mich*)",
    "(seeAlso=)",
    "(cn:caseExactMatch:=Fred Flintstone)",
    "(cn:=Betty Rubble)",
    "(sn:dn:2.4.6.8.10:=Barney Rubble)",
    "(:1.2.3:=Wilma Flintstone)",
    "(:DN:2.4.6.8.10:=Dino)",
    "(o=Parens R Us \\28for all your parenthetical needs\\29)",
    "(cn=*\\2A*)",
    "(bin=\\00\\00\\00\\04)",
    "(sn=Lu\\c4\\8di\\c4\\87)",
    "(&)",
    "(|)",
    "(a>=1)",
    "(a<=2)",
    "(a~=x)",
    "(cn;lang-de=*x)",
    "\n( cn = \"R (and) D\" )\n",
    "(2.5.4.3=x)",
    "(cn=\u{e4}\u{1f600})",
    "((((",
];

const NAMES: &[&str] = &[
    "",
    "UID=user00014, OU=People, DC=example , dc=com",
    "cn=a+sn=b,dc=x",
    "OID.2.5.4.3=x;2.5.4.11=y",
    "cn=\"quoted, + value\",dc=x",
    "cn=#040268690,dc=x",
    "cn=#04026869,dc=x",
    "cn=\\20lead\\20,dc=x",
    "cn=a\\,b\\+c\\\"d\\\\e\\<f\\>g\\;h\\=i\\#",
    "sn=Lu\\C4\\8Di\\C4\\87",
    "cn=\\ff\\00,dc=x",
    "cn=a   b,dc=x",
    "cn=\u{130}\u{3a3}\u{df},dc=x",
    "cn=,dc=x",
    "commonName=x,organizationalUnitName=y,domainComponent=z",
    "cn",
    "=x",
];

/// The names of the captured entries, and odd spellings.
fn names() -> Vec<Vec<u8>> {
    let mut names: BTreeSet<Vec<u8>> = NAMES.iter().map(|name| name.as_bytes().to_vec()).collect();
    for message in messages() {
        if let ProtocolOp::SearchResultEntry(entry) =
            LdapMessage::decode(&message, &Limits::default()).unwrap().op
        {
            names.insert(entry.dn().as_bytes().to_vec());
            let members = entry
                .attributes()
                .filter(|attribute| attribute.description().eq_ignore_ascii_case("member"));
            names.extend(members.flat_map(|attribute| attribute.values()).map(<[u8]>::to_vec));
        }
    }
    names.into_iter().collect()
}

/// The annotated example as it is, with every key set, and some small ones; where a secret stands
/// there is the marker.
fn sync_configs() -> Vec<Vec<u8>> {
    let example = fs::read_to_string(repository().join("examples/kanidm-ldap-sync")).unwrap();
    let minimal = format!(
        "\nsync_token = \"{MARKER}\"\nldap_uri = \"ldaps://host\"\nldap_sync_dn = \"cn=sync,dc=x\"\n\
         ldap_sync_pw = \"{MARKER}\"\nldap_sync_base_dn = \"dc=x\"\nldap_filter = \"(cn=*)\"\n"
    );
    let mut seeds: Vec<String> = kanidm_ldap_sync::config::keys::KEYS
        .iter()
        .filter_map(|key| key.default.map(|default| format!("{minimal}{} = {default}\n", key.name)))
        .collect();
    let uuid = "ac60034b-3498-11ed-a50d-919b4b1a5ec0";
    let more = [
        "status_bind = \"127.0.0.1:12345\"\nldap_client_cert = \"/c\"\nldap_client_key = \"/k\"\nldap_ca = \"%d/ca\"\n".to_owned(),
        "full_refresh_schedule = \"@daily\"\nmax_ber_size = \"1 GiB\"\nupload_max_bytes = \"1 MiB\"\nperson_attr_legal_name = \"sn\"\n"
            .to_owned(),
        format!(
            "[{uuid}]\nexclude = true\n[ac60034b-349811ed-a50d919b-4b1a5ec1]\nmap_uuid = \"{uuid}\"\nmap_name = \"x\"\nmap_gidnumber = 2000\n"
        ),
        "person_objectclass = [\"a\", 'b']\nsync_passwrd = 1\nldap_timeout = 1e9\nldap_starttls = true\n".to_owned(),
        "sync_token_file = \"%d/token\"\n".to_owned(),
    ];
    seeds.extend(more.map(|more| format!("{minimal}{more}")));
    seeds.push(
        minimal.replace("ldaps://host", "ldapi://%2Frun%2Fslapd").replace("ldap_sync_", "# "),
    );
    seeds.push(format!("\nsync_token = \"{MARKER}\nx"));
    seeds.push(example);
    seeds.into_iter().map(String::into_bytes).collect()
}

fn client_configs() -> Vec<Vec<u8>> {
    let example = fs::read_to_string(repository().join("examples/config")).unwrap();
    let texts = [
        example,
        "https://[2001:db8::1]:8443/\nuri = \"x\"\n".to_owned(),
        "uri = \"https://idm.example.com\"\nverify_ca = false\nverify_hostnames = false\nca_path = \"/ca\"\nconnect_timeout = 5\n"
            .to_owned(),
        "uri = \"http://localhost:8443/\"\n[prod]\nuri = \"https://a.example\"\nconnect_timeout = 0\n[test]\nuri = 'http://x'\n".to_owned(),
    ];
    texts
        .iter()
        .flat_map(|text| (0..8).map(|choice| prefixed(&[choice], text.as_bytes())))
        .collect()
}

const CRON: &[&str] = &[
    "0 */5 * * * * *",
    "0 0 3 * * *",
    "@hourly",
    "@daily",
    "@weekly",
    "@monthly",
    "@yearly",
    "1,2,3-5/2 0-59/7 */3 ? JAN-Mar,june Mon-FRI 2026-2030/2",
    "0 0 0 30 2 *",
    "0 0 0 29 Feb ? 2028",
    "59 59 23 31 12 7 2100",
    "5/3 * * 1 1 sunday",
    "0 0 0 * * 0",
    "60 * * * * *",
    " 0  0 , 1 0\t1-5 / 2 * * ",
];

fn envelopes() -> Vec<Vec<u8>> {
    let id = |number: u128| Uuid::from_u128(0x6ba7_b810_9dad_11d1_0000_0000_0000_0000 + number);
    let full = Envelope {
        cookie: Some(b"rid=000,csn=20261123125319.541811Z#000000#000#000000".to_vec()),
        fingerprint: "0123456789abcdef".repeat(4),
        known: Some(Known {
            persons: Sketch::of((0..5).map(id)),
            groups: Sketch::of((5..7).map(id)),
        }),
        roster: Roster::of((0..7).map(|n| (id(n), 1))),
        missed: Missed::of(0..7),
        held: (0..3).map(id).collect(),
        dropped: (3..5).map(id).collect(),
        matched: Some(Buckets::of(&(0..5).map(id).collect::<Vec<_>>())),
        yielded: Yielded::from(["mail".to_owned()]),
        unfinished: Some(Unfinished { run: id(7), seq: 3, full: true }),
        ..Envelope::default()
    };
    let persons = Sketch::of((0..300).map(id));
    let large = Envelope {
        known: Some(Known { persons, ..Known::default() }),
        held: Vec::new(),
        ..full.clone()
    };
    let mut seeds = vec![
        b"\"Refresh\"".to_vec(),
        b"localhost:16390#cn=sync:dc=x:(cn=*)#12".to_vec(),
        b"{\"kanidm-ldap-sync\":2}".to_vec(),
    ];
    for envelope in [Envelope::default(), full, large] {
        seeds.push(envelope.to_state().to_json().into_bytes());
        seeds.push(envelope.to_bytes());
    }
    seeds.push(SyncState::Active { cookie: b"rid=000".to_vec() }.to_json().into_bytes());
    seeds
}

const ANSWERS: &[(u16, &str)] = &[
    (400, r#"{"schemaviolation":{"invalidattributesyntax":"mail"}}"#),
    (400, r#"{"invalidattribute":"gidnumber"}"#),
    (400, "\"emptyrequest\""),
    (401, "\"notauthenticated\""),
    (403, "\"accessdenied\""),
    (409, r#"{"error":"attributeuniqueness","conflicting_attributes":["name","mail"]}"#),
    (413, "length limit exceeded"),
    (500, r#"{"plugin":{"attrunique":"duplicate value detected"}}"#),
    (500, "\"invalidsyncstate\""),
    (500, "\"backend\""),
    (502, "<html>\r\n<h1>502</h1>"),
    (302, ""),
];

fn answer(status: u16, id: u8, body: &str) -> Vec<u8> {
    let [high, low] = (status - 100).to_be_bytes();
    prefixed(&[high, low, id], body.as_bytes())
}

/// The entries of the golden directory, by themselves and three at a time.
fn entries() -> Vec<Vec<u8>> {
    let ldif = fs::read_to_string(repository().join("fixtures/scim/directory.ldif"))
        .unwrap()
        .replace("\n ", "");
    let entries: Vec<Vec<u8>> =
        ldif.split("\n\n").map(crate::entry::from_ldif).filter(|entry| !entry.is_empty()).collect();
    assert!(entries.len() > 10, "{} entries", entries.len());
    let one = entries
        .iter()
        .enumerate()
        .map(|(number, entry)| prefixed(&[(number as u8).wrapping_mul(11)], entry));
    let three = entries.windows(3).enumerate().map(|(number, three)| {
        prefixed(&[(number as u8).wrapping_mul(7)], &three.join(&b"\n\n"[..]))
    });
    one.chain(three).collect()
}

/// Files of a good run, of a failed one and of a single one, and the start of one.
fn metrics() -> Vec<Vec<u8>> {
    let mut facts = Metrics {
        status_bind: Some("127.0.0.1:12345".to_owned()),
        success: Success {
            ended: Some(1_795_999_000),
            deadline: Some(1_796_000_900),
            held: Some(1),
            dropped: Some(0),
            concerned: Some(1),
            known: Some(1_049),
        },
        follower_connected: Some(true),
        ..Metrics::default()
    };
    facts.run.full = Some(true);
    (facts.run.ended, facts.run.exit_code) = (Some(1_795_999_000), Some(3));
    (facts.run.read, facts.run.persons, facts.run.groups) = (Some(9), Some(8), Some(1));
    (facts.run.deleted, facts.run.members_unresolved) = (Some(0), Some(2));
    facts.run.seconds = Some(1.25);
    let good = text::write(&facts, "/etc/kanidm/ldap-sync");
    facts.run = LastRun {
        ended: Some(1_795_999_300),
        current_until: Some(1_796_000_200),
        exit_code: Some(4),
        failure: Some(Failure::Refused),
        error: Some("refused: \"a\" | b".to_owned()),
        ..LastRun::default()
    };
    let failed = text::write(&facts, "/a\\\"b");
    facts.success = Success::default();
    (facts.status_bind, facts.follower_connected) = (None, None);
    let single = text::write(&facts, "/c");
    let cut = good[..good.len() / 2].to_owned();
    [good, failed, single, cut].map(String::into_bytes).to_vec()
}
