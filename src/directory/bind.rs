//! The bind, and the question which account it was.

use ldap_content_sync::{ProtocolOp, ResultCode, request};

use super::connection::{Connection, out_of_place};
use super::error::{DirectoryProblem, DirectoryStage, quote};
use crate::config::sync::{Bind, DirectoryConfig};

const STAGE: DirectoryStage = DirectoryStage::Bind;

/// Binds as configured. Returns the DN of the account; `None` if the server does not reveal it.
pub(super) fn bind(
    connection: &mut Connection,
    cfg: &DirectoryConfig,
) -> Result<Option<String>, DirectoryProblem> {
    authenticate(connection, &cfg.bind).map_err(|problem| blame_certificate(problem, cfg))?;
    match &cfg.bind {
        Bind::Simple { dn, .. } => Ok(Some(dn.clone())),
        Bind::External => who_am_i(connection),
    }
}

fn authenticate(connection: &mut Connection, bind: &Bind) -> Result<(), DirectoryProblem> {
    let id = connection.request(STAGE, |id| match bind {
        Bind::Simple { dn, password } => request::bind_simple(id, dn, password.expose().as_bytes()),
        Bind::External => request::bind_external(id),
    })?;
    connection.answers(id, STAGE, |message| match &message.op {
        ProtocolOp::BindResponse(answer) if answer.result.code == ResultCode::SUCCESS => {
            Ok(Some(()))
        }
        ProtocolOp::BindResponse(answer) => Err(DirectoryProblem::BindRefused {
            dn: match bind {
                Bind::Simple { dn, .. } => Some(dn.clone()),
                Bind::External => None,
            },
            code: answer.result.code,
            diagnostic: quote(&answer.result.diagnostic),
        }),
        _ => Err(out_of_place(message, STAGE)),
    })
}

/// The DN of an account that bound without naming it. `None` if the server does not support the
/// operation.
fn who_am_i(connection: &mut Connection) -> Result<Option<String>, DirectoryProblem> {
    let id = connection.request(STAGE, request::who_am_i)?;
    connection.answers(id, STAGE, |message| match &message.op {
        ProtocolOp::ExtendedResponse(answer) => {
            let identity = answer.value.and_then(|value| str::from_utf8(value).ok());
            let dn = identity.and_then(|identity| identity.strip_prefix("dn:"));
            Ok(Some(dn.map(str::to_owned)))
        }
        _ => Err(out_of_place(message, STAGE)),
    })
}

/// Replaces the error of a closed connection by one about the client certificate, if there is one.
/// In TLS 1.3 the client finishes the handshake before the server checks its certificate. The
/// server may reject it with an alert or just hang up (slapd with GnuTLS). The client sees this
/// only while it waits for its first response.
fn blame_certificate(problem: DirectoryProblem, cfg: &DirectoryConfig) -> DirectoryProblem {
    match (problem, &cfg.client_cert) {
        (
            DirectoryProblem::Closed { .. } | DirectoryProblem::Lost { .. },
            Some((certificate, _)),
        ) => DirectoryProblem::CertificateRejected { certificate: certificate.clone() },
        (problem, _) => problem,
    }
}
