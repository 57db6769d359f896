//! TOTP tokens: what a person becomes with each kind of answer, without servers.

use kanidm_ldap_sync::config::sync::{InvalidEntries, MappingConfig};
use kanidm_ldap_sync::content::rules::totp::TotpParams;
use kanidm_ldap_sync::mapping::totp::{
    TokenBatch, TokenEntry, TokenProblem, Tokens, read_params, token, without_dn,
};
use kanidm_ldap_sync::mapping::{Content, Mapper, SkipReason};
use ldap_content_sync::ResultCode;
use serde_json::{Value, json};

use crate::samples::*;

const SSHA: &str = "{SSHA}sLRx2RD53fUcGsJIySAwPUKAJAGpm4TW1v7ZIg==";
const LEFT_OUT: &str = "must not be sent alone: none of the person's TOTP tokens can be sent, and Kanidm would accept the password without a second factor";

fn config_with(invalid_entries: InvalidEntries) -> MappingConfig {
    let mut cfg = MappingConfig { invalid_entries, ..config() };
    cfg.person.totp = Some("oathTOTPToken".to_owned());
    cfg
}

fn token_dn(name: &str) -> String {
    format!("cn={name},ou=tokens,dc=example,dc=com")
}

/// A person with a password and these tokens.
fn bob(tokens: &[&str]) -> TestEntry {
    let bob = person(1, "bob").with("uidNumber", "20000").with("userPassword", SSHA);
    tokens.iter().fold(bob, |bob, name| bob.with("oathtotptoken", token_dn(name)))
}

/// A token entry without the attributes that are left out.
fn token_entry(without: &str) -> TokenEntry {
    let entry = TestEntry::new(2, &token_dn("a"))
        .with("oathSecret", [0, 255, 10, 200])
        .with("oathTOTPParams", "cn=params,dc=x");
    let mut read = None;
    decoded(&entry.without(without), |entry| read = Some(TokenEntry::read(entry)));
    read.expect("an entry")
}

fn params(without: &str, change: (&str, &str)) -> Result<TotpParams, TokenProblem> {
    let entry = TestEntry::new(3, "cn=params,dc=x")
        .with("oathHMACAlgorithm", "1.2.840.113549.2.9")
        .with("oathOTPLength", "8")
        .with("oathTOTPTimeStepPeriod", "60");
    let entry = if change.0.is_empty() { entry } else { entry.set(change.0, change.1) };
    let mut read = None;
    decoded(&entry.without(without), |entry| read = Some(read_params(entry)));
    read.expect("an entry")
}

fn good() -> Tokens {
    tokens(&["a", "b"])
}

fn tokens(names: &[&str]) -> Tokens {
    let one = || token(Some(token_entry("")), Some(params("", ("", ""))));
    names.iter().map(|name| (token_dn(name), one())).collect()
}

/// A full run over some entries, with these answers to every question.
fn map_with(cfg: &MappingConfig, entries: &[TestEntry], tokens: &Tokens) -> Content {
    let mut mapper = Mapper::new(cfg, true);
    entries.iter().for_each(|entry| feed(&mut mapper, entry));
    while let Some(batch) = mapper.next_tokens(10) {
        mapper.answer_tokens(batch, tokens);
    }
    mapper.finish()
}

fn named_problems(content: &Content) -> Vec<(&str, &str)> {
    content.dropped.iter().map(|d| (d.attribute.as_str(), d.rule.as_str())).collect()
}

fn sent_token(name: &str) -> Value {
    json!({ "external_id": token_dn(name), "secret": "AP8KyA==", "algo": "sha256", "step": 60, "digits": 8 })
}

#[test]
fn tokens_are_sent_with_the_password() {
    let content = map_with(&config_with(InvalidEntries::Fail), &[bob(&["a", "b", "a"])], &good());
    let bob = only(&content);
    assert_eq!(bob["totp_import"], json!([sent_token("a"), sent_token("b")]));
    assert_eq!(bob["password_import"], SSHA);
    assert_eq!((content.held.len(), content.dropped.len(), content.with_tokens), (0, 0, 1));
}

