//! TOTP tokens of OpenLDAP's otp overlay move along. On a real slapd with the overlay and the real
//! Kanidm engine: persons log in to both with one password and one code.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;

use crate::support::expect::GROUPS_OF_NAMES;
use crate::support::kanidm::{Fault, Moment};
use crate::support::seed::{SUFFIX, Seed, SeedOptions, user_dn, user_ldif, user_name};
use crate::support::slapd::SlapdOptions;
use crate::support::tool::{ConfigText, Outcome};
use crate::support::world::{ACCOUNT, FILTER, Ran, World};

const USERS: usize = 12;
/// Lets the tokens and their parameters through.
const WITH_TOKENS: &str = "(|(objectClass=posixAccount)(objectClass=groupOfNames)(objectClass=oathTOTPToken)(objectClass=oathTOTPParams))";
const SHA1: &str = "1.2.840.113549.2.7";
const SHA256: &str = "1.2.840.113549.2.9";
const SHA384: &str = "1.2.840.113549.2.10";
const SHA512: &str = "1.2.840.113549.2.11";

/// How a token makes its codes.
#[derive(Clone, Copy)]
struct Params {
    name: &'static str,
    oid: &'static str,
    digits: u32,
    step: u64,
}

const USUAL: Params = Params { name: "usual", oid: SHA1, digits: 6, step: 30 };
const LONG: Params = Params { name: "long", oid: SHA512, digits: 8, step: 60 };
const MIDDLE: Params = Params { name: "middle", oid: SHA256, digits: 6, step: 45 };

impl Params {
    fn dn(self) -> String {
        format!("cn={},ou=tokens,{SUFFIX}", self.name)
    }

    fn ldif(self) -> String {
        let Params { name, oid, digits, step } = self;
        format!(
            "dn: {}\nobjectClass: organizationalRole\nobjectClass: oathTOTPParams\ncn: {name}\noathHMACAlgorithm: {oid}\n\
             oathOTPLength: {digits}\noathTOTPTimeStepPeriod: {step}\noathTOTPTimeStepWindow: 3\n\n",
            self.dn()
        )
    }

    /// The code of this moment, computed by RFC 6238 with another library than the program's and
    /// Kanidm's.
    fn code(self, secret: &[u8]) -> u32 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
        let algorithm = match self.oid {
            SHA1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            SHA256 => hmac::HMAC_SHA256,
            _ => hmac::HMAC_SHA512,
        };
        let tag = hmac::sign(&hmac::Key::new(algorithm, secret), &(now / self.step).to_be_bytes());
        let tag = tag.as_ref();
        let offset = usize::from(tag[tag.len() - 1] & 15);
        let word = u32::from_be_bytes(tag[offset..offset + 4].try_into().expect("four bytes"));
        (word & 0x7fff_ffff) % 10_u32.pow(self.digits)
    }
}

fn token_dn(name: &str) -> String {
    format!("cn={name},ou=tokens,{SUFFIX}")
}

fn token_ldif(name: &str, secret: &[u8], params: Params) -> String {
    format!(
        "dn: {}\nobjectClass: organizationalRole\nobjectClass: oathTOTPToken\ncn: {name}\noathSecret:: {}\noathTOTPParams: {}\n\n",
        token_dn(name),
        STANDARD.encode(secret),
        params.dn()
    )
}

/// A secret with every kind of octet.
fn secret(number: usize) -> Vec<u8> {
    (0..20).map(|n| (number * 37 + n * 91 + 200) as u8).collect()
}

fn password(number: usize) -> String {
    match number % 3 {
        2 => "crypt-secret-1".to_owned(),
        _ => format!("Passw0rd-{}", user_name(number)),
    }
}

/// A directory with parameters, and no token yet.
fn world(filter: &str, configure: impl FnOnce(ConfigText) -> ConfigText) -> World {
    let seed = Seed::Generated(SeedOptions {
        users: USERS,
        groups: 2,
        specials: false,
        ..SeedOptions::default()
    });
    let options =
        SlapdOptions { seed, otp: true, sessionlog: Some(1000), ..SlapdOptions::default() };
    let world = World::with(options, GROUPS_OF_NAMES, filter, |config| {
        configure(config.set("person_attr_totp", "oathTOTPToken"))
    });
    let unit = format!("dn: ou=tokens,{SUFFIX}\nobjectClass: organizationalUnit\nou: tokens\n\n");
    let params: String = [USUAL, LONG, MIDDLE].map(Params::ldif).concat();
    world.slapd.modify(&(unit + &params));
    world
}

