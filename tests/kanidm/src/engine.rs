//! The Kanidm engine: everything the server asks of it, as plain functions that block.
//!
//! What a sync client can do comes first, the controls for tests after it, opening and logging in
//! last. Each function is one transaction. They must be called outside the asynchronous threads
//! (`spawn_blocking`): the engine computes for seconds.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use kanidm_proto::internal::FsType;
use kanidm_proto::scim_v1::{ScimSyncRequest, ScimSyncState};
use kanidm_proto::v1::{AuthCredential, AuthIssueSession, AuthMech, AuthRequest, AuthStep};
use kanidmd_lib::be::{Backend, BackendConfig};
use kanidmd_lib::event::ReviveRecycledEvent;
use kanidmd_lib::idm::AuthState;
use kanidmd_lib::idm::event::{AuthEvent, AuthResult};
use kanidmd_lib::idm::scim::{GenerateScimSyncTokenEvent, ScimSyncUpdateEvent};
use kanidmd_lib::idm::server::{
    IdmServerProxyReadTransaction, IdmServerProxyWriteTransaction, IdmServerTransaction,
};
use kanidmd_lib::prelude::*;
use kanidmd_lib::schema::Schema;
use kanidmd_lib::{entry_init, filter, filter_rec};
use tokio::runtime::Handle;

use crate::snapshot::{EntrySnapshot, Recycled};

/// What the engine answers: a value, or Kanidm's own error.
pub type Outcome<T> = Result<T, OperationError>;

/// The domain of the test server; names are `name@example.com`.
const DOMAIN: &str = "example.com";
/// Connections to a database on disk. One in memory has a single one.
const CONNECTIONS: u32 = 4;

/// A running engine, in memory or on a database file.
pub struct Engine {
    idms: IdmServer,
    /// Logging in queues work for these; without them it fails.
    _queues: (IdmServerDelayed, IdmServerAudit),
    /// An engine in memory has one database connection, and gives up waiting for it after five
    /// seconds. So that a read during a long write waits instead, they take turns here.
    turns: Option<Mutex<()>>,
}

/// What is to happen to a request that has been applied and not yet committed.
pub enum Decision {
    /// Keep it.
    Commit,
    /// Undo it, as if it had never come.
    RollBack,
}

/// A new sync account.
pub struct SyncAccount {
    pub uuid: Uuid,
    pub token: String,
}

impl Engine {
    /// The state that `GET /scim/v1/Sync` answers.
    pub fn sync_state(&self, bearer: Option<&str>) -> Outcome<ScimSyncState> {
        let _turn = self.turn();
        let mut read = self.read()?;
        let ident = read.validate_sync_client_auth_info_to_ident(client(bearer), now())?;
        read.scim_sync_get_state(&ident)
    }

    /// Applies a `POST /scim/v1/Sync`. `decide` is asked when everything is applied and nothing
    /// committed. Answers whether it was committed.
    pub fn sync_apply(
        &self,
        bearer: Option<&str>,
        request: &ScimSyncRequest,
        decide: impl FnOnce() -> Decision,
    ) -> Outcome<bool> {
        let _turn = self.turn();
        let mut write = self.write()?;
        let ident = write.validate_sync_client_auth_info_to_ident(client(bearer), now())?;
        write.scim_sync_apply(&ScimSyncUpdateEvent { ident }, request, now())?;
        match decide() {
            Decision::Commit => write.commit().map(|()| true),
            Decision::RollBack => Ok(false),
        }
    }