#[test]
fn one_good_token_is_enough_and_the_other_one_is_named() {
    let cfg = config_with(InvalidEntries::DropValue);
    let content = map_with(&cfg, &[bob(&["a", "gone"])], &good());
    let bob = only(&content);
    assert_eq!(
        (&bob["totp_import"], &bob["password_import"]),
        (&json!([sent_token("a")]), &json!(SSHA))
    );
    let [("oathTOTPToken", rule)] = named_problems(&content)[..] else { panic!("one problem") };
    assert!(rule.ends_with(&format!(". Token: {}", token_dn("gone"))), "{rule}");
    assert!(!without_dn(rule).contains("gone"), "{rule}");
    assert_eq!((content.contested.len(), content.hidden_tokens.len()), (1, 0));
}

#[test]
fn without_an_answer_there_is_no_password() {
    let mut cfg = config_with(InvalidEntries::DropValue);
    cfg.person.password_as_unix = true;
    for content in [map(&cfg, &[bob(&["a"])]), map_with(&cfg, &[bob(&["a"])], &Tokens::new())] {
        let bob = only(&content);
        assert_eq!((bob.get("totp_import"), bob.get("password_import")), (None, None));
        assert_eq!(bob["unix_password_import"], SSHA, "it never asks for a code");
        let [("oathTOTPToken", _), ("userpassword", LEFT_OUT)] = named_problems(&content)[..]
        else {
            panic!("{:?}", content.dropped)
        };
        assert_eq!(
            (content.contested.len(), content.with_tokens, content.hidden_tokens.len()),
            (1, 1, 1)
        );
    }
}

#[test]
fn bad_tokens_are_told_from_hidden_ones() {
    let good = || Some(params("", ("", "")));
    let cases = [
        (token(None, good()), "does not exist", true),
        (token(Some(token_entry("oathSecret")), good()), "no oathSecret", true),
        (token(Some(token_entry("oathTOTPParams")), good()), "no oathTOTPParams", true),
        (token(Some(token_entry("")), None), "parameters (oathTOTPParams) that do not exist", true),
        (
            token(Some(token_entry("")), Some(params("oathOTPLength", ("", "")))),
            "parameters (oathTOTPParams)",
            true,
        ),
        (
            token(Some(token_entry("")), Some(params("", ("oathOTPLength", "7")))),
            "must be 6 or 8",
            false,
        ),
        (
            token(Some(token_entry("")), Some(params("", ("oathHMACAlgorithm", "1.2.3")))),
            "oathHMACAlgorithm must be",
            false,
        ),
        (
            token(Some(token_entry("")), Some(params("", ("oathTOTPTimeStepPeriod", "1")))),
            "from 30 to 86400",
            false,
        ),
    ];
    for (answer, rule, hidden) in cases {
        assert!(answer.is_err(), "{rule}");
        let answers: Tokens = [(token_dn("a"), answer)].into_iter().collect();
        let content = map_with(&config_with(InvalidEntries::DropValue), &[bob(&["a"])], &answers);
        let problems = named_problems(&content);
        assert!(problems[0].1.contains(rule), "{rule}: {problems:?}");
        assert_eq!(content.hidden_tokens.len(), usize::from(hidden), "{rule}");
        assert_eq!(only(&content).get("password_import"), None, "{rule}");
    }
}

#[test]
fn policies_hold_the_person_and_its_groups_keep_it() {
    for policy in [InvalidEntries::Hold, InvalidEntries::Fail] {
        let cfg = config_with(policy);
        let team = group(5, "team").with("member", "uid=bob,ou=people,dc=example,dc=com");
        let other = person(2, "carol").with("uidNumber", "20001");
        let content = map_with(&cfg, &[bob(&["gone"]), other, team], &good());
        assert_eq!((content.persons, content.groups, content.dropped.len()), (1, 1, 0));
        assert_eq!(members(&content, "team"), ["uid=bob,ou=people,dc=example,dc=com"]);
        let found = problems(&content);
        assert_eq!(found[1], ("userpassword".to_owned(), LEFT_OUT.to_owned()));
        assert!(found[0].1.contains("does not exist"), "{found:?}");
        assert!(sent(&content).iter().all(|entry| entry["name"] != "bob"));
        assert_eq!(content.hidden_tokens.len(), 0, "Kanidm keeps the password and the token");
    }
    // The end of an account does not wait for a token.
    let ended = bob(&["gone"]).with("nsAccountLock", "true");
    let content = map_with(&config_with(InvalidEntries::Hold), &[ended], &good());
    assert_eq!(only(&content)["account_expire"], "1970-01-01T00:00:00Z");
}

