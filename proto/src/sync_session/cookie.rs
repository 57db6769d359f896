//! slapd's cookies: `rid=000,sid=001,csn=A;B`, a change sequence number (CSN) for each provider.

/// Merges the cookie that slapd sent with the one it was sent for: the newest CSN of each provider
/// (server ID) is kept, so that none is lost when a cookie names only the provider that changed.
/// All other fields are those of `new`.
///
/// A cookie that is not slapd's is not merged: the result is `new`.
pub fn merge_cookies(old: &[u8], new: &[u8]) -> Vec<u8> {
    merge(old, new).unwrap_or_else(|| new.to_vec())
}

fn merge(old: &[u8], new: &[u8]) -> Option<Vec<u8>> {
    let (old, new) = (std::str::from_utf8(old).ok()?, std::str::from_utf8(new).ok()?);
    if !(old.starts_with("rid=") && new.starts_with("rid=")) {
        return None;
    }
    let mut csns = csns(old)?;
    csns.extend(self::csns(new)?);
    // By server ID, as slapd sorts them, the newest first, so that dedup keeps it. CSNs of one
    // server compare as text.
    csns.sort_unstable_by(|a, b| a.server.cmp(b.server).then(b.text.cmp(a.text)));
    csns.dedup_by_key(|csn| csn.server);
    let csns: Vec<&str> = csns.iter().map(|csn| csn.text).collect();
    let mut fields: Vec<&str> =
        new.split(',').filter(|field| !field.starts_with(CSN_FIELD)).collect();
    let csn_field = format!("{CSN_FIELD}{}", csns.join(";"));
    if !csns.is_empty() {
        fields.push(&csn_field);
    }
    Some(fields.join(",").into_bytes())
}

/// Whether slapd's cookie `new` is older than `old` for one of the providers: that server has not
/// heard of changes which were read before. False for cookies that are not slapd's.
pub fn is_behind(old: &[u8], new: &[u8]) -> bool {
    let (old, new) = (all_csns(old), all_csns(new));
    new.iter().any(|new| old.iter().any(|old| old.server == new.server && old.text > new.text))
}

/// The same of `new` from a refresh that states the whole content (without a cookie, or by a
/// present phase). It names every provider that the server has heard of: one that `old` names, and
/// it does not, is one whose changes it lacks. So with a server that is being filled from its
/// partners and has taken a change of its own: it names no other provider than itself until it has
/// everything.
pub fn is_behind_in_full(old: &[u8], new: &[u8]) -> bool {
    let (old, new) = (all_csns(old), all_csns(new));
    !new.is_empty()
        && old
            .iter()
            .any(|old| new.iter().all(|new| old.server != new.server || old.text > new.text))
}

/// What slapd leaves out of a refresh by this cookie: entries with a newer CSN than the cookie has
/// for the same provider. They were changed while the refresh was under way, and it says neither
/// that they are there nor that they are gone.
#[derive(Clone, Debug)]
pub struct Snapshot<'c>(Vec<Csn<'c>>);

impl<'c> Snapshot<'c> {
    /// `None` for a cookie that is not slapd's, or has no CSN.
    pub fn of(cookie: &'c [u8]) -> Option<Self> {
        Some(all_csns(cookie)).filter(|csns| !csns.is_empty()).map(Snapshot)
    }

    /// No entry that was left out has an older one.
    pub fn oldest(&self) -> &str {
        self.0.iter().map(|csn| csn.text).min().unwrap_or_default()
    }

    /// Whether an entry with this `entryCSN` was left out.
    pub fn leaves_out(&self, entry_csn: &str) -> bool {
        parse_csn(entry_csn).is_none_or(|entry| {
            self.0.iter().any(|csn| csn.server == entry.server && entry.text > csn.text)
        })
    }
}

fn all_csns(cookie: &[u8]) -> Vec<Csn<'_>> {
    std::str::from_utf8(cookie)
        .ok()
        .filter(|text| text.starts_with("rid="))
        .and_then(csns)
        .unwrap_or_default()
}

const CSN_FIELD: &str = "csn=";

/// A change sequence number: `20261123125319.541811Z#000000#001#000000`.
#[derive(Clone, Copy, Debug)]
struct Csn<'a> {
    /// Its third part, the server ID in hexadecimal.
    server: &'a str,
    text: &'a str,
}

/// The CSNs of a cookie; none of them malformed.
fn csns(cookie: &str) -> Option<Vec<Csn<'_>>> {
    let Some(list) = cookie.split(',').find_map(|field| field.strip_prefix(CSN_FIELD)) else {
        return Some(Vec::new());
    };
    list.split(';').filter(|text| !text.is_empty()).map(parse_csn).collect()
}

fn parse_csn(text: &str) -> Option<Csn<'_>> {
    let mut parts = text.split('#');
    let (Some(time), Some(_count), Some(server), Some(_modification), None) =
        (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return None;
    };
    let well_formed = time.ends_with('Z')
        && server.len() == 3
        && server.bytes().all(|byte| byte.is_ascii_hexdigit());
    well_formed.then_some(Csn { server, text })
}

#[cfg(test)]
mod tests {
    use super::{Snapshot, is_behind, is_behind_in_full, merge_cookies};

    const A1: &str = "20260101000000.000000Z#000000#001#000000";
    const A2: &str = "20260102000000.000000Z#000000#001#000000";
    const B1: &str = "20260101000000.500000Z#000000#002#000000";
    const B2: &str = "20260103000000.000000Z#000000#002#000000";
    const C1: &str = "20260103000000.000000Z#000000#003#000000";