/// Gives a user a token of that name.
fn assign(world: &World, number: usize, token: &str) {
    let dn = token_dn(token);
    world.slapd.change(
        &user_dn(number),
        &format!("add: objectClass\nobjectClass: oathTOTPUser\n-\nadd: oathTOTPToken\noathTOTPToken: {dn}"),
    );
}

/// Gives users 1 to `users` a token each.
fn equip(world: &World, users: usize, params: Params) {
    for number in 1..=users {
        let name = format!("token{number}");
        world.slapd.modify(&token_ldif(&name, &secret(number), params));
        assign(world, number, &name);
    }
}

/// Logs in by password and code; again with the next code if a time step ends meanwhile.
#[track_caller]
fn logs_in(world: &World, number: usize, secret: &[u8], params: Params) {
    let code = params.code(secret);
    let outcome = world.kanidm.log_in(&user_name(number), &password(number), Some(code));
    assert_eq!(outcome, Ok(()), "{}", user_name(number));
}

#[track_caller]
fn is_denied(world: &World, number: usize, code: Option<u32>) -> String {
    world
        .kanidm
        .log_in(&user_name(number), &password(number), code)
        .expect_err("Kanidm lets nobody in")
}

fn labels(world: &World, number: usize) -> Vec<String> {
    world.kanidm.entry(ACCOUNT, &user_name(number)).expect("a person").totp
}

/// The values that a run left out, of one person.
fn dropped(ran: &Ran, number: usize) -> Vec<(String, String)> {
    let dn = user_dn(number);
    let dropped = ran.report["dropped"].as_array().expect("a list");
    let of_person = dropped.iter().filter(|entry| entry["dn"] == dn.as_str());
    let text = |value: &serde_json::Value| value.as_str().expect("text").to_owned();
    of_person.map(|entry| (text(&entry["attribute"]), text(&entry["rule"]))).collect()
}

#[test]
fn one_password_and_one_code_for_the_directory_and_kanidm() {
    let world = world(FILTER, |config| config);
    for (number, params) in [(1, USUAL), (2, LONG), (4, MIDDLE)] {
        let name = format!("token{number}");
        world.slapd.modify(&token_ldif(&name, &secret(number), params));
        assign(&world, number, &name);
    }
    world.run_and_compare("first refresh", "full");
    for (number, params) in [(1, USUAL), (2, LONG), (4, MIDDLE)] {
        let reason = is_denied(&world, number, None);
        assert!(reason.contains("PasswordTotp"), "the code is mandatory: {reason}");
        logs_in(&world, number, &secret(number), params);
        assert_eq!(labels(&world, number), [token_dn(&format!("token{number}"))]);
        assert!(binds(&world, number, &secret(number), params), "the overlay takes the same code");
    }
    assert_eq!(world.kanidm.log_in(&user_name(5), &password(5), None), Ok(()));
    let wrong = USUAL.code(&secret(1)).wrapping_add(1) % 1_000_000;
    is_denied(&world, 1, Some(wrong));
}

#[test]
fn a_token_that_changes_or_goes_is_followed() {
    let world = world(WITH_TOKENS, |config| config);
    equip(&world, 6, USUAL);
    let ran = world.run_and_compare("first refresh", "full");
    assert_eq!(ran.report["skipped"].as_array().map(Vec::len), Some(9), "tokens and parameters");

    // Another secret: only the token's entry changes.
    let new = STANDARD.encode(secret(100));
    world.slapd.change(&token_dn("token1"), &format!("replace: oathSecret\noathSecret:: {new}"));
    let ran = world.run_and_compare("another secret", "incremental");
    assert_eq!(ran.report["written"]["persons"], 1, "{}", ran.outcome.all());
    logs_in(&world, 1, &secret(100), USUAL);
    is_denied(&world, 1, Some(USUAL.code(&secret(1))));

    // Other parameters: everybody with a token is sent again.
    world.slapd.change(&USUAL.dn(), "replace: oathOTPLength\noathOTPLength: 8");
    let ran = world.run_and_compare("other parameters", "incremental");
    assert_eq!(ran.report["written"]["persons"], 6, "{}", ran.outcome.all());
    logs_in(&world, 2, &secret(2), Params { digits: 8, ..USUAL });

    // Another token.
    world.slapd.modify(&token_ldif("another", &secret(101), LONG));
    let dn = token_dn("another");
    world.slapd.change(&user_dn(4), &format!("replace: oathTOTPToken\noathTOTPToken: {dn}"));
    world.run_and_compare("another token", "incremental");
    logs_in(&world, 4, &secret(101), LONG);
    assert_eq!(labels(&world, 4), [dn]);

    // No token any more.
    world.slapd.change(
        &user_dn(5),
        "delete: objectClass\nobjectClass: oathTOTPUser\n-\ndelete: oathTOTPToken",
    );
    world.run_and_compare("no token", "incremental");
    assert_eq!(world.kanidm.log_in(&user_name(5), &password(5), None), Ok(()));
    assert_eq!(labels(&world, 5), [""; 0]);

    let ran = world.run_and_compare("nothing", "incremental");
    assert_eq!(&ran.report["written"]["persons"], 0);
}

