//! Every limit and every range at its boundary: the value at the bound is read, the one beyond it
//! is named in the error.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test says what it expects by failing"
)]

use ldap_content_sync::ber::{MAX_LENGTH_OCTETS, Reader};
use ldap_content_sync::sync_control::{SyncDone, SyncInfo, SyncState};
use ldap_content_sync::{
    DecodeError, DecodeErrorKind, Frame, LdapMessage, Limits, ProtocolOp, frame,
};

fn element(tag: u8, contents: &[u8]) -> Vec<u8> {
    let length = u32::try_from(contents.len()).unwrap().to_be_bytes();
    [&[tag, 0x84], &length[..], contents].concat()
}

fn kind<T: std::fmt::Debug>(result: Result<T, DecodeError>) -> DecodeErrorKind {
    result.unwrap_err().kind
}

#[test]
fn frames() {
    use DecodeErrorKind as Kind;
    use Frame::{Complete, NeedMore};
    type Row<'a> = (&'a str, &'a [u8], usize, Result<Frame, Kind>);
    let table: &[Row<'_>] = &[
        ("nothing yet", &[], 100, Ok(NeedMore { at_least: 2 })),
        ("the tag alone", &[0x30], 100, Ok(NeedMore { at_least: 2 })),
        ("empty contents", &[0x30, 0], 100, Ok(Complete { len: 2 })),
        ("short form, largest", &[0x30, 0x7f], 129, Ok(NeedMore { at_least: 129 })),
        (
            "short form, one beyond the limit",
            &[0x30, 0x7f],
            128,
            Err(Kind::MessageTooLarge { size: 129, max: 128 }),
        ),
        ("long form, its octets missing", &[0x30, 0x82], 100, Ok(NeedMore { at_least: 4 })),
        ("long form, one octet missing", &[0x30, 0x82, 1], 100, Ok(NeedMore { at_least: 4 })),
        ("long form at the limit", &[0x30, 0x81, 97], 100, Ok(NeedMore { at_least: 100 })),
        (
            "long form beyond the limit",
            &[0x30, 0x81, 98],
            100,
            Err(Kind::MessageTooLarge { size: 101, max: 100 }),
        ),
        ("longer than it need be", &[0x30, 0x84, 0, 0, 0, 1, 5], 100, Ok(Complete { len: 7 })),
        (
            "4 GiB",
            &[0x30, 0x84, 255, 255, 255, 255],
            1 << 20,
            Err(Kind::MessageTooLarge { size: 4_294_967_301, max: 1 << 20 }),
        ),
        ("five octets", &[0x30, 0x85], 100, Err(Kind::LengthOctets { octets: 5 })),
        ("reserved first octet", &[0x30, 0xff], 100, Err(Kind::LengthOctets { octets: 127 })),
        ("indefinite", &[0x30, 0x80], 100, Err(Kind::IndefiniteLength)),
        ("another tag", &[0x31], 100, Err(Kind::UnexpectedTag { expected: 0x30, found: 0x31 })),
        ("high tag number", &[0x3f], 100, Err(Kind::UnexpectedTag { expected: 0x30, found: 0x3f })),
        (
            "an HTTP server",
            b"HTTP/1.1 400 Bad Request",
            100,
            Err(Kind::UnexpectedTag { expected: 0x30, found: b'H' }),
        ),
        ("bytes of the next message", &[0x30, 1, 5, 0x30], 3, Ok(Complete { len: 3 })),
    ];
    for (what, bytes, max, expected) in table {
        assert_eq!(frame(bytes, *max).map_err(|error| error.kind), *expected, "{what}");
    }
    assert_eq!(MAX_LENGTH_OCTETS, 4);
}

