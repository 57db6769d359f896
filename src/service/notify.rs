//! Messages to systemd about the state of the service: one datagram each to the socket that
//! `NOTIFY_SOCKET` names (sd_notify(3)).
//!
//! Scope: sending. Without systemd nothing is sent. A run never waits for a message. If the queue
//! of the socket is full, STATUS and WATCHDOG are dropped, because the next ones replace them.
//! READY and RELOADING are sent later, in order. STOPPING is repeated for as long as a stop may
//! take.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::health::Health;

/// The socket of systemd, if any. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Notifier(Option<Arc<Systemd>>);

/// The socket and the unsent messages.
#[derive(Debug)]
struct Systemd {
    socket: UnixDatagram,
    address: SocketAddr,
    unsent: Mutex<Unsent>,
}

#[derive(Debug, Default)]
struct Unsent {
    /// READY, RELOADING, or both: at most two.
    messages: Vec<String>,
    /// True while a thread tries to send them.
    is_retried: bool,
    /// True after STOPPING, the last message.
    is_over: bool,
}

/// The first pause before a message is sent again. Each later pause is twice as long.
const RETRY: Duration = Duration::from_millis(10);
/// The longest pause.
const LONGEST_RETRY: Duration = Duration::from_secs(5);
/// How long STOPPING is repeated. With the rest of a stop this takes less than a second.
const GOODBYE: Duration = Duration::from_millis(600);

impl Notifier {
    /// The socket that systemd named, if any.
    pub fn from_environment() -> Notifier {
        let Some(name) = env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else {
            return Notifier::default();
        };
        Notifier::to(&name).unwrap_or_else(|error| {
            log::warn!("NOTIFY_SOCKET cannot be used, systemd will not be told anything: {error}");
            Notifier::default()
        })
    }

    /// Sends to a path, or to an abstract name after `@`.
    ///
    /// # Errors
    /// The name is too long, or no socket can be created.
    pub fn to(name: &OsStr) -> io::Result<Notifier> {
        let address = match name.as_bytes().strip_prefix(b"@") {
            Some(abstract_name) => SocketAddr::from_abstract_name(abstract_name)?,
            None => SocketAddr::from_pathname(name)?,
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        Ok(Notifier(Some(Arc::new(Systemd { socket, address, unsent: Mutex::default() }))))
    }

    /// The service is up: it has read the configuration and bound the status listener.
    pub fn ready(&self) {
        let Some(systemd) = &self.0 else { return };
        systemd.send_surely(|messages| {
            if messages.last().is_none_or(|last| last != READY) {
                messages.push(READY.to_owned());
            }
        });
    }

    /// The line that `systemctl status` shows.
    pub fn status(&self, text: &str) {
        self.send(&format!("STATUS={}", text.replace(['\n', '\r'], " ")));
    }

    /// The service reads its configuration again; [`Notifier::ready`] ends this.
    pub fn reloading(&self) {
        let Some(systemd) = &self.0 else { return };
        let time =
            monotonic_usec().map(|usec| format!("\nMONOTONIC_USEC={usec}")).unwrap_or_default();
        // READY follows, so an unsent READY is not needed any more.
        systemd.send_surely(|messages| *messages = vec![format!("RELOADING=1{time}")]);
    }

    /// The service is about to end. Returns when systemd has the message, or after a moment if
    /// systemd does not listen.
    pub fn stopping(&self) {
        let Some(systemd) = &self.0 else { return };
        let begin = Instant::now();
        systemd.end();
        while systemd.send("STOPPING=1").is_err() && begin.elapsed() < GOODBYE {
            thread::sleep(RETRY);
        }
    }

    /// The service is alive; see [`watch`].
    pub fn watchdog(&self) {
        self.send("WATCHDOG=1");
    }

    fn send(&self, message: &str) {
        let Some(systemd) = &self.0 else { return };
        if let Err(error) = systemd.send(message) {
            log::debug!("systemd was not told {message:?}: {error}");
        }
    }
}

const READY: &str = "READY=1";

impl Systemd {
    fn send(&self, message: &str) -> io::Result<()> {
        self.socket.send_to_addr(message.as_bytes(), &self.address).map(drop)
    }

    /// Changes the messages that must arrive, and sends those that it can. A thread sends the rest.
    fn send_surely(self: &Arc<Self>, change: impl FnOnce(&mut Vec<String>)) {
        let mut unsent = self.unsent();
        if unsent.is_over {
            return;
        }
        change(&mut unsent.messages);
        if self.has_sent_all(&mut unsent) || unsent.is_retried {
            return;
        }
        let systemd = Arc::clone(self);
        // If no thread starts, the next message of this kind tries again.
        unsent.is_retried =
            thread::Builder::new().name("notify".into()).spawn(move || systemd.retry()).is_ok();
    }

    fn retry(&self) {
        let mut pause = RETRY;
        loop {
            thread::sleep(pause);
            let mut unsent = self.unsent();
            if self.has_sent_all(&mut unsent) {
                unsent.is_retried = false;
                return;
            }
            pause = pause.saturating_mul(2).min(LONGEST_RETRY);
        }
    }

    /// Sends in order until a message cannot be sent. True if none is left.
    fn has_sent_all(&self, unsent: &mut Unsent) -> bool {
        let sent = unsent.messages.iter().take_while(|message| self.send(message).is_ok()).count();
        unsent.messages.drain(..sent);
        unsent.messages.is_empty()
    }

    /// Makes sure that nothing is sent after STOPPING.
    fn end(&self) {
        let mut unsent = self.unsent();
        unsent.is_over = true;
        unsent.messages.clear();
    }