/// Binds to the directory by password and code, as a user of the overlay does.
fn binds(world: &World, number: usize, secret: &[u8], params: Params) -> bool {
    let mut client = world.slapd.sync();
    client.bind_dn = user_dn(number);
    let width = params.digits as usize;
    client.password = format!("{}{:0width$}", password(number), params.code(secret));
    client.answers()
}

/// slapd recognises no cookie then, until the next change. Only a full refresh is safe.
#[test]
fn a_run_after_a_log_in_to_the_directory_is_a_full_refresh() {
    let world = world(FILTER, |config| config);
    equip(&world, 2, USUAL);
    world.run_and_compare("first refresh", "full");
    assert!(binds(&world, 1, &secret(1), USUAL));
    world.run_and_compare("a log-in", "full");
    world.slapd.change(&user_dn(1), "replace: mail\nmail: new@example.com");
    let ran = world.run_and_compare("a change after a log-in", "incremental");
    assert_eq!(ran.report["written"]["persons"], 1);
}

/// The rule of a password that is left out.
const WITHOUT_FACTOR: &str = "must not be sent alone: none of the person's TOTP tokens can be sent, and Kanidm would accept the password without a second factor";

#[test]
fn a_token_that_kanidm_cannot_take_is_named_and_lets_nobody_in_by_password_alone() {
    let world = world(FILTER, |config| config);
    let odd = [
        (
            1,
            Params { name: "sha384", oid: SHA384, digits: 6, step: 30 },
            "cannot be sent: its oathHMACAlgorithm must be",
        ),
        (
            2,
            Params { name: "seven", oid: SHA1, digits: 7, step: 30 },
            "cannot be sent: its oathOTPLength must be 6 or 8",
        ),
        (
            4,
            Params { name: "fast", oid: SHA1, digits: 6, step: 29 },
            "cannot be sent: its oathTOTPTimeStepPeriod must be from 30",
        ),
    ];
    for (number, params, _) in odd {
        let name = format!("token{number}");
        world.slapd.modify(&(params.ldif() + &token_ldif(&name, &secret(number), params)));
        assign(&world, number, &name);
    }
    assign(&world, 5, "nowhere");
    let mut expected: Vec<(usize, &str)> =
        odd.iter().map(|(number, _, rule)| (*number, *rule)).collect();
    expected.push((5, "does not exist, or the sync account may not read it"));
    world.slapd.modify(&token_ldif("token7", &[7; 129], USUAL));
    assign(&world, 7, "token7");
    expected.push((7, "cannot be sent: its oathSecret has more than 128 bytes"));
    world.slapd.modify(&format!(
        "dn: {}\nobjectClass: organizationalRole\nobjectClass: oathTOTPToken\ncn: token8\noathSecret: abcdefghijklmnop\n",
        token_dn("token8")
    ));
    assign(&world, 8, "token8");
    expected.push((8, "shows the sync account no oathTOTPParams"));
    let ran = world.run(&[], 3);
    let named = |ran: &Ran| {
        for (number, rule) in &expected {
            let found = dropped(ran, *number);
            let [(attribute, of_token), (password, of_password)] = &found[..] else {
                panic!("{number}: {found:?}")
            };
            assert_eq!((attribute.as_str(), password.as_str()), ("oathTOTPToken", "userpassword"));
            let name = if *number == 5 { "nowhere".to_owned() } else { format!("token{number}") };
            let token = format!("the token {rule}");
            assert!(of_token.starts_with(&token), "{token}: {of_token}");
            assert!(of_token.ends_with(&format!(". Token: {}", token_dn(&name))), "{of_token}");
            assert_eq!(of_password, WITHOUT_FACTOR);
            assert!(!world.kanidm.entry(ACCOUNT, &user_name(*number)).unwrap().has_password);
            is_denied(&world, *number, None);
        }
    };
    named(&ran);
    // Nothing has changed: they are named again, and not sent again.
    let ran = world.run(&[], 3);
    assert_eq!(
        (&ran.report["mode"], &ran.report["written"]["persons"]),
        (&"incremental".into(), &0.into())
    );
    named(&ran);

    // The token is repaired, and its person is not touched.
    world.slapd.change(
        &token_dn("token7"),
        &format!("replace: oathSecret\noathSecret:: {}", STANDARD.encode(secret(7))),
    );
    let ran = world.run(&[], 3);
    assert_eq!(ran.report["written"]["persons"], 1);
    assert_eq!(dropped(&ran, 7), []);
    logs_in(&world, 7, &secret(7), USUAL);
    let ran = world.run(&[], 3);
    assert_eq!(ran.report["written"]["persons"], 0);
    logs_in(&world, 7, &secret(7), USUAL);
}

