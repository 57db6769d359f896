//! The directory's conversation in other pieces than usual, and one that ends or stalls at every
//! message, and inside of it.

use std::time::Duration;

use crate::bench::{Bench, Conversation, changes, full, speaking};
use crate::support::peer::Link;

/// Where a conversation is spoilt: a turn, a message of it, and how many bytes of that still come.
#[derive(Clone, Copy, Debug)]
struct Place {
    turn: usize,
    message: usize,
    bytes: usize,
}

/// How it ends there.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    /// The server says nothing more.
    Silence,
    /// TLS is ended in good order.
    Goodbye,
    /// The connection ends, TLS does not.
    Eof,
    /// The connection is reset.
    Reset,
}

/// Before each message, within it, and before its last byte.
fn places(conversation: &Conversation) -> Vec<Place> {
    let mut places = Vec::new();
    for (turn, messages) in conversation.iter().enumerate() {
        for (message, bytes) in messages.iter().map(Vec::len).enumerate() {
            places.extend([0, 1, 3, bytes / 2, bytes - 1].map(|bytes| Place {
                turn,
                message,
                bytes,
            }));
        }
    }
    places
}

/// Holds the conversation up to the place.
fn spoilt(
    conversation: Conversation,
    place: Place,
    end: End,
) -> impl FnOnce(&mut Link) + Send + 'static {
    move |link| {
        for (at, turn) in conversation.into_iter().enumerate().take(place.turn + 1) {
            link.request();
            if at < place.turn {
                link.send(turn.concat());
            } else {
                link.send(turn[..place.message].concat());
                link.send(&turn[place.message][..place.bytes]);
            }
        }
        match end {
            End::Silence => link.stay_silent(),
            End::Goodbye => link.hang_up(),
            End::Eof => link.cut(),
            End::Reset => link.reset(),
        }
    }
}

#[test]
fn a_conversation_that_ends_anywhere_deletes_nothing() {
    for (kind, conversation, is_full) in
        [("everything", full(), true), ("changes", changes(), false)]
    {
        let mut bench = Bench::new();
        let places = places(&conversation);
        assert!(places.len() > 20, "{places:?}");
        for place in places {
            for end in [End::Goodbye, End::Eof, End::Reset] {
                let what = format!("{kind}, {place:?}, {end:?}");
                let result = bench.run(is_full, spoilt(conversation.clone(), place, end));
                let words = match end {
                    End::Goodbye => "closed the connection",
                    End::Eof => "cut the connection off",
                    _ => "the connection broke during",
                };
                bench.assert_failed(&what, &result, &["ldaps://localhost", words]);
            }
        }
        // And it was the ends that failed.
        let result = bench.run(is_full, speaking(conversation));
        bench.assert_correct(kind, &result);
    }
}

#[test]
fn a_conversation_that_stalls_anywhere_ends() {
    // Long enough for what comes before the stall on a busy machine; should it not be, that is a
    // time-out as well.
    let timeout = Duration::from_millis(1500);
    for (kind, conversation, is_full) in
        [("everything", full(), true), ("changes", changes(), false)]
    {
        std::thread::scope(|scope| {
            for place in places(&conversation).into_iter().filter(|place| place.bytes != 1) {
                let conversation = conversation.clone();
                scope.spawn(move || {
                    let mut bench = Bench::new();
                    bench.timeout = timeout;
                    let result = bench.run(is_full, spoilt(conversation, place, End::Silence));
                    bench.assert_failed(
                        &format!("{kind}, {place:?}"),
                        &result,
                        &["timed out", "ldap_timeout"],
                    );
                });
            }
        });
    }
}

#[test]
fn pieces_do_not_matter() {
    type Deliver = fn(&mut Link, Conversation);
    let by_byte: Deliver = |link, conversation| {
        for turn in conversation {
            link.request();
            turn.concat().iter().for_each(|byte| link.send([*byte]));
        }
    };
    // The client asks for each of them, and finds it there.
    let before_being_asked: Deliver = |link, conversation| {
        link.request();
        link.send(conversation.concat().concat());
    };
    for (what, deliver) in [("one byte at a time", by_byte), ("all at once", before_being_asked)] {
        for (conversation, is_full) in [(full(), true), (changes(), false)] {
            let mut bench = Bench::new();
            let result = bench.run(is_full, move |link| {
                deliver(link, conversation);
                link.stay_silent();
            });
            bench.assert_correct(what, &result);
        }
    }
}