    #[test]
    fn no_csn_is_lost_and_none_goes_back() {
        // (what it is, sent, received, merged)
        let table = [
            (
                "one provider moves",
                format!("rid=000,csn={A1}"),
                format!("rid=000,csn={A2}"),
                format!("rid=000,csn={A2}"),
            ),
            (
                "only the changed provider is named",
                format!("rid=000,sid=001,csn={A1};{B1}"),
                format!("rid=000,sid=002,csn={B2}"),
                format!("rid=000,sid=002,csn={A1};{B2}"),
            ),
            (
                "a provider joins",
                format!("rid=000,csn={B1}"),
                format!("rid=000,csn={A1};{B1}"),
                format!("rid=000,csn={A1};{B1}"),
            ),
            (
                "an older one does not win",
                format!("rid=000,csn={A2}"),
                format!("rid=000,csn={A1};{B1}"),
                format!("rid=000,csn={A2};{B1}"),
            ),
            (
                "no CSN received",
                format!("rid=000,csn={A1}"),
                "rid=000".to_owned(),
                format!("rid=000,csn={A1}"),
            ),
            (
                "no CSN sent",
                "rid=000".to_owned(),
                format!("rid=000,csn={A1}"),
                format!("rid=000,csn={A1}"),
            ),
            ("no CSN at all", "rid=000".to_owned(), "rid=001".to_owned(), "rid=001".to_owned()),
            (
                "empty list sent",
                "rid=000,csn=".to_owned(),
                format!("rid=000,csn={A1}"),
                format!("rid=000,csn={A1}"),
            ),
            (
                "malformed one sent",
                "rid=000,csn=garbage".to_owned(),
                format!("rid=000,csn={A1}"),
                format!("rid=000,csn={A1}"),
            ),
            (
                "malformed one received",
                format!("rid=000,csn={A1}"),
                "rid=000,csn=x#y".to_owned(),
                "rid=000,csn=x#y".to_owned(),
            ),
            (
                "another server's",
                format!("rid=000,csn={A1}"),
                "host:389#cn=x,dc=y:base#7".to_owned(),
                "host:389#cn=x,dc=y:base#7".to_owned(),
            ),
        ];
        for (what, old, new, merged) in table {
            assert_eq!(
                String::from_utf8(merge_cookies(old.as_bytes(), new.as_bytes())).unwrap(),
                merged,
                "{what}"
            );
        }
        assert_eq!(merge_cookies(b"\xff", b"rid=000"), b"rid=000");
        assert_eq!(merge_cookies(b"rid=000", b"\xff\x00"), b"\xff\x00");
    }

    #[test]
    fn a_cookie_is_behind_where_one_provider_is() {
        for (old, new, behind) in [
            (format!("rid=000,csn={A1}"), format!("rid=000,csn={A2}"), false),
            (format!("rid=000,csn={A1}"), format!("rid=000,csn={A1}"), false),
            (format!("rid=000,csn={A2}"), format!("rid=000,csn={A1}"), true),
            (format!("rid=000,csn={A2};{B1}"), format!("rid=000,csn={A1};{B2}"), true),
            (format!("rid=000,csn={A2}"), "host:389#x#1".to_owned(), false),
        ] {
            assert_eq!(is_behind(old.as_bytes(), new.as_bytes()), behind, "{old} {new}");
            assert_eq!(is_behind_in_full(old.as_bytes(), new.as_bytes()), behind, "{old} {new}");
        }
    }

    #[test]
    fn a_directory_that_lacks_one_provider_is_behind() {
        for (old, new, behind) in [
            (format!("rid=000,csn={A1};{B1}"), format!("rid=000,csn={A2};{B1}"), false),
            (format!("rid=000,csn={A1}"), format!("rid=000,csn={A1};{B1}"), false),
            (format!("rid=000,csn={A1};{B1}"), format!("rid=000,csn={A2}"), true),
            (format!("rid=000,csn={A1};{B1}"), format!("rid=000,csn={A2};{C1}"), true),
            (format!("rid=000,csn={A1}"), format!("rid=000,csn={B2}"), true),
            (format!("rid=000,csn={A2}"), "rid=000".to_owned(), false),
            ("rid=000".to_owned(), format!("rid=000,csn={A2}"), false),
        ] {
            assert_eq!(is_behind_in_full(old.as_bytes(), new.as_bytes()), behind, "{old} {new}");
        }
        // Of changes alone it cannot be said: their cookie may name only the provider that changed.
        for (old, new) in
            [(format!("rid=000,csn={A1};{B1}"), A2), (format!("rid=000,csn={A2}"), B1)]
        {
            assert!(
                !is_behind(old.as_bytes(), format!("rid=000,csn={new}").as_bytes()),
                "{old} {new}"
            );
        }
    }

    #[test]
    fn newer_than_the_snapshot_of_its_own_provider_is_left_out() {
        let cookie = format!("rid=000,csn={A1};{B2}");
        let snapshot = Snapshot::of(cookie.as_bytes()).unwrap();
        assert_eq!(snapshot.oldest(), A1);
        let left_out = [A1, A2, B1, B2, "20270101000000.000000Z#000000#003#000000", "?"]
            .map(|csn| snapshot.leaves_out(csn));
        assert_eq!(left_out, [false, true, false, false, false, true]);
        assert!(Snapshot::of(b"rid=000").is_none() && Snapshot::of(b"h:389#x#csn=1").is_none());
    }
}
