//! Persons: picks the values of a directory entry, checks them, and prepares them for sending.
//!
//! Scope: one entry. [`Claims`] answers whether a value is free, and [`super::mapper`] writes the
//! result.

use std::borrow::Cow;

use super::claims::Claims;
use super::lock::{self, Window};
use super::naming::{self, Naming, lower_case};
use super::totp::{SecondFactor, read_factor};
use super::values::{self, Picked, Texts};
use super::{DN, EntryProblem, Findings, MAP_UUID, MAX_PROBLEMS, MAX_VALUES, MISSING};
use crate::config::sync::{EntryConfig, PersonMapping};
use crate::content::Ended;
use crate::content::account::{STILL_OPEN, has_ended, rfc3339};
use crate::content::rules::{self, password, ssh_key};
use crate::content::shown::Mask;

pub(super) const OBJECT_CLASS: &str = "objectClass";
pub(super) const FIELDS: usize = 10 + lock::ATTRIBUTES.len();

/// The attributes of [`names`], picked from an entry in one pass.
pub(super) type Values<'a> = [Option<Picked<'a>>; FIELDS];

/// The attribute names, empty for unmapped ones: object class, user name, display name, legal name,
/// number, shell, password, mail, SSH key, TOTP tokens, and those of the account lock.
pub(super) fn names(cfg: &PersonMapping) -> [&str; FIELDS] {
    let [l0, l1, l2, l3, l4, l5, l6] =
        if cfg.account_lock { lock::ATTRIBUTES } else { Default::default() };
    [
        OBJECT_CLASS,
        &cfg.user_name,
        &cfg.display_name,
        cfg.legal_name.as_deref().unwrap_or_default(),
        &cfg.gidnumber,
        &cfg.login_shell,
        &cfg.password,
        &cfg.mail,
        &cfg.ssh_public_key,
        cfg.totp.as_deref().unwrap_or_default(),
        l0,
        l1,
        l2,
        l3,
        l4,
        l5,
        l6,
    ]
}

pub(super) fn object_classes<'a>(
    [classes, ..]: &Values<'a>,
) -> impl Iterator<Item = &'a [u8]> + use<'a> {
    (*classes).into_iter().flat_map(|classes| classes.values())
}

/// The user name in the directory and the number.
pub(super) fn identity(
    cfg: &PersonMapping,
    dn: &str,
    values: &Values<'_>,
    name: &mut String,
) -> Option<u32> {
    let [_, user_name, _, _, gidnumber, ..] = values;
    naming::identity(&cfg.user_name, dn, user_name.as_ref(), gidnumber.as_ref(), name)
}

/// True if the entry could be a person.
pub(super) fn has_user_name([_, user_name, ..]: &Values<'_>) -> bool {
    user_name.is_some_and(|names| values::not_blank(&names).next().is_some())
}

/// Maximum user names of a person that count. The author of the entry decides how many there are.
const MAX_NAMES: usize = 100;

/// The user names in the directory, if there are several. Groups may name the person by any of
/// them.
pub(super) fn user_names<'a>(
    [_, user_name, ..]: &Values<'a>,
) -> impl Iterator<Item = &'a str> + use<'a> {
    let several = user_name.filter(|names| values::not_blank(names).nth(1).is_some());
    let names = several.into_iter().flat_map(|names| values::not_blank(&names));
    let names = names.filter(|name| name.len() <= rules::MEMBER_NAME_LENGTH);
    names.filter_map(|name| str::from_utf8(name).ok()).take(MAX_NAMES)
}