    /// Which attributes of a request refused as not unique are taken, by another entry of it or by
    /// one that Kanidm holds.
    ///
    /// The engine of 1.7 does not say; later ones answer it. The names are Kanidm's, in
    /// alphabetical order.
    pub fn conflicting_attributes(&self, request: &ScimSyncRequest) -> Outcome<Vec<&'static str>> {
        let _turn = self.turn();
        let mut read = self.read()?;
        crate::conflicts::find(&mut read.qs_read, request)
    }

    /// Makes a sync account and a token for it, as `kanidm system sync create` and `generate-token`
    /// do.
    pub fn create_sync_account(&self, name: &str) -> Outcome<SyncAccount> {
        let _turn = self.turn();
        let admin = self.log_in()?;
        let uuid = Uuid::new_v4();
        let mut write = self.write()?;
        write.qs_write.internal_create(vec![entry_init!(
            (Attribute::Class, EntryClass::Object.to_value()),
            (Attribute::Class, EntryClass::SyncAccount.to_value()),
            (Attribute::Name, Value::new_iname(name)),
            (Attribute::Uuid, Value::Uuid(uuid))
        )])?;
        let ident = write.validate_client_auth_info_to_ident(admin.credentials(), now())?;
        let token = write.scim_sync_generate_token(
            &GenerateScimSyncTokenEvent { ident, target: uuid, label: "test".into() },
            now(),
        )?;
        write.commit()?;
        Ok(SyncAccount { uuid, token: token.to_string() })
    }

    /// The token of a person's session, here the administrator's: valid, but not for synchronising.
    pub fn user_token(&self) -> Outcome<String> {
        let _turn = self.turn();
        self.log_in().map(|session| session.token)
    }

    /// The state of a sync account, named by name or UUID.
    pub fn state_of(&self, account: &str) -> Outcome<ScimSyncState> {
        let _turn = self.turn();
        let mut read = self.read()?;
        let uuid = read.qs_read.name_to_uuid(account)?;
        let entry = read.qs_read.internal_search_uuid(uuid)?;
        Ok(match entry.get_ava_single_private_binary(Attribute::SyncCookie) {
            Some(cookie) => ScimSyncState::Active { cookie: cookie.to_vec() },
            None => ScimSyncState::Refresh,
        })
    }

    /// Forgets the cookie, as `kanidm system sync force-refresh` does.
    pub fn force_refresh(&self, account: &str) -> Outcome<()> {
        let _turn = self.turn();
        let mut write = self.write()?;
        let uuid = write.qs_write.name_to_uuid(account)?;
        write.qs_write.internal_modify_uuid(uuid, &ModifyList::new_purge(Attribute::SyncCookie))?;
        write.commit()
    }

    /// Sets the attributes that Kanidm controls, as `kanidm system sync set-yield-attributes` does.
    pub fn yield_attributes(&self, account: &str, attributes: &[String]) -> Outcome<()> {
        let _turn = self.turn();
        let mut write = self.write()?;
        let uuid = write.qs_write.name_to_uuid(account)?;
        let value =
            |name: &String| Modify::Present(Attribute::SyncYieldAuthority, Value::new_iutf8(name));
        let changes = [Modify::Purged(Attribute::SyncYieldAuthority)]
            .into_iter()
            .chain(attributes.iter().map(value));
        write.qs_write.internal_modify_uuid(uuid, &ModifyList::new_list(changes.collect()))?;
        write.commit()
    }

    /// Every live entry of a sync account, in the order of their UUIDs.
    pub fn entries_of(&self, account: &str) -> Outcome<Vec<EntrySnapshot>> {
        let _turn = self.turn();
        let mut read = self.read()?;
        let uuid = read.qs_read.name_to_uuid(account)?;
        let found = read
            .qs_read
            .internal_search(filter!(f_eq(Attribute::SyncParentUuid, PartialValue::Refer(uuid))))?;
        let mut entries: Vec<_> = found.iter().map(|entry| EntrySnapshot::of(entry)).collect();
        entries.sort_by_key(|entry| entry.uuid);
        Ok(entries)
    }

    /// Whether a person's stored hash is of this password: the primary one, or the unix one.
    pub fn verify_password(&self, person: &str, password: &str, unix: bool) -> Outcome<bool> {
        let _turn = self.turn();
        let mut read = self.read()?;
        let uuid = read.qs_read.name_to_uuid(person)?;
        let entry = read.qs_read.internal_search_uuid(uuid)?;
        let attribute = if unix { Attribute::UnixPassword } else { Attribute::PrimaryCredential };
        match entry.get_ava_single_credential(attribute) {
            Some(credential) => credential
                .password_ref()?
                .verify(password)
                .map_err(|_| OperationError::CryptographyError),
            None => Ok(false),
        }
    }

    /// Logs a person in, as `kanidm login` does. Answers why Kanidm denies it.
    pub fn log_in_as(
        &self,
        person: &str,
        password: &str,
        totp: Option<u32>,
    ) -> Outcome<Result<(), String>> {
        let _turn = self.turn();
        let first = AuthStep::Init2 {
            username: person.into(),
            issue: AuthIssueSession::Token,
            privileged: false,
        };
        let mech = if totp.is_some() { AuthMech::PasswordTotp } else { AuthMech::Password };
        let credentials = totp
            .map(AuthCredential::Totp)
            .into_iter()
            .chain([AuthCredential::Password(password.into())]);
        let steps = [AuthStep::Begin(mech)].into_iter().chain(credentials.map(AuthStep::Cred));
        let mut result = self.authenticate(None, first)?;
        for step in steps {
            match (&step, &result.state) {
                (_, AuthState::Denied(reason)) => return Ok(Err(reason.clone())),
                (AuthStep::Begin(mech), AuthState::Choose(offered)) if !offered.contains(mech) => {
                    return Ok(Err(format!("Kanidm asks for {offered:?}")));
                }
                _ => {}
            }
            result = self.authenticate(Some(result.sessionid), step)?;
        }
        Ok(match result.state {
            AuthState::Success(..) => Ok(()),
            other => Err(format!("{other:?}")),
        })
    }

    /// Makes a person or group of Kanidm's own, outside every sync account.
    pub fn create_local(
        &self,
        kind: LocalKind,
        name: &str,
        gidnumber: Option<u32>,
        mail: Option<&str>,
    ) -> Outcome<Uuid> {
        let _turn = self.turn();
        let uuid = Uuid::new_v4();
        let mut entry = entry_init!(
            (Attribute::Class, EntryClass::Object.to_value()),
            (Attribute::Name, Value::new_iname(name)),
            (Attribute::Uuid, Value::Uuid(uuid))
        );
        let posix = match kind {
            LocalKind::Person => {
                entry.add_ava(Attribute::Class, EntryClass::Account.to_value());
                entry.add_ava(Attribute::Class, EntryClass::Person.to_value());
                entry.add_ava(Attribute::DisplayName, Value::new_utf8s(name));
                EntryClass::PosixAccount
            }
            LocalKind::Group => {
                entry.add_ava(Attribute::Class, EntryClass::Group.to_value());
                EntryClass::PosixGroup
            }
        };
        if let Some(gidnumber) = gidnumber {
            entry.add_ava(Attribute::Class, posix.to_value());
            entry.add_ava(Attribute::GidNumber, Value::new_uint32(gidnumber));
        }
        if let Some(mail) = mail {
            entry.add_ava(Attribute::Mail, Value::EmailAddress(mail.to_string(), true));
        }
        let mut write = self.write()?;
        write.qs_write.internal_create(vec![entry])?;
        write.commit()?;
        Ok(uuid)
    }

    /// The entries in the recycle bin, in the order of their UUIDs.
    pub fn recycled(&self) -> Outcome<Vec<Recycled>> {
        let _turn = self.turn();
        let mut read = self.read()?;
        let found = read
            .qs_read
            .internal_search(filter_rec!(f_eq(Attribute::Class, EntryClass::Recycled.into())))?;
        let mut recycled: Vec<_> = found.iter().map(|entry| Recycled::of(entry)).collect();
        recycled.sort_by_key(|entry| entry.uuid);
        Ok(recycled)
    }

    /// Brings an entry back, as `kanidm recycle-bin revive` does.
    pub fn revive(&self, uuid: Uuid) -> Outcome<()> {
        let _turn = self.turn();
        let admin = self.log_in()?;
        let mut write = self.write()?;
        let ident = write.validate_client_auth_info_to_ident(admin.credentials(), now())?;
        let filter = filter_rec!(f_eq(Attribute::Uuid, PartialValue::Uuid(uuid)));
        let event = ReviveRecycledEvent::from_parts(ident, &filter, &write.qs_write)?;
        write.qs_write.revive_recycled(&event)?;
        write.commit()
    }

    /// Opens an engine: on `database`, which is made when it does not exist, or in memory.
    pub async fn open(database: Option<&Path>) -> Outcome<Engine> {
        let schema = Schema::new()?;
        let indexes = schema.write().reload_idxmeta();
        let config = BackendConfig::new(database, CONNECTIONS, FsType::Generic, None);
        let backend = Backend::new(config, indexes, false)?;
        let server = QueryServer::new(backend, schema, DOMAIN.to_string(), now())?;
        server.initialise_helper(now(), DOMAIN_TGT_LEVEL).await?;
        let origin =
            Url::parse("https://idm.example.com").map_err(|_| OperationError::InvalidState)?;
        let (idms, delayed, audit) = IdmServer::new(server, &origin, true, now()).await?;
        let turns = database.is_none().then(Mutex::default);
        Ok(Engine { idms, _queues: (delayed, audit), turns })
    }

    /// A session of the built-in administrator, by a password made for it.
    fn log_in(&self) -> Outcome<Session> {
        let mut write = self.write()?;
        let password = write.recover_account("admin", None)?;
        write.commit()?;
        let first = AuthStep::Init2 {
            username: "admin".into(),
            issue: AuthIssueSession::Token,
            privileged: true,
        };
        let begun = self.authenticate(None, first)?;
        let session = Some(begun.sessionid);
        self.authenticate(session, AuthStep::Begin(AuthMech::Password))?;
        match self.authenticate(session, AuthStep::Cred(AuthCredential::Password(password)))?.state
        {
            AuthState::Success(token, _) => Ok(Session { token: token.to_string() }),
            _ => Err(OperationError::NotAuthenticated),
        }
    }

    /// One step of a log-in, a transaction of its own.
    fn authenticate(&self, session: Option<Uuid>, step: AuthStep) -> Outcome<AuthResult> {
        let event = AuthEvent::from_message(session, AuthRequest { step })?;
        Handle::current().block_on(async {
            let mut auth = self.idms.auth().await?;
            let result = auth.auth(&event, now(), client(None)).await?;
            auth.commit()?;
            Ok(result)
        })
    }

    fn read(&self) -> Outcome<IdmServerProxyReadTransaction<'_>> {
        Handle::current().block_on(self.idms.proxy_read())
    }

    fn write(&self) -> Outcome<IdmServerProxyWriteTransaction<'_>> {
        Handle::current().block_on(self.idms.proxy_write(now()))
    }

    /// Waits until this engine is free, where it can do one thing at a time only.
    fn turn(&self) -> Option<MutexGuard<'_, ()>> {
        self.turns.as_ref().map(|turns| turns.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What [`Engine::create_local`] makes.
#[derive(Clone, Copy)]
pub enum LocalKind {
    Person,
    Group,
}

/// A log-in that succeeded.
struct Session {
    token: String,
}

impl Session {
    fn credentials(&self) -> ClientAuthInfo {
        client(Some(&self.token))
    }
}

/// How the engine sees the caller. A token that is none counts as absent, as in kanidmd.
fn client(bearer: Option<&str>) -> ClientAuthInfo {
    let token = bearer.and_then(|text| text.parse().ok());
    ClientAuthInfo::new(Source::Https(std::net::Ipv4Addr::LOCALHOST.into()), None, token, None)
}

/// The time, as the engine counts it: since 1970.
fn now() -> Duration {
    duration_from_epoch_now()
}
