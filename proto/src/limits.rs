//! The limits that bound what a server can make us hold. Every one is passed in; nothing in this
//! crate has a limit of its own, except the four octets a length may have ([`crate::ber`]).

/// Upper bounds on what is received. A value at the bound is accepted, one beyond it is an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one LDAPMessage, its own tag and length included. A group is one message: 50,000
    /// members take about 2.15 MB.
    pub max_message: usize,
    /// Controls attached to one message.
    pub max_controls: usize,
    /// UUIDs held for one refresh: entries received, plus those listed as present, plus those
    /// listed as deleted. 16 bytes each.
    pub max_uuids: usize,
    /// Bytes of a synchronisation cookie. 389 puts bind DN, base and filter into it.
    pub max_cookie: usize,
}

impl Default for Limits {
    /// 64 MiB a message, 32 controls, 4 million UUIDs (64 MB), 64 KiB a cookie.
    fn default() -> Self {
        Limits {
            max_message: 64 << 20,
            max_controls: 32,
            max_uuids: 4_000_000,
            max_cookie: 64 << 10,
        }
    }
}