/// Another value that the person still lacks must not delay the token.
#[test]
fn a_repaired_token_is_sent_although_the_mail_address_is_still_taken() {
    // oathTOTPToken has one value only.
    let world = world(FILTER, |config| config.set("person_attr_totp", "seeAlso"));
    for number in [1, 2, 4] {
        world.slapd.change(&user_dn(number), "replace: mail\nmail: shared@example.com");
    }
    for name in ["token2", "token4", "other4"] {
        world.slapd.modify(&token_ldif(name, &[7; 129], USUAL));
    }
    for (number, name) in [(2, "token2"), (4, "token4"), (4, "other4")] {
        let dn = token_dn(name);
        world.slapd.change(&user_dn(number), &format!("add: seeAlso\nseeAlso: {dn}"));
    }
    let named = |ran: &Ran, number: usize| -> Vec<String> {
        dropped(ran, number).into_iter().map(|(attribute, _)| attribute).collect()
    };
    let without_token = ["mail", "seeAlso", "userpassword"];
    let run = |written: u64| {
        let ran = world.run(&[], 3);
        assert_eq!(ran.report["written"]["persons"], written, "{}", ran.outcome.all());
        ran
    };
    let repair = |name: &str, number: usize| {
        let secret = STANDARD.encode(secret(number));
        world.slapd.change(&token_dn(name), &format!("replace: oathSecret\noathSecret:: {secret}"));
    };
    let ran = world.run(&[], 3);
    assert_eq!(named(&ran, 2), without_token);
    let ran = run(0);
    assert_eq!(named(&ran, 2), without_token);

    repair("token2", 2);
    repair("token4", 4);
    let ran = run(2);
    assert_eq!(named(&ran, 2), ["mail"]);
    assert_eq!(named(&ran, 4), ["mail", "seeAlso"]);
    logs_in(&world, 2, &secret(2), USUAL);
    logs_in(&world, 4, &secret(4), USUAL);
    let ran = run(0);
    assert_eq!(named(&ran, 4), ["mail", "seeAlso"]);

    // Now the other token of the two is the good one.
    world.slapd.change(&token_dn("token4"), "delete: oathTOTPParams");
    repair("other4", 5);
    run(1);
    assert_eq!(labels(&world, 4), [token_dn("other4")]);
    logs_in(&world, 4, &secret(5), USUAL);
    repair("token4", 4);
    world.slapd.change(
        &token_dn("token4"),
        &format!("add: oathTOTPParams\noathTOTPParams: {}", USUAL.dn()),
    );
    let ran = run(1);
    assert_eq!(named(&ran, 4), ["mail"]);
    assert_eq!(labels(&world, 4).len(), 2);
    run(0);
}

/// A suffix of the same slapd whose own server is down.
fn with_partner(world: &mut World) {
    world.slapd.reconfigure(|options| {
        options.extra_global.insert_str(0, "moduleload back_ldap\n");
        options.extra_global +=
            "database ldap\nsuffix \"dc=partner,dc=com\"\nuri \"ldap://127.0.0.1:1\"\n";
    });
}

