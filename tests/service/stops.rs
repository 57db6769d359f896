//! SIGTERM and SIGINT end the program wherever it is, at once: a service with exit code 0, a run on
//! its own with 1; as process 1 too.

use std::fs;
use std::net::TcpListener;
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

use crate::hangs::{HANGS, Prelude};
use crate::service::{Service, config, one_person, status_address, stopped, wait_until};
use crate::support::kanidm::{Fault, KanidmServer, Moment};
use crate::support::peer::{Link, Peer, Script};
use crate::support::pki::Pki;
use crate::support::tool::{ConfigText, Tool, is_root};
use crate::support::world::ACCOUNT;

/// A directory, Kanidm and the program. No time-out ends anything before the test does.
struct Patient {
    pki: Pki,
    kanidm: KanidmServer,
    token: String,
}

impl Patient {
    fn new() -> Patient {
        let kanidm = KanidmServer::start();
        let token = kanidm.create_sync_account(ACCOUNT).token;
        Patient { pki: Pki::new(), kanidm, token }
    }

    fn tool(&self, peer: &Peer) -> Tool {
        let config = config(peer, &self.pki, &self.token, status_address())
            .set("ldap_timeout", 25)
            .set("kanidm_timeout", 300);
        Tool::new(&config, &ConfigText::for_kanidm(&self.kanidm.url(), self.kanidm.ca()))
    }
}

/// The script, which then tells that it has come so far, and falls silent.
fn announced(script: Prelude) -> (Script, mpsc::Receiver<()>) {
    let (reached, waiting) = mpsc::channel();
    let script = move |link: &mut Link| {
        script(link);
        reached.send(()).unwrap();
        link.stay_silent();
    };
    (Box::new(script), waiting)
}

#[test]
fn in_the_middle_of_reading_the_directory() {
    let patient = Patient::new();
    for (index, (stage, hang)) in HANGS.into_iter().enumerate() {
        for (arguments, code) in [(&["--schedule"][..], 0), (&[], 1)] {
            let (script, reached) = announced(hang);
            let peer = Peer::tls_series(&patient.pki.localhost(), vec![script]);
            let tool = patient.tool(&peer);
            let mut run = tool.spawn(arguments);
            reached.recv_timeout(Duration::from_secs(60)).unwrap();
            run.signal(if index % 2 == 0 { "TERM" } else { "INT" });
            assert_eq!(stopped(run.child()), Some(code), "{stage}, {arguments:?}");
        }
    }
    // A server that does not even accept: the kernel does that for it.
    let silent = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let peer = Peer::plain(|_| {});
    let tool = patient.tool(&peer);
    let config =
        config(&peer, &patient.pki, &patient.token, status_address()).set("ldap_timeout", 25);
    tool.write_sync_config(
        &config
            .set("ldap_uri", format!("ldaps://localhost:{}", silent.local_addr().unwrap().port())),
    );
    patient.kanidm.clear_log();
    let mut run = tool.spawn(&["--schedule"]);
    wait_until(
        || patient.kanidm.log().iter().any(|line| line.finished),
        || "it does not ask Kanidm".to_owned(),
    );
    run.signal("TERM");
    assert_eq!(stopped(run.child()), Some(0));
    assert!(patient.kanidm.posts().is_empty());
}

#[test]
fn in_the_middle_of_a_request_to_kanidm() {
    let patient = Patient::new();
    for (arguments, signal, code) in [(&["--schedule"][..], "TERM", 0), (&[], "INT", 1)] {
        for method in ["GET", "POST"] {
            let peer = Peer::tls_series(&patient.pki.localhost(), vec![Box::new(one_person)]);
            patient.kanidm.clear_log();
            patient
                .kanidm
                .fault(Fault::delay(Moment::Received, Duration::from_secs(60)).only(method));
            let tool = patient.tool(&peer);
            let mut run = tool.spawn(arguments);
            wait_until(|| patient.kanidm.pending_faults() == 0, || format!("no {method}"));
            run.signal(signal);
            assert_eq!(stopped(run.child()), Some(code), "{method}, {arguments:?}");
            patient.kanidm.clear_faults();
        }
    }
}

#[test]
fn as_process_1() {
    let patient = Patient::new();
    for (arguments, code) in [("--schedule", 0), ("--dry-run", 1), ("--check", 1)] {
        let (script, reached) = announced(Link::forget_tls);
        let peer = Peer::tls_series(&patient.pki.localhost(), vec![script]);
        let tool = patient.tool(&peer);
        let program = tool.command();
        let mut command = Command::new("unshare");
        // Where there is a chroot, not even root has user namespaces.
        command.args((!is_root()).then_some(["--user", "--map-root-user"]).into_iter().flatten());
        command.args(["--pid", "--fork", "--mount-proc", "--kill-child"]);
        command
            .arg(program.get_program())
            .args(program.get_args())
            .args(["--skip-root-check", arguments]);
        let mut service = Service::spawn(&mut command, status_address());
        reached
            .recv_timeout(Duration::from_secs(60))
            .unwrap_or_else(|_| panic!("{}", service.log()));
        // unshare itself ignores these signals; its only child is process 1 of the namespace.
        let unshare = service.child.id();
        let process_1 =
            fs::read_to_string(format!("/proc/{unshare}/task/{unshare}/children")).unwrap();
        crate::service::signal(process_1.trim().parse().unwrap(), "TERM");
        assert_eq!(stopped(&mut service.child), Some(code), "{arguments}");
    }
}

/// The run it has waited for is over, and the next one is far away.
#[test]
fn between_runs() {
    let patient = Patient::new();
    let peer = Peer::tls_series(&patient.pki.localhost(), vec![Box::new(one_person)]);
    let tool = patient.tool(&peer);
    let mut service = Service::start(&tool, status_address());
    service.wait_for("synchronised: ", 1);
    assert_eq!(service.stop("TERM"), Some(0));
    assert!(service.log().contains("SIGTERM: stopping"), "{}", service.log());
}