    fn unsent(&self) -> MutexGuard<'_, Unsent> {
        self.unsent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Feeds systemd's watchdog (`WatchdogSec=`) while the service is alive, from a thread of its own,
/// at half of systemd's interval. If a run hangs or the loop is gone, the messages stop and systemd
/// restarts the service. Does nothing without a watchdog.
///
/// # Errors
/// The thread cannot be started.
pub fn watch(notifier: &Notifier, health: &Health) -> io::Result<()> {
    let usec = env::var("WATCHDOG_USEC").ok();
    let pid = env::var("WATCHDOG_PID").ok();
    let Some(interval) = watchdog_interval(usec.as_deref(), pid.as_deref(), std::process::id())
    else {
        return Ok(());
    };
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

/// Half of `WATCHDOG_USEC`, if `WATCHDOG_PID` is this process.
fn watchdog_interval(usec: Option<&str>, pid: Option<&str>, own_pid: u32) -> Option<Duration> {
    let usec: u64 = usec?.parse().ok()?;
    let ours = pid.is_none_or(|pid| pid.parse() == Ok(own_pid));
    (ours && usec >= 2).then(|| Duration::from_micros(usec / 2))
}

/// A time in microseconds that is never before CLOCK_MONOTONIC, which safe Rust cannot read as a
/// number. `/proc/uptime` also counts suspended time, so it is at most its resolution of 10 ms too
/// early, which is added. systemd only checks that the message is newer than its own signal.
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
            assert_eq!(
                received(&socket),
                "STATUS=two lines",
                "a line break would begin another assignment"
            );
            notifier.watchdog();
            assert_eq!(received(&socket), "WATCHDOG=1");
            notifier.reloading();
            let message = received(&socket);
            let usec = message.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").expect(&message);
            assert!(usec.parse::<u64>().unwrap() > 0, "{message}");
            notifier.stopping();
            assert_eq!(received(&socket), "STOPPING=1");
        }
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_socket_that_nobody_reads_does_not_block() {
        let path = env::temp_dir().join(format!("kls-notify-full-{}", std::process::id()));
        let socket = UnixDatagram::bind(&path).unwrap();
        let notifier = Notifier::to(path.as_os_str()).unwrap();
        // Far more messages than the socket's queue takes. A blocking send would never return.
        (0..10_000).for_each(|_| notifier.watchdog());
        assert_eq!(received(&socket), "WATCHDOG=1");
        drop(socket);
        fs::remove_file(path).unwrap();
        notifier.watchdog();
    }

    /// A socket with a full queue, and the number of messages in it.
    fn full(name: &str) -> (UnixDatagram, Notifier, usize) {
        let name = format!("kls-{name}-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let socket = UnixDatagram::bind_addr(&address).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let notifier = Notifier::to(OsStr::new(&format!("@{name}"))).unwrap();
        let systemd = notifier.0.as_ref().unwrap();
        let length = (0..).take_while(|_| systemd.send("FILLER").is_ok()).count();
        (socket, notifier, length)
    }

    fn drain(socket: &UnixDatagram, length: usize) {
        (0..length).for_each(|_| assert_eq!(received(socket), "FILLER"));
    }

    #[test]
    fn what_must_arrive_is_sent_when_there_is_room_again() {
        let (socket, notifier, length) = full("ready");
        notifier.ready();
        notifier.ready();
        notifier.status("lost");
        notifier.watchdog();
        drain(&socket, length);
        assert_eq!(received(&socket), "READY=1");

        // systemd has heard of neither reload: the second one counts.
        let (socket, notifier, length) = full("reload");
        notifier.ready();
        notifier.reloading();
        notifier.ready();
        thread::sleep(Duration::from_millis(30));
        let between = monotonic_usec().unwrap();
        thread::sleep(Duration::from_millis(30));
        notifier.reloading();
        notifier.ready();
        drain(&socket, length);
        let reloading = received(&socket);
        let usec: u64 = reloading
            .strip_prefix("RELOADING=1\nMONOTONIC_USEC=")
            .expect(&reloading)
            .parse()
            .unwrap();
        assert!(usec > between, "{usec} > {between}");
        assert_eq!(received(&socket), "READY=1");
        notifier.status("next");
        assert_eq!(received(&socket), "STATUS=next", "each came once");
    }

    #[test]
    fn stopping_is_said_for_a_while_and_is_the_last_word() {
        let (socket, notifier, length) = full("stopping");
        notifier.ready();
        let goodbye = {
            let notifier = notifier.clone();
            thread::spawn(move || notifier.stopping())
        };
        drain(&socket, length);
        goodbye.join().unwrap();
        notifier.ready();
        let mut heard = vec![received(&socket)];
        while heard.last().unwrap() != "STOPPING=1" {
            heard.push(received(&socket));
        }
        // READY may have been sent while there was room already.
        assert!(heard.len() <= 2, "{heard:?}");
        socket.set_nonblocking(true).unwrap();
        assert_eq!(
            socket.recv(&mut [0; 64]).unwrap_err().kind(),
            io::ErrorKind::WouldBlock,
            "nothing after it"
        );

        let (_socket, notifier, _) = full("silent");
        let begin = Instant::now();
        notifier.stopping();
        assert!(
            begin.elapsed() >= GOODBYE && begin.elapsed() < Duration::from_secs(10),
            "{:?}",
            begin.elapsed()
        );
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
        assert_eq!(
            watchdog_interval(Some("30000000"), Some("7"), 7),
            Some(Duration::from_secs(15))
        );
        assert_eq!(watchdog_interval(Some("30000000"), Some("8"), 7), None);
        for usec in [None, Some(""), Some("0"), Some("1"), Some("soon")] {
            assert_eq!(watchdog_interval(usec, None, 7), None, "{usec:?}");
        }
    }
}