#[test]
fn numbers() {
    let bad = None;
    let table: &[(&[u8], Option<u32>)] = &[
        (&[], bad),
        (&[0x00], Some(0)),
        (&[0x7f], Some(127)),
        (&[0x80], bad), // negative
        (&[0xff], bad),
        (&[0x00, 0x7f], bad), // not the shortest form
        (&[0x00, 0x80], Some(128)),
        (&[0x00, 0xff], Some(255)),
        (&[0x7f, 0xff], Some(32_767)),
        (&[0x00, 0x7f, 0xff], bad),
        (&[0x00, 0x80, 0x00], Some(32_768)),
        (&[0x7f, 0xff, 0xff], Some(8_388_607)),
        (&[0x00, 0x7f, 0xff, 0xff], bad),
        (&[0x00, 0x80, 0x00, 0x00], Some(8_388_608)),
        (&[0x7f, 0xff, 0xff, 0xff], Some(2_147_483_647)),
        (&[0x80, 0x00, 0x00, 0x00], bad),
        (&[0x00, 0x80, 0x00, 0x00, 0x00], bad), // beyond maxInt
        (&[0x00, 0x00, 0x00, 0x00, 0x00], bad),
    ];
    for (contents, expected) in table {
        let (integer, enumerated) = (element(0x02, contents), element(0x0a, contents));
        assert_eq!(Reader::new(&integer).integer("test").ok(), *expected, "{contents:02x?}");
        assert_eq!(Reader::new(&enumerated).enumerated("test").ok(), *expected, "{contents:02x?}");
        assert!(
            Reader::new(&integer).enumerated("test").is_err()
                && Reader::new(&enumerated).integer("test").is_err()
        );
    }
}

#[test]
fn booleans() {
    let read = |contents: &[u8]| {
        Reader::new(&element(0x01, contents)).boolean_or(false, "test").map_err(|error| error.kind)
    };
    assert_eq!(read(&[0xff]), Ok(true));
    assert_eq!(read(&[0x00]), Ok(false));
    for contents in [&[][..], &[0x01], &[0xfe], &[0xff, 0xff]] {
        assert_eq!(read(contents), Err(DecodeErrorKind::InvalidBoolean), "{contents:02x?}");
    }
    assert_eq!(Reader::new(&[]).boolean_or(true, "test"), Ok(true));
    assert_eq!(Reader::new(&[0x04, 0]).boolean_or(true, "test"), Ok(true));
}

/// A SearchResultDone of success with controls.
fn done(controls: &[u8]) -> Vec<u8> {
    let op = element(0x65, &[0x0a, 1, 0, 4, 0, 4, 0]);
    element(0x30, &[&[0x02, 1, 1][..], &op, &element(0xa0, controls)].concat())
}

#[test]
fn messages_and_controls() {
    let control = element(0x30, &[&[0x04, 3][..], b"1.2"].concat());
    let three = done(&control.repeat(3));
    let limits =
        |max_message, max_controls| Limits { max_message, max_controls, ..Limits::default() };

    let message = LdapMessage::decode(&three, &limits(three.len(), 3)).unwrap();
    assert_eq!(message.controls.iter().count(), 3);
    let large = DecodeErrorKind::MessageTooLarge { size: three.len(), max: three.len() - 1 };
    assert_eq!(kind(LdapMessage::decode(&three, &limits(three.len() - 1, 3))), large);
    assert_eq!(
        kind(LdapMessage::decode(&three, &limits(three.len(), 2))),
        DecodeErrorKind::TooMany { max: 2 }
    );
    assert_eq!(
        kind(LdapMessage::decode(&three, &limits(three.len(), 0))),
        DecodeErrorKind::TooMany { max: 0 }
    );
}

#[test]
fn controls_say_whether_they_have_a_value() {
    let control = |parts: &[u8]| done(&element(0x30, &[&[0x04, 3][..], b"1.2", parts].concat()));
    let read = |bytes: &[u8]| {
        let message = LdapMessage::decode(bytes, &Limits::default())?;
        let control = message.controls.iter().next().unwrap();
        Ok::<_, DecodeError>((control.critical, control.value.map(<[u8]>::to_vec)))
    };
    assert_eq!(read(&control(&[])), Ok((false, None)));
    assert_eq!(read(&control(&[0x01, 1, 0xff])), Ok((true, None)));
    assert_eq!(read(&control(&[0x01, 1, 0x00, 0x04, 0])), Ok((false, Some(vec![]))));
    assert_eq!(read(&control(&[0x04, 1, 7])), Ok((false, Some(vec![7]))));
    assert_eq!(kind(read(&control(&[0x04, 1, 7, 0x04, 0]))), DecodeErrorKind::TrailingData);
    assert!(matches!(
        kind(read(&control(&[0x04, 0, 0x01, 1, 0xff]))),
        DecodeErrorKind::TrailingData
    ));
}

