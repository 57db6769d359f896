//! Free ports on the loopback address.

use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

/// `N` ports that were free a moment ago. Another process may take one before the server does:
/// whoever starts a server tries again then.
pub fn free<const N: usize>() -> [u16; N] {
    // All are held until the last is known, so that they differ.
    let listeners: [TcpListener; N] = std::array::from_fn(|_| {
        TcpListener::bind(("127.0.0.1", 0)).expect("a free port on 127.0.0.1")
    });
    listeners.map(|listener| listener.local_addr().expect("a bound listener has an address").port())
}

/// An address for a listener of our own program, which does not try another port. Of 127.0.0.1 any
/// connection may have taken the port meanwhile; this address is nobody's but this process's.
pub fn own_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(12_345);
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    SocketAddr::from(([127, 64 | (high & 63), middle, low], NEXT.fetch_add(1, Ordering::Relaxed)))
}

/// Whether this machine has the IPv6 loopback address.
pub fn has_ipv6() -> bool {
    TcpListener::bind(("::1", 0)).is_ok()
}