#[test]
fn a_token_without_a_password_is_named_unless_the_account_is_locked() {
    let cfg = config_with(InvalidEntries::DropValue);
    for (password, named) in [(None, 1), (Some("{SASL}bob@EXAMPLE.COM"), 2), (Some("!{SSHA}x"), 0)]
    {
        let bob = bob(&["a"]).without("userPassword");
        let bob = password.iter().fold(bob, |bob, password| bob.with("userPassword", password));
        let content = map_with(&cfg, &[bob], &good());
        assert_eq!(content.dropped.len(), named, "{password:?}: {:?}", content.dropped);
        let bob = only(&content);
        assert_eq!((bob.get("totp_import"), bob.get("password_import")), (None, None));
        assert_eq!((content.contested.len(), content.with_tokens), (0, 0));
    }
}

#[test]
fn values_that_are_no_dn_name_no_token_and_are_not_repeated() {
    let cfg = config_with(InvalidEntries::DropValue);
    let long = format!("cn={}", "x".repeat(9_000));
    for value in ["JBSWY3DPEHPK3PXP", "cn", &long, "\u{0}"] {
        let content = map_with(&cfg, &[bob(&[]).with("oathTOTPToken", value)], &good());
        assert_eq!(
            named_problems(&content),
            [("oathTOTPToken", "must be the DN of a token"), ("userpassword", LEFT_OUT)]
        );
        assert_eq!(only(&content).get("password_import"), None);
    }
    let content = map_with(&cfg, &[bob(&[]).with("oathTOTPToken", [0xff, 0xfe])], &good());
    assert_eq!(only(&content).get("password_import"), None);
}

