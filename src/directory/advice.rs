//! Advice for the administrator, appended to the messages of [`super::error`].
//!
//! Scope: result codes and stages to text. Each text begins with the punctuation that joins it to
//! the message.

use ldap_content_sync::ResultCode;

use super::error::DirectoryStage;

pub(super) fn silence_advice(stage: DirectoryStage) -> &'static str {
    match stage {
        DirectoryStage::Handshake => {
            "; does this port speak TLS? A plain LDAP port never answers a handshake: use port 636, or ldap_starttls"
        }
        DirectoryStage::Refresh => {
            "; if the server only needs longer, raise ldap_timeout. 389 Directory Server never answers a sync request \
             that it does not understand: see its error log, and run once with --full-refresh"
        }
        DirectoryStage::Search | DirectoryStage::RootDse | DirectoryStage::Listen => {
            "; if the server only needs longer, raise ldap_timeout"
        }
        DirectoryStage::StartTls | DirectoryStage::Bind => "; is this an LDAP server? See its log",
    }
}

pub(super) fn end_advice(stage: DirectoryStage) -> &'static str {
    match stage {
        DirectoryStage::StartTls => "; check that this is the plain LDAP port (389)",
        DirectoryStage::Handshake => {
            "; does this port speak TLS (ldaps is 636)? for StartTLS use ldap:// with ldap_starttls = true"
        }
        DirectoryStage::Refresh => {
            " before its end (no SearchResultDone), so what was read is void; see the server's log; the next run starts again"
        }
        // GnuTLS, and so Debian's slapd, hangs up on a client without a required certificate.
        DirectoryStage::Bind => {
            "; see the server's log: it was stopped, or it demands a client certificate (ldap_client_cert, ldap_client_key)"
        }
        DirectoryStage::Search | DirectoryStage::RootDse | DirectoryStage::Listen => {
            "; see the server's log: it may have been stopped"
        }
    }
}

/// Advice after a Notice of Disconnection (RFC 4511 section 4.4.1). slapd sends one when it is
/// stopped. The message already contains the server's reason.
pub(super) fn notice_advice(stage: DirectoryStage) -> &'static str {
    match stage {
        DirectoryStage::Refresh => "; what was read is void; the next run starts again",
        DirectoryStage::Listen => "",
        _ => "; the next run tries again",
    }
}

pub(super) fn bind_advice(code: ResultCode) -> &'static str {
    match code {
        ResultCode::INVALID_CREDENTIALS => {
            "; check ldap_sync_dn and its password (servers do not tell a wrong password from an account that does not exist)"
        }
        ResultCode::NO_SUCH_OBJECT => "; there is no entry with the DN of ldap_sync_dn: correct it",
        ResultCode::INVALID_DN_SYNTAX => "; ldap_sync_dn is not a DN to this server: correct it",
        ResultCode::AUTH_METHOD_NOT_SUPPORTED | ResultCode::INAPPROPRIATE_AUTHENTICATION => {
            "; SASL EXTERNAL needs ldapi:// or a client certificate that the server asks for and maps to an entry \
             (ldap_client_cert); a simple bind needs ldap_sync_dn and ldap_sync_pw, and an entry that has a password"
        }
        ResultCode::CONSTRAINT_VIOLATION => {
            "; the account may be locked after too many failed binds: unlock it in the directory"
        }
        ResultCode::UNWILLING_TO_PERFORM => {
            "; the account may be inactivated, or the server may not allow this kind of bind: see its log"
        }
        ResultCode::STRONGER_AUTH_REQUIRED | ResultCode::CONFIDENTIALITY_REQUIRED => {
            "; the server's security settings ask for more than this connection offers: check olcSecurity, on 389 nsslapd-minssf"
        }
        ResultCode::BUSY | ResultCode::UNAVAILABLE => {
            "; the server takes no requests at the moment; the next run tries again"
        }
        _ => "",
    }
}