#[test]
fn cookies() {
    let limits = Limits { max_cookie: 4, ..Limits::default() };
    for (size, fits) in [(0, true), (4, true), (5, false)] {
        let cookie = vec![b'c'; size];
        let octets = element(0x04, &cookie);
        let state = element(0x30, &[&[0x0a, 1, 1, 0x04, 16][..], &[7; 16], &octets].concat());
        let done = element(0x30, &octets);
        let set = element(0xa3, &[&octets[..], &[0x31, 0]].concat());
        let read = [
            SyncState::decode(&state, &limits).map(|state| state.cookie.map(<[u8]>::to_vec)),
            SyncDone::decode(&done, &limits).map(|done| done.cookie.map(<[u8]>::to_vec)),
            SyncInfo::decode(&element(0x80, &cookie), &limits)
                .map(|info| info.cookie().map(<[u8]>::to_vec)),
            SyncInfo::decode(&element(0xa1, &octets), &limits)
                .map(|info| info.cookie().map(<[u8]>::to_vec)),
            SyncInfo::decode(&element(0xa2, &octets), &limits)
                .map(|info| info.cookie().map(<[u8]>::to_vec)),
            SyncInfo::decode(&set, &limits).map(|info| info.cookie().map(<[u8]>::to_vec)),
        ];
        for result in read {
            let expected = if fits {
                Ok(Some(cookie.clone()))
            } else {
                Err(DecodeErrorKind::TooLong { size, max: 4 })
            };
            assert_eq!(result.map_err(|error| error.kind), expected);
        }
    }
}