#[test]
fn of_very_many_tokens_none_is_sent() {
    let cfg = config_with(InvalidEntries::DropValue);
    let names: Vec<String> = (0..11).map(|n| format!("t{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let content = map_with(&cfg, &[bob(&names[..10])], &tokens(&names));
    assert_eq!(only(&content)["totp_import"].as_array().map(Vec::len), Some(10));
    let content = map_with(&cfg, &[bob(&names)], &tokens(&names));
    assert_eq!(only(&content).get("password_import"), None);
    assert_eq!(
        named_problems(&content),
        [("oathTOTPToken", "must have at most 10 values, and has 11"), ("userpassword", LEFT_OUT)]
    );
}

#[test]
fn what_was_not_read_of_a_large_entry_is_a_second_factor() {
    let cfg = config_with(InvalidEntries::DropValue);
    let large = bob(&[]).with("oathTOTPToken", vec![b'x'; 20_000]);
    let content = map_beyond(12_800, &cfg, &[large]);
    assert_eq!(only(&content).get("password_import"), None, "{:?}", content.dropped);
}

#[test]
fn a_token_that_is_too_large_to_be_read_is_not_hidden() {
    let large = vec![b'1'; 20_000];
    let (mut entry, mut of_params) = (None, None);
    for (attribute, other) in [("oathSecret", "oathTOTPParams"), ("oathTOTPParams", "oathSecret")] {
        let token_entry = TestEntry::new(2, &token_dn("a"))
            .with(attribute, &large[..])
            .with(other, "cn=params,dc=x");
        decoded_beyond(12_800, &token_entry, |found| entry = Some(TokenEntry::read(found)));
        let answers: Tokens = [(token_dn("a"), token(entry.take(), None))].into_iter().collect();
        let content = map_with(&config_with(InvalidEntries::DropValue), &[bob(&["a"])], &answers);
        let problems = named_problems(&content);
        let starts = "the token cannot be sent: its entry exceeds max_ber_size";
        assert!(problems[0].1.starts_with(starts), "{attribute}: {problems:?}");
        assert!(content.hidden_tokens.is_empty(), "{attribute}");
    }
    let entry = TestEntry::new(3, "cn=params,dc=x").with("oathOTPLength", &large[..]);
    decoded_beyond(12_800, &entry, |found| of_params = Some(read_params(found)));
    let problem = of_params.and_then(Result::err).expect("a problem").to_string();
    assert!(problem.contains("the entry of its parameters exceeds max_ber_size"), "{problem}");
}

#[test]
fn a_token_without_an_answer_holds_the_person_under_every_policy() {
    let unanswered = || Err(TokenProblem::Unanswered(ResultCode::UNAVAILABLE));
    let cfg = config_with(InvalidEntries::DropValue);
    let mut answers = good();
    answers.insert(token_dn("b"), unanswered());
    let team = || group(5, "team").with("member", "uid=bob,ou=people,dc=example,dc=com");
    let content = map_with(&cfg, &[bob(&["a", "b"]), team()], &answers);
    assert_eq!((content.persons, content.dropped.len(), content.hidden_tokens.len()), (0, 0, 0));
    assert_eq!(members(&content, "team"), ["uid=bob,ou=people,dc=example,dc=com"]);
    let rule = format!(
        "the directory did not answer for the token (unavailable (52)). Token: {}",
        token_dn("b")
    );
    assert_eq!(problems(&content), [("oathTOTPToken".to_owned(), rule)]);
    assert_eq!(content.held[0].ended, None);
    // An account that has ended is closed. An end that Kanidm cannot learn yet is named.
    let ended = map_with(&cfg, &[bob(&["b"]).with("nsAccountLock", "true")], &answers);
    let end = ended.held[0].ended.as_ref().expect("an end");
    assert_eq!(
        (end.name.as_deref(), end.account_expire.as_str()),
        (Some("bob"), "1970-01-01T00:00:00Z")
    );
    assert!(sent(&ended).is_empty());
}

#[test]
fn tokens_are_asked_for_in_batches() {
    let cfg = config_with(InvalidEntries::DropValue);
    let mut mapper = Mapper::new(&cfg, true);
    for id in 1..=25 {
        let name = format!("user{id}");
        let token = token_dn(if id % 2 == 0 { "shared" } else { &name });
        feed(
            &mut mapper,
            &person(id, &name).with("userPassword", SSHA).with("oathTOTPToken", token),
        );
        feed(&mut mapper, &person(id + 100, &format!("none{id}")).with("userPassword", SSHA));
    }
    let mut sizes = Vec::new();
    while let Some(batch) = mapper.next_tokens(10) {
        let TokenBatch { dns, .. } = &batch;
        sizes.push(dns.len());
        let shared = tokens(&["shared"]);
        mapper.answer_tokens(batch, &shared);
    }
    assert_eq!(sizes, [6, 6, 4], "five of their own and the shared one");
    let content = mapper.finish();
    assert_eq!((content.persons, content.with_tokens, content.hidden_tokens.len()), (50, 25, 13));
    // Long names make small batches.
    let mut mapper = Mapper::new(&cfg, true);
    for id in 1..=200 {
        let token = format!("cn={id}{},dc=x", "x".repeat(8_000));
        feed(
            &mut mapper,
            &person(id, &format!("user{id}"))
                .with("userPassword", SSHA)
                .with("oathTOTPToken", token),
        );
    }
    let first = mapper.next_tokens(1_000).expect("a batch");
    assert!((100..200).contains(&first.dns.len()), "{}", first.dns.len());
}

#[test]
fn token_entries_are_no_persons_of_another_class() {
    let cfg = config_with(InvalidEntries::DropValue);
    let entry = |id: u128, class: &str| {
        TestEntry::new(id, &token_dn(&format!("t{id}")))
            .with("objectClass", "organizationalRole")
            .with("objectClass", class)
            .with("uid", "somebody")
    };
    let entries = [entry(1, "oathTOTPToken"), entry(2, "OATHTOTPPARAMS"), entry(3, "device")];
    let content = map(&cfg, &entries);
    let reasons: Vec<SkipReason> = content.skipped.iter().map(|skipped| skipped.reason).collect();
    assert_eq!(reasons, [SkipReason::Token, SkipReason::Token, SkipReason::NotMapped]);
    assert_eq!(content.unmapped_users, 1);
    let content = map(&config(), &entries);
    assert!(content.skipped.iter().all(|skipped| skipped.reason == SkipReason::NotMapped));

    let mut mapper = Mapper::new(&cfg, false);
    feed(&mut mapper, &entry(1, "oathTOTPToken"));
    assert_eq!(
        (&mapper.changed_tokens().dns[..], mapper.changed_tokens().everybody),
        (&[token_dn("t1")][..], false)
    );
    feed(&mut mapper, &entry(2, "oathTOTPParams"));
    assert!(mapper.changed_tokens().everybody);
    let mut mapper = Mapper::new(&cfg, false);
    for id in 0..1_001 {
        feed(&mut mapper, &entry(id, "oathTOTPToken"));
    }
    assert!(mapper.changed_tokens().everybody && mapper.changed_tokens().dns.len() <= 1_000);
}