#[test]
fn a_token_that_the_directory_cannot_read_holds_its_person_and_nobody_else() {
    let mut world = world(FILTER, |config| config);
    with_partner(&mut world);
    equip(&world, 2, USUAL);
    world.run_and_compare("first refresh", "full");
    let elsewhere = "replace: oathTOTPToken\noathTOTPToken: cn=t,dc=partner,dc=com";
    let rule = "the directory did not answer for the token (unavailable (52)). Token: cn=t,dc=partner,dc=com";
    let is_held = |ran: &Ran| {
        let held = &ran.report["held"];
        assert_eq!(held.as_array().map(Vec::len), Some(1), "{}", ran.outcome.all());
        assert_eq!(held[0]["dn"], user_dn(1).as_str());
        assert_eq!(held[0]["problems"][0]["rule"], rule);
        assert_eq!(dropped(ran, 1), []);
    };
    // The token, then its parameters.
    world.slapd.change(&user_dn(1), elsewhere);
    world.slapd.change(&user_dn(5), "replace: description\ndescription: changed");
    for arguments in [&[][..], &[], &["--full-refresh"]] {
        is_held(&world.run(arguments, 3));
        logs_in(&world, 1, &secret(1), USUAL);
    }
    let token = token_dn("token1");
    world.slapd.change(&user_dn(1), &format!("replace: oathTOTPToken\noathTOTPToken: {token}"));
    let elsewhere = "cn=params,dc=partner,dc=com";
    world.slapd.change(&token, &format!("replace: oathTOTPParams\noathTOTPParams: {elsewhere}"));
    let ran = world.run(&[], 3);
    let found = &ran.report["held"][0]["problems"][0]["rule"];
    assert!(found.as_str().is_some_and(|rule| rule.contains("unavailable (52)")), "{found}");
    logs_in(&world, 1, &secret(1), USUAL);

    // A lock does not wait for the other server. Without the lock the person has everything again.
    let locked = "replace: pwdAccountLockedTime\npwdAccountLockedTime: 000001010000Z";
    world.slapd.change(&user_dn(1), locked);
    world.run(&[], 3);
    assert!(world.kanidm.entry(ACCOUNT, &user_name(1)).unwrap().has_password);
    is_denied(&world, 1, Some(USUAL.code(&secret(1))));
    world.slapd.change(&user_dn(1), "delete: pwdAccountLockedTime");
    world.slapd.change(&token, &format!("replace: oathTOTPParams\noathTOTPParams: {}", USUAL.dn()));
    world.run_and_compare("answered", "incremental");
    logs_in(&world, 1, &secret(1), USUAL);
}

/// Only a named value stays in the state, so the next runs would not name it either.
#[test]
fn a_bad_value_is_still_named_while_the_directory_cannot_read_the_token() {
    let mut world = world(FILTER, |config| config);
    with_partner(&mut world);
    equip(&world, 1, USUAL);
    world.slapd.change(&user_dn(1), "replace: mail\nmail: no address");
    let named = || {
        let ran = world.run(&[], 3);
        let attributes: Vec<String> =
            dropped(&ran, 1).into_iter().map(|(attribute, _)| attribute).collect();
        assert_eq!(attributes, ["mail"], "{}", ran.outcome.all());
    };
    named();
    for params in ["cn=params,dc=partner,dc=com", &USUAL.dn()] {
        let change = format!("replace: oathTOTPParams\noathTOTPParams: {params}");
        world.slapd.change(&token_dn("token1"), &change);
        named();
    }
    logs_in(&world, 1, &secret(1), USUAL);
}

#[test]
fn a_person_whose_token_goes_bad_is_held_or_stops_the_run_if_the_policy_says_so() {
    let mut world = world(WITH_TOKENS, |config| config.set("invalid_entries", "hold"));
    equip(&world, 2, USUAL);
    world.run_and_compare("first refresh", "full");
    world.slapd.change(&token_dn("token1"), "delete: oathTOTPParams");
    let group = format!("cn=tokens,ou=groups,{SUFFIX}");
    world.slapd.modify(&format!(
        "dn: {group}\nobjectClass: groupOfNames\ncn: tokens\nmember: {}\nmember: {}\n",
        user_dn(1),
        user_dn(2)
    ));
    let ran = world.run(&[], 3);
    let held = &ran.report["held"][0];
    assert_eq!(held["dn"], user_dn(1).as_str(), "{}", ran.outcome.all());
    logs_in(&world, 1, &secret(1), USUAL);
    assert_eq!(world.kanidm.entry(ACCOUNT, "tokens").unwrap().member.len(), 2);
    let ran = world.run(&["--full-refresh"], 3);
    assert_eq!(ran.report["held"][0]["dn"], user_dn(1).as_str());
    assert_eq!(world.kanidm.entry(ACCOUNT, "tokens").unwrap().member.len(), 2);
    logs_in(&world, 1, &secret(1), USUAL);

    world.reconfigure(|config| config.set("invalid_entries", "fail"));
    world.tool.run(&[]).expect_code(1).says("oathTOTPToken");

    world.slapd.change(
        &token_dn("token1"),
        &format!("add: oathTOTPParams\noathTOTPParams: {}", USUAL.dn()),
    );
    world.run_and_compare("repaired", "full");
    logs_in(&world, 1, &secret(1), USUAL);
}

/// Access rules that hide the tokens, their secrets, or their parameters.
fn hidden() -> [String; 4] {
    let hide = |what: &str| {
        format!("access to {what} by dn.exact=\"cn=limited,{SUFFIX}\" read by * none\n")
    };
    [
        hide(&format!("dn.onelevel=\"ou=tokens,{SUFFIX}\" filter=(objectClass=oathTOTPToken)")),
        hide("attrs=oathSecret"),
        hide("attrs=oathTOTPParams"),
        hide(&format!("dn.exact=\"{}\"", USUAL.dn())),
    ]
}

