//! A Kanidm for tests: the real engine (`kanidmd_lib`) behind HTTPS, with controls for tests on a
//! second port.
//!
//! It prints one line, `ready https=PORT control=PORT`, and ends when its standard input closes, so
//! that it cannot outlive the test that started it. README.md shows how to use it.

mod answer;
mod conflicts;
mod control;
mod engine;
mod fault;
mod journal;
mod scim;
mod server;
mod snapshot;

use std::error::Error;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tracing_subscriber::EnvFilter;

use crate::server::Server;

const HELP: &str = "\
usage: kanidm-test-server --cert PEM --key PEM [options]

  --cert PATH           certificate chain of the HTTPS side, PEM
  --key PATH            its private key, PEM
  --https ADDRESS:PORT  where to serve /scim/v1/Sync (127.0.0.1:0: any free port)
  --control PORT        loopback port of the controls for tests (0: any free port)
  --db PATH             database file, kept and read again (in memory)
  --time-limit SECONDS  after which a request is answered 408 (300)
  --plain-conflicts     answer conflicts as Kanidm 1.7 does: 500, without naming the attributes
  --engine-log FILTER   write the engine's log to stderr, for instance info
";

/// More than the default: the engine is recursive, and unoptimised frames are large.
const STACK: usize = 16 * 1024 * 1024;

/// The command line.
struct Options {
    cert: PathBuf,
    key: PathBuf,
    https: SocketAddr,
    control: SocketAddr,
    db: Option<PathBuf>,
    time_limit: Duration,
    plain_conflicts: bool,
    engine_log: Option<String>,
}

fn main() -> ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(error) => {
            eprint!("kanidm-test-server: {error}\n\n{HELP}");
            return ExitCode::from(2);
        }
    };
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kanidm-test-server: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    if let Some(filter) = &options.engine_log {
        tracing_subscriber::fmt()
            .with_env_filter(EnvFilter::try_new(filter)?)
            .with_writer(std::io::stderr)
            .init();
    }
    std::thread::spawn(end_with_stdin);
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .thread_stack_size(STACK)
        .build()?
        .block_on(serve(options))
}

async fn serve(options: &Options) -> Result<(), Box<dyn Error>> {
    let tls = server::tls(&options.cert, &options.key)?;
    let https = TcpListener::bind(options.https).await?;
    let control = TcpListener::bind(options.control).await?;
    let server = Server::new(options.db.as_deref(), options.time_limit, options.plain_conflicts)
        .await
        .map_err(|error| format!("the engine does not start: {error:?}"))?;
    let server = Arc::new(server);
    println!("ready https={} control={}", https.local_addr()?.port(), control.local_addr()?.port());
    std::io::stdout().flush()?;
    tokio::join!(
        server::serve_tls(https, tls, Arc::clone(&server), scim::handle),
        server::serve_plain(control, server, control::handle)
    );
    Ok(())
}

/// Ends the process when whoever started it is gone.
fn end_with_stdin() {
    let mut buffer = [0; 256];
    while matches!(std::io::stdin().read(&mut buffer), Ok(read) if read > 0) {}
    std::process::exit(0);
}

fn options() -> Result<Options, lexopt::Error> {
    use lexopt::prelude::*;
    let (mut cert, mut key) = (None, None);
    let mut options = Options {
        cert: PathBuf::new(),
        key: PathBuf::new(),
        https: (Ipv4Addr::LOCALHOST, 0).into(),
        control: (Ipv4Addr::LOCALHOST, 0).into(),
        db: None,
        time_limit: Duration::from_secs(300),
        plain_conflicts: false,
        engine_log: None,
    };
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("cert") => cert = Some(parser.value()?.into()),
            Long("key") => key = Some(parser.value()?.into()),
            Long("https") => options.https = parser.value()?.parse()?,
            Long("control") => options.control.set_port(parser.value()?.parse()?),
            Long("db") => options.db = Some(parser.value()?.into()),
            Long("time-limit") => {
                options.time_limit = Duration::from_secs(parser.value()?.parse()?)
            }
            Long("plain-conflicts") => options.plain_conflicts = true,
            Long("engine-log") => options.engine_log = Some(parser.value()?.string()?),
            Long("help") => {
                print!("{HELP}");
                std::process::exit(0);
            }
            other => return Err(other.unexpected()),
        }
    }
    options.cert = cert.ok_or("--cert is missing")?;
    options.key = key.ok_or("--key is missing")?;
    Ok(options)
}
