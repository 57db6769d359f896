//! What a run of a program costs: time on the clock, CPU time, peak memory.
//!
//! The kernel's own account of the process, as GNU time (Debian package `time`) prints it: CPU time
//! to a hundredth of a second.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::temp::TempDir;

const TIME: &str = "/usr/bin/time";

/// One run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sample {
    /// Seconds on the clock.
    pub wall: f64,
    /// Seconds of CPU, user and system.
    pub cpu: f64,
    /// Bytes resident at most.
    pub peak: f64,
}

impl Sample {
    /// Of each figure the median.
    pub fn median(samples: &[Sample]) -> Sample {
        let of = |figure: fn(&Sample) -> f64| {
            let mut figures: Vec<f64> = samples.iter().map(figure).collect();
            figures.sort_by(f64::total_cmp);
            let middle = figures.len() / 2;
            if figures.len() % 2 == 1 {
                figures[middle]
            } else {
                (figures[middle - 1] + figures[middle]) / 2.0
            }
        };
        Sample { wall: of(|s| s.wall), cpu: of(|s| s.cpu), peak: of(|s| s.peak) }
    }
}

/// A program with its arguments, run again and again.
#[derive(Clone, Debug)]
pub struct Program {
    pub path: PathBuf,
    pub arguments: Vec<OsString>,
}

impl Program {
    pub fn new(path: impl Into<PathBuf>, arguments: &[&str]) -> Program {
        Program { path: path.into(), arguments: arguments.iter().map(OsString::from).collect() }
    }
}

/// Runs programs, with files of its own for what they write.
pub struct Meter {
    dir: TempDir,
}

impl Meter {
    /// Panics where GNU time is missing.
    pub fn new() -> Meter {
        assert!(Path::new(TIME).exists(), "{TIME} is missing: apt-get install time");
        Meter { dir: TempDir::new("meter") }
    }

    /// Runs it once. Its standard output goes nowhere. Panics, with what it wrote to standard
    /// error, when it fails.
    pub fn run(&self, program: &Program) -> Sample {
        self.run_to(program, Stdio::null())
    }

    /// As [`run`](Self::run), with what it wrote to standard output.
    pub fn run_and_read(&self, program: &Program) -> (Sample, String) {
        let path = self.dir.path().join("stdout");
        let file = std::fs::File::create(&path).expect("our own folder");
        let sample = self.run_to(program, file.into());
        (sample, std::fs::read_to_string(&path).expect("text"))
    }

    /// What the last program wrote to standard error.
    pub fn complaint(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.errors()).unwrap_or_default()).into_owned()
    }

    fn errors(&self) -> PathBuf {
        self.dir.path().join("stderr")
    }

    fn run_to(&self, program: &Program, stdout: Stdio) -> Sample {
        let (account, errors) = (self.dir.path().join("account"), self.errors());
        let mut command = Command::new(TIME);
        command
            .args(["-q", "-f", "%U %S %M", "-o"])
            .arg(&account)
            .arg("--")
            .arg(&program.path)
            .args(&program.arguments);
        for variable in [
            "KANIDM_URL",
            "KANIDM_CA_PATH",
            "KANIDM_INSTANCE",
            "KANIDM_DEBUG",
            "RUST_LOG",
            "LDAPCONF",
            "LDAPRC",
        ] {
            command.env_remove(variable);
        }
        command
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(std::fs::File::create(&errors).expect("our own folder"));
        let begun = Instant::now();
        let status = command.status().expect("GNU time runs");
        let wall = begun.elapsed();
        assert!(status.success(), "{program:?}: {status}\n{}", self.complaint());
        read(&std::fs::read_to_string(&account).expect("what GNU time wrote"), wall)
    }
}

fn read(account: &str, wall: Duration) -> Sample {
    let figures: Vec<f64> =
        account.split_ascii_whitespace().map(|figure| figure.parse().expect("a number")).collect();
    let [user, system, kibibytes] = figures[..] else {
        panic!("not what GNU time was asked for: {account:?}")
    };
    Sample { wall: wall.as_secs_f64(), cpu: user + system, peak: kibibytes * 1024.0 }
}
