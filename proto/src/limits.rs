//! Upper bounds on the data that a server can make the client hold.
//!
//! Scope: numbers only. The caller passes every limit in. Fixed bounds exist in two places: a BER
//! length has at most four octets ([`crate::ber`]), and [`crate::oversized`] limits what it keeps.

/// Upper bounds on received data. A value at the bound is accepted; one above it is an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one LDAPMessage, including its own tag and length. A group is one message: 50,000
    /// members take about 2.15 MB.
    pub max_message: usize,
    /// Controls attached to one message.
    pub max_controls: usize,
    /// UUIDs held for one refresh, 16 bytes each. The sum of entries received, listed as present
    /// and listed as deleted.
    pub max_uuids: usize,
    /// Bytes of a synchronisation cookie. 389 writes bind DN, base and filter into its cookie.
    pub max_cookie: usize,
}

impl Default for Limits {
    /// 64 MiB for a message, 32 controls, 4 million UUIDs (64 MB), 64 KiB for a cookie.
    fn default() -> Self {
        Limits {
            max_message: 64 << 20,
            max_controls: 32,
            max_uuids: 4_000_000,
            max_cookie: 64 << 10,
        }
    }
}
