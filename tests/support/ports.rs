//! Free ports on the loopback address.

use std::net::TcpListener;

/// `N` ports that were free a moment ago. Another process may take one before the server does: whoever starts a server tries again then.
pub fn free<const N: usize>() -> [u16; N] {
    // All are held until the last is known, so that they differ.
    let listeners: [TcpListener; N] = std::array::from_fn(|_| TcpListener::bind(("127.0.0.1", 0)).expect("a free port on 127.0.0.1"));
    listeners.map(|listener| listener.local_addr().expect("a bound listener has an address").port())
}

/// Whether this machine has the IPv6 loopback address.
pub fn has_ipv6() -> bool {
    TcpListener::bind(("::1", 0)).is_ok()
}