/// Advice for SASL EXTERNAL, which has neither a DN nor a password to check.
pub(super) fn external_advice(code: ResultCode) -> &'static str {
    match code {
        ResultCode::INVALID_CREDENTIALS
        | ResultCode::INAPPROPRIATE_AUTHENTICATION
        | ResultCode::INSUFFICIENT_ACCESS_RIGHTS => {
            "; the server knows no entry for our client certificate, or for the user of this process on ldapi; \
             OpenLDAP: see olcAuthzRegexp; 389 Directory Server: see certmap.conf for certificates, \
             nsslapd-ldapiautobind and nsslapd-ldapimaptoentries for ldapi"
        }
        other => bind_advice(other),
    }
}

/// Counterpart of the search_advice text for UNWILLING_TO_PERFORM, after a full refresh.
pub(super) const BEHIND_IN_FULL: &str = ": the directory is older than what was synchronised before: it was restored from a backup, \
     lost its latest changes, or waits for its replication partners; nothing was changed in Kanidm. \
     Bring the directory up to date, and the next run continues. If this state is intended, or if it is another directory, \
     run once with --full-refresh";

pub(super) fn search_advice(code: ResultCode, stage: DirectoryStage) -> &'static str {
    match code {
        ResultCode::NO_SUCH_OBJECT => {
            ": the base does not exist, or this account may not see it; \
             check ldap_sync_base_dn, and that the sync account has read access to the base and everything below it"
        }
        ResultCode::INVALID_DN_SYNTAX => {
            "; the base is not a DN to this server: check ldap_sync_base_dn"
        }
        ResultCode::INSUFFICIENT_ACCESS_RIGHTS => {
            "; the sync account lacks rights: give it read access to the base and everything below it, \
             and on 389 Directory Server the right to use content synchronisation too \
             (an ACI on oid=1.3.6.1.4.1.4203.1.9.1.1,cn=features,cn=config)"
        }
        ResultCode::SIZE_LIMIT_EXCEEDED => {
            "; the server limits the number of entries for this account, and a run needs all of them; \
             OpenLDAP: add to the database `limits dn.exact=\"<ldap_sync_dn>\" size=unlimited time=unlimited`; \
             389 Directory Server: set nsSizeLimit: -1 and nsLookThroughLimit: -1 on the account's entry"
        }
        ResultCode::TIME_LIMIT_EXCEEDED => {
            "; OpenLDAP: add to the database `limits dn.exact=\"<ldap_sync_dn>\" size=unlimited time=unlimited`; \
             389 Directory Server: set nsTimeLimit: -1 on the account's entry"
        }
        ResultCode::ADMIN_LIMIT_EXCEEDED => {
            "; the search has to look at more entries than the server allows this account; index the attributes of ldap_filter; \
             389 Directory Server: set nsLookThroughLimit: -1 on the account's entry"
        }
        ResultCode::UNWILLING_TO_PERFORM if stage == DirectoryStage::Listen => {
            "; 389 Directory Server takes ten persistent searches at a time: end others. OpenLDAP answers so if it is older \
             than what the last run read: see the message of the run"
        }
        ResultCode::UNWILLING_TO_PERFORM if stage == DirectoryStage::Refresh => {
            ": the directory is older than what was synchronised before: it was restored from a backup, emptied, \
             or lost its latest changes; nothing was changed in Kanidm. \
             Bring the directory up to date, and the next run continues. If this state is intended, run once with --full-refresh"
        }
        ResultCode::UNAVAILABLE_CRITICAL_EXTENSION => {
            "; content synchronisation is not available below this base; OpenLDAP: the overlay syncprov has to be on the database that \
             holds the base; 389 Directory Server: enable the plugins \"Retro Changelog\" and \"Content Synchronization\""
        }
        ResultCode::REFERRAL => {
            "; this server does not hold the base and refers to another one; set ldap_uri to the one that does"
        }
        ResultCode::BUSY | ResultCode::UNAVAILABLE => {
            "; the server takes no requests at the moment; the next run tries again"
        }
        ResultCode::SYNC_REFRESH_REQUIRED => {
            "; the server asks for a full refresh although this is one; see its log"
        }
        _ => "; see the server's log",
    }
}