/// The attributes that the directory shows.
pub(super) fn shown(values: &Values<'_>) -> Mask {
    let [_, _, _, _, _, _, password, ..] = values;
    let [_, values @ ..] = values;
    let (plain, locks) = values.split_at(values.len() - lock::ATTRIBUTES.len());
    let has_value = |values: &Option<Picked<'_>>| {
        values.as_ref().is_some_and(|values| values::not_blank(values).next().is_some())
    };
    let limits = |(name, values): (&&str, &Option<Picked<'_>>)| {
        values.as_ref().is_some_and(|values| lock::limits(name, values))
    };
    let limits =
        lock::ATTRIBUTES.iter().zip(locks).map(limits).chain([is_locked(password.as_ref())]);
    // A token counts even if its value is blank: see [`super::totp`].
    let shows = |(name, values): (usize, &Option<Picked<'_>>)| match name + 1 == plain.len() {
        true => values.is_some(),
        false => has_value(values),
    };
    Mask::of(
        plain
            .iter()
            .enumerate()
            .map(shows)
            .chain(limits)
            .chain(locks.iter().map(has_value))
            .chain([has_value(password)]),
    )
}

/// True if one of the password's values carries a lock mark.
fn is_locked(password: Option<&Picked<'_>>) -> bool {
    password.is_some_and(|values| values::not_blank(values).any(password::is_locked))
}

/// The mail addresses, unless there are too many to send.
pub(super) fn mail<'a>([_, _, _, _, _, _, _, mail, ..]: &Values<'a>) -> Option<Picked<'a>> {
    mail.filter(|mail| values::not_blank(mail).count() <= MAX_VALUES)
}

/// The single values of a person; [`Buffers`] has the others.
pub(super) struct Person<'a> {
    pub(super) displayname: Cow<'a, str>,
    pub(super) legalname: Option<Cow<'a, str>>,
    pub(super) gidnumber: Option<u32>,
    pub(super) loginshell: Option<&'a str>,
    pub(super) window: Window,
    pub(super) factor: SecondFactor,
}

impl Person<'_> {
    /// True if the account is closed now: it has ended, or begins later.
    pub(super) fn is_closed(&self) -> bool {
        let has_come = |time| has_ended(&rfc3339(time));
        self.window.expire.is_some_and(has_come)
            || self.window.valid_from.is_some_and(|begin| !has_come(begin))
    }

    /// The end of the account, if it can be closed although the person is held. For this the DN and
    /// the UUID must be valid; everything else stays as it is in Kanidm.
    pub(super) fn ended(
        &self,
        cfg: &PersonMapping,
        name: &str,
        problems: &[EntryProblem],
    ) -> Option<Ended> {
        let concern = |attributes: &[&str]| {
            problems.iter().any(|problem| attributes.contains(&problem.attribute.as_str()))
        };
        let account_expire = rfc3339(self.window.expire?);
        if concern(&[DN, MAP_UUID]) || !has_ended(&account_expire) {
            return None;
        }
        let name = (!concern(&[&cfg.user_name, "map_name"])).then(|| name.to_owned());
        // Without a display name of its own, the person has the name here, which may be bad.
        let displayname =
            rules::one_line(&self.displayname).map_or("-".to_owned(), Cow::into_owned);
        Some(Ended { name, displayname, account_expire })
    }
}

/// Buffers that are reused for every person.
#[derive(Default)]
pub(super) struct Buffers {
    /// The name in the directory, in lower case.
    pub(super) user_name: String,
    /// The name in Kanidm.
    pub(super) name: String,
    /// The password with its prefix; empty for none.
    pub(super) password: String,
    pub(super) mails: Texts,
    pub(super) keys: Texts,
    /// One for each of `keys`.
    pub(super) labels: Texts,
    /// The DNs of TOTP tokens.
    pub(super) tokens: Texts,
    label: String,
    hash: password::Scratch,
    blob: Vec<u8>,
}