#[test]
fn uuids() {
    let set = |sizes: &[usize]| {
        let uuids: Vec<u8> = sizes.iter().flat_map(|&size| element(0x04, &vec![9; size])).collect();
        element(0xa3, &element(0x31, &uuids))
    };
    let limits = Limits { max_uuids: 3, ..Limits::default() };
    let count = |sizes: &[usize]| match SyncInfo::decode(&set(sizes), &limits)
        .map_err(|error| error.kind)?
    {
        SyncInfo::SyncIdSet { uuids, .. } => {
            assert_eq!(uuids.iter().count(), uuids.len());
            assert_eq!(uuids.is_empty(), sizes.is_empty());
            Ok::<_, DecodeErrorKind>(uuids.len())
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(count(&[]), Ok(0));
    assert_eq!(count(&[16, 16, 16]), Ok(3));
    assert_eq!(count(&[16, 16, 16, 16]), Err(DecodeErrorKind::TooMany { max: 3 }));
    assert_eq!(count(&[15]), Err(DecodeErrorKind::InvalidUuid));
    assert_eq!(count(&[16, 17]), Err(DecodeErrorKind::InvalidUuid));
    assert_eq!(count(&[0]), Err(DecodeErrorKind::InvalidUuid));
}

#[test]
fn synchronisation_values_keep_to_the_rfc() {
    let limits = Limits::default();
    let state = |number: u8| element(0x30, &[&[0x0a, 1, number, 0x04, 16][..], &[7; 16]].concat());
    assert!((0..=3).all(|number| SyncState::decode(&state(number), &limits).is_ok()));
    assert_eq!(kind(SyncState::decode(&state(4), &limits)), DecodeErrorKind::InvalidInteger);

    assert_eq!(
        SyncDone::decode(&[0x30, 0], &limits),
        Ok(SyncDone { cookie: None, refresh_deletes: false })
    );
    assert_eq!(
        SyncDone::decode(&[0x30, 2, 4, 0], &limits),
        Ok(SyncDone { cookie: Some(&[]), refresh_deletes: false })
    );
    assert_eq!(kind(SyncDone::decode(&[0x30, 0, 0], &limits)), DecodeErrorKind::TrailingData);
    assert_eq!(
        kind(SyncDone::decode(&[0x30, 5, 1, 1, 0xff, 4, 0], &limits)),
        DecodeErrorKind::TrailingData
    );

    assert_eq!(SyncInfo::decode(&[0x80, 0], &limits), Ok(SyncInfo::NewCookie(&[])));
    assert_eq!(
        SyncInfo::decode(&[0xa1, 0], &limits),
        Ok(SyncInfo::RefreshDelete { cookie: None, refresh_done: true })
    );
    assert_eq!(
        SyncInfo::decode(&[0xa2, 3, 1, 1, 0], &limits),
        Ok(SyncInfo::RefreshPresent { cookie: None, refresh_done: false })
    );
    assert_eq!(kind(SyncInfo::decode(&[0xa3, 0], &limits)), DecodeErrorKind::Missing);
    assert_eq!(
        kind(SyncInfo::decode(&[0xa4, 0], &limits)),
        DecodeErrorKind::UnexpectedTag { expected: 0xa3, found: 0xa4 }
    );
    assert_eq!(kind(SyncInfo::decode(&[], &limits)), DecodeErrorKind::Missing);
}

#[test]
fn errors_name_offset_and_production() {
    // The second value of the attribute is no OCTET STRING.
    let values = [0x31, 6, 0x04, 1, b'a', 0x02, 1, b'b'];
    let attribute = [&[0x30, 12, 0x04, 2, b'c', b'n'][..], &values].concat();
    let entry = [&[0x64, 19, 0x04, 1, b'x', 0x30, 14][..], &attribute].concat();
    let message = [&[0x30, 24, 0x02, 1, 2][..], &entry].concat();
    let error = LdapMessage::decode(&message, &Limits::default()).unwrap_err();
    assert_eq!(error.to_string(), "AttributeValue at byte 23: tag 0x02 where 0x04 was expected");

    for (tag, text) in [
        (0x63, "unexpected operation searchRequest (tag 0x63)"),
        (0x55, "unknown operation (tag 0x55)"),
    ] {
        let error =
            LdapMessage::decode(&[0x30, 5, 0x02, 1, 2, tag, 0], &Limits::default()).unwrap_err();
        assert_eq!(error.to_string(), format!("LDAPMessage.protocolOp at byte 5: {text}"));
    }
}

#[test]
fn a_diagnostic_that_is_not_utf8_is_still_shown_and_other_strings_are_refused() {
    let result = |matched: u8, diagnostic: u8| {
        element(0x30, &[2, 1, 1, 0x65, 9, 0x0a, 1, 53, 4, 1, matched, 4, 1, diagnostic])
    };
    let bytes = result(b'x', 0xff);
    let message = LdapMessage::decode(&bytes, &Limits::default()).unwrap();
    let ProtocolOp::SearchResultDone(done) = &message.op else { panic!("{message:?}") };
    assert_eq!(
        (done.matched_dn, done.diagnostic.as_ref(), done.code.to_string().as_str()),
        ("x", "\u{fffd}", "unwillingToPerform (53)")
    );
    assert_eq!(
        kind(LdapMessage::decode(&result(0xff, b'x'), &Limits::default())),
        DecodeErrorKind::InvalidUtf8
    );
}

#[test]
fn debug_shows_no_attribute_value() {
    let attribute =
        [&[0x30, 24, 0x04, 12][..], b"userPassword", &[0x31, 8, 0x04, 6], b"s3cret"].concat();
    let entry = [&[0x64, 31, 0x04, 1, b'x', 0x30, 26][..], &attribute].concat();
    let message = [&[0x30, 36, 0x02, 1, 2][..], &entry].concat();
    let message = LdapMessage::decode(&message, &Limits::default()).unwrap();
    let ProtocolOp::SearchResultEntry(entry) = &message.op else { panic!("{message:?}") };
    assert_eq!(
        entry.attributes().flat_map(|attribute| attribute.values()).collect::<Vec<_>>(),
        [b"s3cret"]
    );
    let shown = format!("{message:?}");
    assert!(
        shown.contains("userPassword (1 values)")
            && !shown.contains("s3cret")
            && !shown.contains("115, 51"),
        "{shown}"
    );
}
