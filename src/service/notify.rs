//! Telling systemd how the service is: one datagram a message to the socket that `NOTIFY_SOCKET` names (sd_notify(3)).
//!
//! Without systemd nothing is sent. A message that cannot be sent is dropped: supervision must never hold up a run.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::health::Health;

/// Where to tell it. Clones share the socket.
#[derive(Clone, Debug, Default)]
pub struct Notifier(Option<Arc<(UnixDatagram, SocketAddr)>>);

impl Notifier {
    /// The socket systemd named, if any.
    pub fn from_environment() -> Notifier {
        let Some(name) = env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else { return Notifier::default() };
        Notifier::to(&name).unwrap_or_else(|error| {
            log::warn!("NOTIFY_SOCKET cannot be used, systemd will not be told anything: {error}");
            Notifier::default()
        })
    }

    /// A path, or an abstract name after `@`.
    ///
    /// # Errors
    /// The name is too long, or there is no socket to be had.
    pub fn to(name: &OsStr) -> io::Result<Notifier> {
        let address = match name.as_bytes().strip_prefix(b"@") {
            Some(abstract_name) => SocketAddr::from_abstract_name(abstract_name)?,
            None => SocketAddr::from_pathname(name)?,
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        Ok(Notifier(Some(Arc::new((socket, address)))))
    }

    /// The service is up: configuration read, status listener bound.
    pub fn ready(&self) {
        self.send("READY=1");
    }

    /// The line `systemctl status` shows.
    pub fn status(&self, text: &str) {
        self.send(&format!("STATUS={}", text.replace(['\n', '\r'], " ")));
    }

    /// The configuration is being read again; [`Notifier::ready`] ends it.
    pub fn reloading(&self) {
        match monotonic_usec() {
            Some(usec) => self.send(&format!("RELOADING=1\nMONOTONIC_USEC={usec}")),
            None => self.send("RELOADING=1"),
        }
    }

    /// The service is about to end.
    pub fn stopping(&self) {
        self.send("STOPPING=1");
    }

    /// Still alive, see [`watch`].
    pub fn watchdog(&self) {
        self.send("WATCHDOG=1");
    }

    fn send(&self, message: &str) {
        let Some((socket, address)) = self.0.as_deref() else { return };
        if let Err(error) = socket.send_to_addr(message.as_bytes(), address) {
            log::debug!("systemd was not told {message:?}: {error}");
        }
    }
}

/// Keeps systemd's watchdog (`WatchdogSec=`) quiet while the service is alive, from a thread of its own, at half the interval systemd asks
/// for. A run that hangs, or a loop that is gone, ends the messages, and systemd restarts the service. Does nothing where there is no watchdog.
///
/// # Errors
/// The thread cannot be started.
pub fn watch(notifier: &Notifier, health: &Health) -> io::Result<()> {
    let usec = env::var("WATCHDOG_USEC").ok();
    let pid = env::var("WATCHDOG_PID").ok();
    let Some(interval) = watchdog_interval(usec.as_deref(), pid.as_deref(), std::process::id()) else { return Ok(()) };
    let (notifier, health) = (notifier.clone(), health.clone());
    let remind = move || {
        loop {
            if health.is_alive(Instant::now()) {
                notifier.watchdog();
            }
            thread::sleep(interval);
        }
    };
    thread::Builder::new().name("watchdog".into()).spawn(remind).map(drop)
}

/// Half of what `WATCHDOG_USEC` says, if `WATCHDOG_PID` means us.
fn watchdog_interval(usec: Option<&str>, pid: Option<&str>, own_pid: u32) -> Option<Duration> {
    let usec: u64 = usec?.parse().ok()?;
    let ours = pid.is_none_or(|pid| pid.parse() == Ok(own_pid));
    (ours && usec >= 2).then(|| Duration::from_micros(usec / 2))
}

/// Microseconds that are not behind CLOCK_MONOTONIC, which safe Rust cannot read as a number. `/proc/uptime` counts the time suspended as
/// well, so it is never behind but for its resolution of 10 ms; and systemd only asks whether the message is newer than its own signal.
fn monotonic_usec() -> Option<u64> {
    parse_uptime(&fs::read_to_string("/proc/uptime").ok()?)
}

fn parse_uptime(text: &str) -> Option<u64> {
    let (seconds, hundredths) = text.split_whitespace().next()?.split_once('.')?;
    let hundredths: u64 = hundredths.get(..2)?.parse().ok()?;
    seconds.parse::<u64>().ok()?.checked_mul(1_000_000)?.checked_add((hundredths + 1) * 10_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 1024];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    /// Every message, on a socket with a path and on an abstract one.
    #[test]
    fn messages_are_what_systemd_documents() {
        let name = format!("kls-notify-{}", std::process::id());
        let path = env::temp_dir().join(&name);
        let abstract_address = SocketAddr::from_abstract_name(&name).unwrap();
        let sockets = [
            (UnixDatagram::bind(&path).unwrap(), path.clone().into_os_string()),
            (UnixDatagram::bind_addr(&abstract_address).unwrap(), format!("@{name}").into()),
        ];
        for (socket, name) in sockets {
            let notifier = Notifier::to(&name).unwrap();
            notifier.ready();
            assert_eq!(received(&socket), "READY=1");
            notifier.status("two\nlines");
            assert_eq!(received(&socket), "STATUS=two lines", "a line break would begin another assignment");
            notifier.watchdog();
            assert_eq!(received(&socket), "WATCHDOG=1");
            notifier.stopping();
            assert_eq!(received(&socket), "STOPPING=1");
            notifier.reloading();
            let message = received(&socket);
            let usec = message.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").expect(&message);
            assert!(usec.parse::<u64>().unwrap() > 0, "{message}");
        }
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_socket_that_nobody_reads_does_not_block() {
        let path = env::temp_dir().join(format!("kls-notify-full-{}", std::process::id()));
        let socket = UnixDatagram::bind(&path).unwrap();
        let notifier = Notifier::to(path.as_os_str()).unwrap();
        // Far more than the socket's queue takes; a blocking send would never return.
        (0..10_000).for_each(|_| notifier.watchdog());
        assert_eq!(received(&socket), "WATCHDOG=1");
        drop(socket);
        fs::remove_file(path).unwrap();
        notifier.watchdog();
    }

    #[test]
    fn uptime_is_rounded_up() {
        assert_eq!(parse_uptime("350735.47 234388.90\n"), Some(350_735_480_000));
        assert_eq!(parse_uptime("0.99 0.00"), Some(1_000_000));
        for broken in ["", "x.yy 1.00", "12", "12.", "99999999999999999999.00"] {
            assert_eq!(parse_uptime(broken), None, "{broken:?}");
        }
    }

    #[test]
    fn the_watchdog_is_fed_at_half_its_interval_and_only_if_it_is_ours() {
        assert_eq!(watchdog_interval(Some("30000000"), None, 7), Some(Duration::from_secs(15)));
        assert_eq!(watchdog_interval(Some("30000000"), Some("7"), 7), Some(Duration::from_secs(15)));
        assert_eq!(watchdog_interval(Some("30000000"), Some("8"), 7), None);
        for usec in [None, Some(""), Some("0"), Some("1"), Some("soon")] {
            assert_eq!(watchdog_interval(usec, None, 7), None, "{usec:?}");
        }
    }
}