/// Reads a person. The result can be sent if `findings` has no problems.
pub(super) fn read<'a>(
    cfg: &PersonMapping,
    table: Option<&EntryConfig>,
    dn: &str,
    values: &Values<'a>,
    claims: Claims<'_>,
    buffers: &mut Buffers,
    findings: &mut Findings,
) -> Person<'a> {
    let [
        _,
        user_name,
        display_name,
        legal_name,
        gidnumber,
        login_shell,
        password,
        mail,
        ssh_public_key,
        totp,
        lock @ ..,
    ] = values;
    let naming = Naming { name: &cfg.user_name, gidnumber: &cfg.gidnumber, table };
    let name = values::naming_text(user_name.as_ref(), &cfg.user_name, dn);
    lower_case(name.ok().flatten().unwrap_or_default(), &mut buffers.user_name);
    if naming.read_name(name, &mut buffers.name, findings)
        && let Some(rule) = claims.name(&buffers.name)
    {
        findings.required(naming.name_origin(), rule);
    }
    let displayname = read_text(display_name.as_ref()).and_then(|text| text.ok_or(MISSING));
    let legal_name_attribute = cfg.legal_name.as_deref().unwrap_or_default();
    let legalname = read_text(legal_name.as_ref())
        .unwrap_or_else(|rule| findings.without(legal_name_attribute, rule));
    let mut gidnumber = naming.read_gidnumber(gidnumber.as_ref(), findings);
    if let Some(rule) = gidnumber.and_then(|number| claims.gidnumber(number)) {
        findings.taken(naming.gidnumber_origin(), rule);
        gidnumber = None;
    }
    // Kanidm refuses a shell without a number.
    let login_shell = login_shell.as_ref().filter(|_| gidnumber.is_some());
    let loginshell =
        read_shell(login_shell).unwrap_or_else(|rule| findings.without(&cfg.login_shell, rule));
    read_password(cfg, password.as_ref(), buffers, findings);
    read_mails(&cfg.mail, mail.as_ref(), claims, buffers, findings);
    read_keys(&cfg.ssh_public_key, ssh_public_key.as_ref(), buffers, findings);
    let window = read_window(lock, cfg.account_lock && is_locked(password.as_ref()), findings);
    let displayname = displayname.unwrap_or_else(|rule| {
        // The end of an account does not wait for a display name, which its owner may have spoilt.
        if window.expire.is_some() {
            findings.optional(&cfg.display_name, rule);
        } else {
            findings.required(&cfg.display_name, rule);
        }
        Cow::Owned(buffers.name.clone())
    });
    let factor = read_factor(cfg, totp.as_ref(), window, buffers, findings);
    Person { displayname, legalname, gidnumber, loginshell, window, factor }
}

/// The first value, on one line.
pub(super) fn read_text<'a>(
    values: Option<&Picked<'a>>,
) -> Result<Option<Cow<'a, str>>, rules::Rule> {
    values::first_text(values)?.map(|text| short(text).and_then(rules::one_line)).transpose()
}

fn read_shell<'a>(values: Option<&Picked<'a>>) -> Result<Option<&'a str>, rules::Rule> {
    let shell = values::first_text(values)?.map(str::trim);
    shell.map_or(Ok(()), |shell| short(shell).and_then(rules::text)).map(|()| shell)
}

fn short(text: &str) -> Result<&str, rules::Rule> {
    if text.len() > rules::TEXT_LENGTH { Err(rules::TOO_LONG) } else { Ok(text) }
}

/// The first value that Kanidm can import, because a directory may hold several hashes of one
/// password. If locks are synchronised, a locked password is no problem.
fn read_password(
    cfg: &PersonMapping,
    values: Option<&Picked<'_>>,
    buffers: &mut Buffers,
    findings: &mut Findings,
) {
    let mut first_problem = None;
    for value in values.into_iter().flat_map(values::not_blank) {
        buffers.password.clear();
        buffers.password.push_str(cfg.password_prefix.as_deref().unwrap_or_default());
        let checked =
            str::from_utf8(value).map_err(|_| rules::NOT_UTF8).and_then(short).and_then(|value| {
                buffers.password.push_str(value.trim());
                password::check(&buffers.password, &mut buffers.hash)
            });
        match checked {
            Ok(()) => return,
            Err(_) if cfg.account_lock && password::is_locked(value) => {}
            Err(rule) => first_problem = first_problem.or(Some(rule)),
        }
    }
    buffers.password.clear();
    if let Some(rule) = first_problem {
        findings.optional(&cfg.password, rule);
    }
}

