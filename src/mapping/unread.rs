//! The attributes of a person that were not read, because the entry is too large.

use ldap_content_sync::Oversized;

use super::Findings;
use super::lock::{self, Window};
use super::person::names;
use crate::config::sync::PersonMapping;
use crate::content::account::STILL_OPEN;
use crate::content::shown::Mask;

/// The attributes that were not read because the entry is too large. The directory shows them, but
/// their values are not known.
pub(super) fn left_out(cfg: &PersonMapping, oversized: &Oversized) -> Mask {
    let [_, names @ ..] = names(cfg);
    let (plain, locks) = names.split_at(names.len() - lock::ATTRIBUTES.len());
    let is_left_out = |name: &&str| !name.is_empty() && oversized.leaves_out(name);
    let password = is_left_out(&cfg.password.as_str());
    let limits = locks.iter().map(is_left_out).chain([password]);
    Mask::of(plain.iter().map(is_left_out).chain(limits.clone()).chain(limits))
}

/// True if the entry may name TOTP tokens that were not read.
pub(super) fn leaves_out_tokens(cfg: &PersonMapping, oversized: &Oversized) -> bool {
    cfg.totp.as_ref().is_some_and(|totp| oversized.leaves_out(totp))
}

/// Adds a problem for each attribute that was not read. One that might lock the account holds the
/// person, unless another attribute locks it.
pub(super) fn note_left_out(
    cfg: &PersonMapping,
    oversized: &Oversized,
    window: Window,
    findings: &mut Findings,
) {
    let rule = super::too_large(oversized);
    let [_, user_name, display_name, names @ ..] = names(cfg);
    for name in [user_name, display_name].into_iter().filter(|name| oversized.leaves_out(name)) {
        // The attribute is not missing, only unread.
        let reported = findings
            .problems
            .iter_mut()
            .chain(&mut findings.drops)
            .filter(|problem| problem.attribute == name);
        reported.for_each(|problem| problem.rule.clone_from(&rule));
    }
    let mut is_unclear = false;
    for name in names.into_iter().filter(|name| !name.is_empty() && oversized.leaves_out(name)) {
        let locks = lock::ATTRIBUTES.contains(&name) || (name == cfg.password && cfg.account_lock);
        if locks && !window.is_locked() {
            is_unclear = true;
            findings.required(name, rule.clone());
        } else {
            findings.optional(name, rule.clone());
        }
    }
    if is_unclear {
        findings.required("sync_account_lock", STILL_OPEN);
    }
}
