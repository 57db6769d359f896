//! What the tests upload, and how.

use std::collections::HashSet;
use std::time::Duration;

use kanidm_ldap_sync::content::Claimed;
use kanidm_ldap_sync::content::changeset::{ChangeSet, Member};
use kanidm_ldap_sync::content::scim::{ScimGroup, ScimPerson};
use kanidm_ldap_sync::kanidm::known::Known;
use kanidm_ldap_sync::kanidm::request::Retention;
use kanidm_ldap_sync::kanidm::sketch::Sketch;
use kanidm_ldap_sync::kanidm::state::Yielded;
use kanidm_ldap_sync::kanidm::state::{Envelope, Opened, SyncState, open};
use kanidm_ldap_sync::kanidm::transport::SyncServer;
use kanidm_ldap_sync::upload::{
    EndedPerson, HeldByKanidm, Limits, Upload, UploadError, UploadReport, upload,
};
use uuid::Uuid;

use crate::support::trouble::TestClock;

pub const RUN: Uuid = Uuid::from_u128(0x5ca1_ab1e_0000_4000_8000_0000_0000_0000);

pub fn id(n: u32) -> Uuid {
    Uuid::from_u128(0x1111_2222_3333_4444_5555_0000_0000_0000 + u128::from(n))
}

/// A person of the directory, and what Kanidm gets of it.
#[derive(Clone)]
pub struct Account {
    pub n: u32,
    pub name: String,
    pub dn: String,
    pub mail: String,
    pub gid: u32,
    /// Its password hash is one that Kanidm does not accept.
    pub bad: bool,
    /// The directory locks it.
    pub locked: bool,
}

pub fn person(n: u32) -> Account {
    Account {
        n,
        name: format!("user{n}"),
        dn: format!("uid=user{n},dc=x"),
        mail: format!("user{n}@x"),
        gid: 10_000 + n,
        bad: false,
        locked: false,
    }
}

pub fn add_person(set: &mut ChangeSet, p: &Account) {
    let entry = ScimPerson {
        id: id(p.n),
        name: &p.name,
        displayname: "Some One",
        legalname: None,
        gidnumber: Some(p.gid),
        loginshell: None,
        password_import: p.bad.then_some("{BAD}"),
        unix_password_import: None,
        mail: [p.mail.as_str()].into_iter(),
        ssh_publickey: std::iter::empty(),
        account_valid_from: None,
        account_expire: p.locked.then_some("1970-01-01T00:00:00Z"),
        totp_room: 0,
    };
    set.push_person(&p.dn, entry).unwrap();
}

pub fn add_group(set: &mut ChangeSet, n: u32, members: &[String]) {
    let name = format!("group{n}");
    let entry = ScimGroup { id: id(n), name: &name, description: None, gidnumber: None };
    let members = members.iter().map(|m| Member::Dn(m));
    set.push_group(&format!("cn=group{n},dc=x"), &entry, members).unwrap();
}

pub fn limits(max_entries: usize) -> Limits {
    Limits {
        max_entries,
        max_bytes: 1 << 20,
        timeout: Duration::from_secs(300),
        max_refused: Limits::MAX_REFUSED,
    }
}

/// The envelope that a run stores at its end: `cookie`, and what Kanidm did not accept.
pub fn done(cookie: &str, known: u32, held: &[HeldByKanidm]) -> Envelope {
    Envelope {
        cookie: Some(cookie.as_bytes().to_vec()),
        fingerprint: "f".to_owned(),
        known: Some(Known { persons: Sketch::of((0..known).map(id)), ..Known::default() }),
        held: held.iter().map(|h| h.uuid).collect(),
        ..Envelope::default()
    }
}

/// One upload.
pub struct Job<'a> {
    pub set: &'a ChangeSet,
    pub retention: Retention,
    pub stubs: &'a [(Uuid, String)],
    pub ended: &'a [EndedPerson<'a>],
    pub claimed: &'a [Claimed],
    pub run: Uuid,
    pub full: bool,
    pub tried_before: HashSet<Uuid>,
    pub limits: Limits,
    pub cookie: &'a str,
    /// Entries of the directory beside those of `set`.
    pub others: &'a [Uuid],
    /// Whether the directory can be asked once more.
    pub knows_everyone: bool,
}

impl<'a> Job<'a> {
    pub fn new(set: &'a ChangeSet) -> Self {
        Job {
            set,
            retention: Retention::Ignore,
            stubs: &[],
            ended: &[],
            claimed: &[],
            run: RUN,
            full: false,
            tried_before: HashSet::new(),
            limits: limits(1000),
            cookie: "new",
            others: &[],
            knows_everyone: true,
        }
    }

    pub fn run(&self, server: &mut dyn SyncServer) -> Result<UploadReport, UploadError> {
        let state = server.state().unwrap();
        let base = match &state {
            SyncState::Refresh => Envelope::default(),
            SyncState::Active { cookie } => match open(cookie).unwrap() {
                Opened::Ours(envelope) => *envelope,
                Opened::Foreign(cookie) => Envelope { cookie: Some(cookie), ..Envelope::default() },
            },
        };
        let cookie = self.cookie.to_owned();
        let yielded = if self.full { Yielded::new() } else { base.yielded.clone() };
        let finish = move |held: &[HeldByKanidm]| done(&cookie, 10, held);
        let everyone = || {
            self.knows_everyone.then(|| {
                self.set
                    .records()
                    .iter()
                    .map(|r| r.uuid)
                    .chain(self.others.iter().copied())
                    .collect()
            })
        };
        let input = Upload {
            state,
            base,
            full: self.full,
            run: self.run,
            retention: self.retention.clone(),
            changes: self.set,
            stubs: self.stubs,
            ended: self.ended,
            tried_before: &self.tried_before,
            yielded,
            claimed: self.claimed,
            everyone: &everyone,
            finish: &finish,
            limits: self.limits,
        };
        upload(server, &TestClock::default(), &input, &mut |_| {})
    }
}