/// Maximum bytes of all keys of a person together. A thousand RSA keys of 4096 bits are less.
const MAX_KEY_BYTES: usize = 1 << 20;
const KEYS_TOO_LONG: &str = "all keys together must be at most 1048576 bytes";

/// True if there are more values than may be sent; then none is sent.
fn too_many(attribute: &str, count: usize, findings: &mut Findings) -> bool {
    if count > MAX_VALUES {
        findings
            .optional(attribute, format!("must have at most {MAX_VALUES} values, and has {count}"));
    }
    count > MAX_VALUES
}

/// Reads the mail addresses, without spaces around them. An address that comes twice counts once.
fn read_mails(
    attribute: &str,
    values: Option<&Picked<'_>>,
    claims: Claims<'_>,
    buffers: &mut Buffers,
    findings: &mut Findings,
) {
    buffers.mails.clear();
    if too_many(attribute, values.into_iter().flat_map(values::not_blank).count(), findings) {
        return;
    }
    for value in values.into_iter().flat_map(values::not_blank) {
        let mail = str::from_utf8(value).map(str::trim).map_err(|_| rules::NOT_UTF8);
        match mail.and_then(|mail| rules::mail(mail).map(|()| mail)) {
            Err(rule) => findings.optional(attribute, rule),
            Ok(mail) => match claims.mail(mail) {
                Some((rule, owner)) => findings.claimed(attribute, rule, mail, owner),
                None if buffers.mails.contains(mail) => {}
                None => buffers.mails.push(mail),
            },
        }
    }
}

/// Reads the keys. Each line of a value is a key, as sshd reads it (sshd(8), AUTHORIZED_KEYS FILE
/// FORMAT). Empty lines and comments are skipped. A key that comes twice counts once.
fn read_keys(
    attribute: &str,
    values: Option<&Picked<'_>>,
    buffers: &mut Buffers,
    findings: &mut Findings,
) {
    let Buffers { keys, labels, label, blob, .. } = buffers;
    keys.clear();
    labels.clear();
    let texts = || values.into_iter().flat_map(values::not_blank).map(str::from_utf8);
    if too_many(
        attribute,
        texts().map(|text| text.map_or(1, |text| lines(text).count())).sum(),
        findings,
    ) {
        return;
    }
    for text in texts() {
        let Ok(text) = text else {
            findings.optional(attribute, rules::NOT_UTF8);
            continue;
        };
        for line in lines(text) {
            label.clear();
            match ssh_key::check(line, blob, label) {
                Err(rule) => findings.optional(attribute, rule),
                Ok(()) if labels.contains(label) => {}
                Ok(()) => {
                    keys.push(line);
                    labels.push(label);
                }
            }
            if keys.len() > MAX_KEY_BYTES {
                keys.clear();
                labels.clear();
                findings.optional(attribute, KEYS_TOO_LONG);
                return;
            }
        }
    }
}

fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// The time in which the account is valid. An unclear value holds the entry under every policy,
/// unless another value locks the account.
fn read_window(attributes: &lock::Values<'_>, marked: bool, findings: &mut Findings) -> Window {
    let mut unclear = Vec::new();
    let mut window = Window::read(attributes, |attribute, rule| {
        if unclear.len() < MAX_PROBLEMS {
            unclear.push((attribute, rule));
        }
    });
    if marked {
        window.lock();
    }
    for (attribute, rule) in &unclear {
        if window.is_locked() {
            findings.optional(attribute, *rule);
        } else {
            findings.required(attribute, *rule);
        }
    }
    if !unclear.is_empty() && !window.is_locked() {
        findings.required("sync_account_lock", STILL_OPEN);
    }
    window
}

/// Adds a problem if the DN cannot be sent as it is.
pub(super) fn check_dn(dn: &str, form: &str, claims: Claims<'_>, findings: &mut Findings) {
    let rule = rules::text(dn).err().map(Cow::Borrowed).or_else(|| claims.dn(form).map(Cow::Owned));
    if let Some(rule) = rule {
        findings.required(DN, rule);
    }
}
