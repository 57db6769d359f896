//! The state that Kanidm keeps for us, and the envelope in it.

use kanidm_ldap_sync::kanidm::state::{MAX_HELD, Opened, SyncState, open};

/// What Kanidm answers, and at the same time what it has stored.
pub fn run(data: &[u8]) {
    match SyncState::from_json(data) {
        Ok(state) => {
            assert_eq!(SyncState::from_json(state.to_json().as_bytes()).as_ref(), Ok(&state));
            if let SyncState::Active { cookie } = &state {
                opened(cookie);
            }
        }
        Err(reason) => assert!(!reason.is_empty()),
    }
    opened(data);
}

fn opened(stored: &[u8]) {
    match open(stored) {
        Ok(Opened::Ours(envelope)) => {
            assert!(envelope.held.len() <= MAX_HELD);
            let again = open(&envelope.to_bytes());
            assert_eq!(again, Ok(Opened::Ours(envelope.clone())));
            // What a run asks of the sketches.
            for known in envelope
                .known
                .iter()
                .flat_map(|known| [&known.persons, &known.groups])
                .chain(&envelope.known_of_version_1)
            {
                let listed: Vec<_> = known.sample().chain(envelope.held.iter().copied()).collect();
                if known.is_exact() || known.sample().len() > 0 {
                    assert_eq!(known.missing_from(listed.iter().copied()), 0);
                }
                assert!(known.missing_from([]) <= known.count());
                assert!(known.known_among(&listed) <= listed.len() as u64);
                let next = known.updated(envelope.held.iter().copied(), listed.iter().copied());
                assert!(next.count() >= next.sample().len() as u64);
            }
        }
        Ok(Opened::Foreign(cookie)) => assert_eq!(cookie, stored),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
