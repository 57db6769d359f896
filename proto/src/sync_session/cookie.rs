//! Synchronisation cookies: the forms that slapd and 389 give them.
//!
//! Scope: the only module that reads or writes the text of a cookie. RFC 4533 leaves that text to
//! the server, so a client may only return it. This client also reads it, because neither server
//! reports all that a client must know: an older state, omitted entries, a trimmed changelog.

/// A cookie, classified by its form alone. A server that hides its identity still shows it here.
#[derive(Clone, Debug)]
pub enum Cookie<'c> {
    /// OpenLDAP slapd: `rid=000,sid=001,csn=A;B`, with one CSN for each provider. May have none.
    Slapd(Vec<Csn<'c>>),
    /// 389 Directory Server: `host:port#bindDN:base:filter#number`.
    Ds389 {
        /// Number of the last change in the retro changelog that the cookie includes.
        change_number: u64,
    },
    /// Any other form, including a malformed one of slapd or 389.
    Opaque,
}

impl<'c> Cookie<'c> {
    /// Classifies a cookie.
    pub fn parse(cookie: &'c [u8]) -> Self {
        let Ok(text) = std::str::from_utf8(cookie) else { return Cookie::Opaque };
        if text.starts_with(SLAPD_PREFIX) {
            return csns(text).map_or(Cookie::Opaque, Cookie::Slapd);
        }
        let number = text.rsplit_once('#').and_then(|(_, number)| number.parse().ok());
        match number {
            // 389 never answers a request with a NUL in its cookie.
            Some(change_number) if !text.contains('\0') => Cookie::Ds389 { change_number },
            _ => Cookie::Opaque,
        }
    }

    /// The state of slapd's content; `None` for other cookies, and for one without CSN.
    pub fn snapshot(self) -> Option<Snapshot<'c>> {
        match self {
            Cookie::Slapd(csns) if !csns.is_empty() => Some(Snapshot(csns)),
            _ => None,
        }
    }

    /// The change number of 389's cookie; `None` for other cookies.
    pub fn change_number(&self) -> Option<u64> {
        match self {
            Cookie::Ds389 { change_number } => Some(*change_number),
            _ => None,
        }
    }

    /// True if the server reports deletions of entries created after this cookie: it names them, or
    /// leaves them out of its present set. slapd does; 389 does not. For other servers this is
    /// unknown, so the result is false.
    pub fn reports_every_deletion(&self) -> bool {
        matches!(self, Cookie::Slapd(csns) if !csns.is_empty())
    }

    /// True if slapd's cookie has an older CSN than `earlier` for one of the providers. The server
    /// then lacks changes that the client has already read. False for cookies of other servers.
    pub fn is_behind(&self, earlier: &Cookie<'_>) -> bool {
        let (new, old) = (self.csns(), earlier.csns());
        new.iter().any(|new| old.iter().any(|old| old.server == new.server && old.text > new.text))
    }

    /// Like [`Self::is_behind`], for the cookie of a refresh that states the whole content: one
    /// without a cookie, or one with a present phase.
    ///
    /// Such a cookie names every provider whose changes the server has. If it omits a provider of
    /// `earlier`, the server lacks the changes of that provider. An example is a server that is
    /// being filled from its partners and has taken a change of its own. It names only itself until
    /// it has everything.
    pub fn is_behind_in_full(&self, earlier: &Cookie<'_>) -> bool {
        let (new, old) = (self.csns(), earlier.csns());
        !new.is_empty()
            && old
                .iter()
                .any(|old| new.iter().all(|new| old.server != new.server || old.text > new.text))
    }

    fn csns(&self) -> &[Csn<'c>] {
        match self {
            Cookie::Slapd(csns) => csns,
            _ => &[],
        }
    }
}

/// Merges slapd's new cookie with the cookie of the request. The newest CSN of each provider
/// (server ID) is kept, because a cookie may name only the provider that changed. All other fields
/// come from `new`.
///
/// The result is `new` if either cookie is not slapd's.
pub fn merge_cookies(old: &[u8], new: &[u8]) -> Vec<u8> {
    merge(old, new).unwrap_or_else(|| new.to_vec())
}