#[test]
fn tokens_that_an_access_rule_hides_take_no_password_and_no_second_factor() {
    let mut world = world(WITH_TOKENS, |config| config);
    equip(&world, 8, USUAL);
    world.run_and_compare("first refresh", "full");
    for rule in hidden() {
        world.slapd.reconfigure(|options| options.extra_database = rule.clone());
        let before = world.kanidm.entries(ACCOUNT);
        let outcome = world.tool.run(&["--full-refresh"]).expect_code(4);
        outcome.says("8 of 8 persons with TOTP tokens would be without password because the sync account cannot read the tokens, allowed are 3. ");
        // Three persons may lose it: they are named, and cannot log in.
        for number in 1..=4 {
            world.slapd.change(&user_dn(number), "replace: description\ndescription: changed");
        }
        let outcome = world.tool.run(&[]).expect_code(4);
        outcome.says("4 of 8 persons with TOTP tokens would be without password");
        assert_eq!(world.kanidm.entries(ACCOUNT), before);
        world.slapd.reconfigure(|options| options.extra_database.clear());
        for number in 1..=4 {
            world.slapd.change(&user_dn(number), "delete: description");
        }
        world.run_and_compare(&format!("{rule} is gone"), "incremental");
        logs_in(&world, 1, &secret(1), USUAL);
    }
    // The attribute of one person, in a full refresh and when the person changes.
    let rule = format!("access to dn.exact=\"{}\" attrs=oathTOTPToken by * none\n", user_dn(1));
    world.slapd.reconfigure(|options| options.extra_database = rule);
    world.slapd.change(&user_dn(1), "replace: description\ndescription: changed");
    for arguments in [&["--full-refresh"][..], &[]] {
        let outcome = world.tool.run(arguments).expect_code(4);
        outcome.says("oathTOTPToken of 1 person is hidden from the sync account");
    }
    // The attribute of all persons.
    world.slapd.reconfigure(|options| {
        options.extra_database = "access to attrs=oathTOTPToken by * none\n".to_owned()
    });
    let outcome = world.tool.run(&["--full-refresh"]).expect_code(4);
    outcome.says("8 of 8 persons with oathTOTPToken would lose it");
}

/// Three persons may lose it in a run. The next run counts them.
#[test]
fn a_lost_right_to_read_tokens_does_not_take_passwords_a_few_at_a_time() {
    let mut world = world(FILTER, |config| config);
    equip(&world, 8, USUAL);
    world.run_and_compare("first refresh", "full");
    world.slapd.reconfigure(|options| options.extra_database = hidden()[1].clone());
    let touch = |world: &World, number: usize, text: &str| {
        world.slapd.change(&user_dn(number), &format!("replace: description\ndescription: {text}"));
    };
    (1..=3).for_each(|number| touch(&world, number, "changed"));
    world.run(&[], 3);
    world.run(&[], 3);
    touch(&world, 1, "again");
    let ran = world.run(&[], 3);
    assert_eq!(ran.report["written"]["persons"], 1, "its password is gone already");
    touch(&world, 4, "changed");
    for _ in 0..2 {
        world.tool.run(&[]).expect_code(4).says(
            "4 of 8 persons with TOTP tokens would be without password because the sync account cannot read the tokens, allowed are 3. ",
        );
        logs_in(&world, 4, &secret(4), USUAL);
    }
    world.run(&["--accept-deletes"], 3);
    world.run(&[], 3);
    touch(&world, 4, "again");
    world.run(&[], 3);
    world.tool.run(&["--full-refresh"]).expect_code(4).says("8 of 8 persons with TOTP tokens");
    world.slapd.reconfigure(|options| options.extra_database.clear());
    world.run_and_compare("with the right again", "incremental");
    for number in [1, 2, 4] {
        logs_in(&world, number, &secret(number), USUAL);
    }
}

#[test]
fn switching_tokens_on_without_the_right_to_read_them_is_refused() {
    let mut world = world(FILTER, |config| config.without("person_attr_totp"));
    equip(&world, 5, USUAL);
    world.run_and_compare("first refresh", "full");
    assert_eq!(
        world.kanidm.log_in(&user_name(1), &password(1), None),
        Ok(()),
        "no token is mapped"
    );
    world.slapd.reconfigure(|options| options.extra_database = hidden()[0].clone());
    world.reconfigure(|config| config.set("person_attr_totp", "oathTOTPToken"));
    world
        .tool
        .run(&[])
        .expect_code(4)
        .says("5 of 5 persons with TOTP tokens would be without password");
    let outcome = world.tool.run(&["--check"]);
    let all = outcome.all();
    let advice = "5 values of oathTOTPToken would be left out: the token does not exist, or the sync account may not read it: grant it read access; ";
    assert!(all.contains(advice), "{all}");
    let advice = "5 values of userpassword would be left out: must not be sent alone: none of the person's TOTP tokens can be sent, ";
    assert!(all.contains(advice), "{all}");
    world.slapd.reconfigure(|options| options.extra_database.clear());
    world.run_and_compare("with the right", "full");
    logs_in(&world, 1, &secret(1), USUAL);
    is_denied(&world, 1, None);
}

/// The password alone would be enough then.
#[test]
fn switching_tokens_off_is_refused_until_somebody_accepts_it() {
    let mut world = world(FILTER, |config| config);
    equip(&world, 1, USUAL);
    world.run_and_compare("first refresh", "full");
    world.reconfigure(|config| config.without("person_attr_totp"));
    for _ in 0..2 {
        world.tool.run(&[]).expect_code(4).says(
            "person_attr_totp is not set any more, and Kanidm would accept the password alone of 1 person with TOTP tokens",
        );
        is_denied(&world, 1, None);
    }
    world.run(&["--accept-deletes"], 0);
    assert_eq!(world.kanidm.log_in(&user_name(1), &password(1), None), Ok(()));
    world.run(&[], 0);
}

/// The empty name is a DN, and the class of the overlay demands a value.
#[test]
fn a_blank_token_takes_the_password_and_stops_nobody_else() {
    let world = world(FILTER, |config| config);
    equip(&world, 2, USUAL);
    world.slapd.change(
        &user_dn(3),
        "add: objectClass\nobjectClass: oathTOTPUser\n-\nadd: oathTOTPToken\noathTOTPToken:",
    );
    for arguments in [&[][..], &["--full-refresh"]] {
        let ran = world.run(arguments, 3);
        assert_eq!(dropped(&ran, 3)[0].0, "oathTOTPToken", "{}", ran.outcome.all());
        is_denied(&world, 3, None);
        logs_in(&world, 1, &secret(1), USUAL);
    }
}

/// The directory locks the person out at once. So must Kanidm.
#[test]
fn a_deleted_token_takes_the_password_with_the_next_run() {
    let world = world(WITH_TOKENS, |config| config);
    equip(&world, 2, USUAL);
    world.run_and_compare("first refresh", "full");
    logs_in(&world, 1, &secret(1), USUAL);
    world.slapd.delete(&token_dn("token1"));
    let ran = world.run(&[], 3);
    assert_eq!(ran.report["mode"], "incremental");
    is_denied(&world, 1, Some(USUAL.code(&secret(1))));
    is_denied(&world, 1, None);
    logs_in(&world, 2, &secret(2), USUAL);
}

/// A misspelled attribute must not switch the second factor off.
#[test]
fn an_attribute_that_the_schema_does_not_know_is_refused_after_tokens() {
    let mut world = world(FILTER, |config| config);
    equip(&world, 1, USUAL);
    world.run_and_compare("first refresh", "full");
    world.reconfigure(|config| config.set("person_attr_totp", "oathTOTPTokn"));
    world.tool.run(&[]).expect_code(4).says("oathTOTPTokn of");
    is_denied(&world, 1, None);
}

/// One person is enough, also where no earlier run has seen a token, and among many persons.
#[test]
fn a_hidden_token_attribute_is_refused_in_the_first_run() {
    let mut world = world(FILTER, |config| config);
    equip(&world, 2, USUAL);
    let rule = format!("access to dn.exact=\"{}\" attrs=oathTOTPToken by * none\n", user_dn(2));
    world.slapd.reconfigure(|options| options.extra_database = rule);
    let refusal = "oathTOTPToken of 1 person is hidden from the sync account";
    world.tool.run(&[]).expect_code(4).says(refusal);
    world.slapd.reconfigure(|options| options.extra_database.clear());
    world.run_and_compare("with the right", "full");
    for number in 100..1_200 {
        world.slapd.modify(&user_ldif(number));
    }
    world.run_and_compare("many persons", "incremental");
    let rule = format!("access to dn.exact=\"{}\" attrs=oathTOTPToken by * none\n", user_dn(1));
    world.slapd.reconfigure(|options| options.extra_database = rule);
    world.tool.run(&["--full-refresh"]).expect_code(4).says(refusal);
}

const MARKER: &str = "Marker5ecret";