fn merge(old: &[u8], new: &[u8]) -> Option<Vec<u8>> {
    let (Cookie::Slapd(mut csns), Cookie::Slapd(newer)) = (Cookie::parse(old), Cookie::parse(new))
    else {
        return None;
    };
    csns.extend(newer);
    // Sorted by server ID, as slapd does, and newest first: dedup keeps the first of each server.
    // CSNs of one server compare as text.
    csns.sort_unstable_by(|a, b| a.server.cmp(b.server).then(b.text.cmp(a.text)));
    csns.dedup_by_key(|csn| csn.server);
    let csns: Vec<&str> = csns.iter().map(|csn| csn.text).collect();
    let new = std::str::from_utf8(new).ok()?;
    let mut fields: Vec<&str> =
        new.split(',').filter(|field| !field.starts_with(CSN_FIELD)).collect();
    let csn_field = csn_field(&csns);
    if !csns.is_empty() {
        fields.push(&csn_field);
    }
    Some(fields.join(",").into_bytes())
}

/// The cookie that slapd gives for a database with these `contextCSN` values; `None` without any.
pub fn cookie_of_context(csns: &[&str]) -> Option<Vec<u8>> {
    (!csns.is_empty()).then(|| format!("{SLAPD_PREFIX}000,{}", csn_field(csns)).into_bytes())
}

/// The state of slapd's content that a cookie describes.
///
/// slapd omits from a refresh each entry with a newer CSN than the cookie has for the same
/// provider. Such entries changed during the refresh. slapd reports them neither as present nor as
/// deleted.
#[derive(Clone, Debug)]
pub struct Snapshot<'c>(Vec<Csn<'c>>);

impl Snapshot<'_> {
    /// The oldest CSN of the cookie. Every omitted entry has a newer one.
    pub fn oldest(&self) -> &str {
        self.0.iter().map(|csn| csn.text).min().unwrap_or_default()
    }

    /// True if slapd omits an entry with this `entryCSN`. Also true for a malformed one.
    pub fn leaves_out(&self, entry_csn: &str) -> bool {
        parse_csn(entry_csn).is_none_or(|entry| {
            self.0.iter().any(|csn| csn.server == entry.server && entry.text > csn.text)
        })
    }
}

const SLAPD_PREFIX: &str = "rid=";
const CSN_FIELD: &str = "csn=";

/// A change sequence number: `20261123125319.541811Z#000000#001#000000`.
#[derive(Clone, Copy, Debug)]
pub struct Csn<'a> {
    /// Server ID, the third part, in hexadecimal.
    server: &'a str,
    text: &'a str,
}

/// The CSNs of a cookie; `None` if one of them is malformed.
fn csns(cookie: &str) -> Option<Vec<Csn<'_>>> {
    let Some(list) = cookie.split(',').find_map(|field| field.strip_prefix(CSN_FIELD)) else {
        return Some(Vec::new());
    };
    list.split(';').filter(|text| !text.is_empty()).map(parse_csn).collect()
}

fn csn_field(csns: &[&str]) -> String {
    format!("{CSN_FIELD}{}", csns.join(";"))
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
    use super::{Cookie, merge_cookies};

    fn is_behind(old: &[u8], new: &[u8]) -> bool {
        Cookie::parse(new).is_behind(&Cookie::parse(old))
    }

    fn is_behind_in_full(old: &[u8], new: &[u8]) -> bool {
        Cookie::parse(new).is_behind_in_full(&Cookie::parse(old))
    }

    const A1: &str = "20260101000000.000000Z#000000#001#000000";
    const A2: &str = "20260102000000.000000Z#000000#001#000000";
    const B1: &str = "20260101000000.500000Z#000000#002#000000";
    const B2: &str = "20260103000000.000000Z#000000#002#000000";
    const C1: &str = "20260103000000.000000Z#000000#003#000000";

    #[test]
    fn no_csn_is_lost_and_none_goes_back() {
        // (description, sent, received, merged)
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
        // The cookie of an incremental refresh may name only the provider that changed.
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
        let snapshot = Cookie::parse(cookie.as_bytes()).snapshot().unwrap();
        assert_eq!(snapshot.oldest(), A1);
        let left_out = [A1, A2, B1, B2, "20270101000000.000000Z#000000#003#000000", "?"]
            .map(|csn| snapshot.leaves_out(csn));
        assert_eq!(left_out, [false, true, false, false, false, true]);
        for no_snapshot in [&b"rid=000"[..], b"h:389#x#csn=1"] {
            assert!(Cookie::parse(no_snapshot).snapshot().is_none());
        }
    }
}