#[test]
fn no_secret_of_a_token_is_printed() {
    let mut world = world(WITH_TOKENS, |config| config);
    let sha384 = Params { name: "sha384", oid: SHA384, digits: 6, step: 30 };
    world.slapd.modify(&sha384.ldif());
    let secrets = [format!("{MARKER}-good"), format!("{MARKER}-bad"), MARKER.repeat(30)];
    for (number, params) in [(1, USUAL), (2, sha384), (4, USUAL)] {
        let name = format!("token{number}");
        let secret = &secrets[number / 2];
        world.slapd.modify(&token_ldif(&name, secret.as_bytes(), params));
        assign(&world, number, &name);
    }
    // Somebody wrote the secret where the DN belongs.
    world.slapd.change(&user_dn(5), &format!("replace: title\ntitle: {MARKER}"));
    let unseen = |what: &str, outcome: &Outcome| {
        let all = outcome.all().to_lowercase();
        let mut hidden: Vec<String> = vec![MARKER.to_owned()];
        // In base64 the marker has three shapes, and is always at the start here.
        hidden.extend(
            [MARKER, "arker5ecret", "rker5ecret"]
                .map(|text| STANDARD.encode(text)[..12].to_owned()),
        );
        for secret in hidden {
            assert!(!all.contains(&secret.to_lowercase()), "{what}: {secret}\n{all}");
        }
    };
    let run = |arguments: &[&str]| {
        let outcome = world.tool.run(&[&["--debug"], arguments].concat());
        unseen(&arguments.join(" "), &outcome);
        outcome
    };
    let dump = run(&["--proto-dump"]).expect_code(3);
    assert!(dump.stdout.contains("\"totp_import\": \"<redacted>\""), "{}", dump.stdout);
    run(&["--check"]).expect_code(0);
    run(&["--dry-run"]).expect_code(3);
    for status in [400, 500] {
        let fault =
            Fault::own_status(Moment::Received, status, "{\"invalidattribute\":\"totp_import\"}");
        world.kanidm.fault(fault.only("POST").times(1000));
        run(&[]);
        world.kanidm.clear_faults();
    }
    run(&["--json"]).expect_code(3).says("has more than 128 bytes");
    logs_in(&world, 1, secrets[0].as_bytes(), USUAL);
    for policy in ["hold", "fail"] {
        world.tool.write_sync_config(&world.config.clone().set("invalid_entries", policy));
        run(&["--json"]);
        run(&["--proto-dump"]);
    }
    world.tool.write_sync_config(&world.config.clone().set("person_attr_totp", "title"));
    run(&["--dry-run"]).says("must be the DN of a token");
    world.reconfigure(|config| config.set("person_attr_totp", "OATHsecret"));
    world
        .tool
        .run(&[])
        .expect_code(2)
        .says("must be the attribute of a person that has the DN of its token");
}

/// A token that nobody can read, on a server that has no such attributes at all.
#[test]
fn a_directory_without_tokens_is_read_as_before() {
    let seed = Seed::Generated(SeedOptions {
        users: 3,
        groups: 1,
        specials: false,
        ..SeedOptions::default()
    });
    let options = SlapdOptions { seed, ..SlapdOptions::default() };
    let world = World::with(options, GROUPS_OF_NAMES, FILTER, |config| {
        config.set("person_attr_totp", "oathTOTPToken")
    });
    world.run_and_compare("first refresh", "full");
    assert_eq!(world.kanidm.log_in(&user_name(1), &password(1), None), Ok(()));
}

/// It reads tokens as a run does, and shows no secret.
#[test]
fn explain_reads_the_tokens_of_a_person() {
    let world = world(WITH_TOKENS, |config| config);
    equip(&world, 2, USUAL);
    world.slapd.change(&token_dn("token2"), "replace: oathSecret\noathSecret: short");
    world.slapd.change(&token_dn("token2"), "delete: oathTOTPParams");
    world.run(&[], 3);
    let explain = |who: &str, code| {
        let ran = world.tool.run(&["--explain", who]).expect_code(code);
        assert!(!ran.stdout.contains(&STANDARD.encode(secret(1))), "{}", ran.stdout);
        assert!(!ran.stdout.contains("short"), "{}", ran.stdout);
        ran.stdout
    };
    let good = explain(&user_name(1), 0);
    assert!(good.contains(&token_dn("token1")) && !good.contains("left out"), "{good}");
    let bad = explain(&user_name(2), 0);
    assert!(bad.contains("shows the sync account no oathTOTPParams"), "{bad}");
    assert!(bad.contains("none of the person's TOTP tokens can be sent"), "{bad}");
    let token = explain(&token_dn("token1"), 1);
    assert!(token.contains("it is a TOTP token or its parameters"), "{token}");
}
