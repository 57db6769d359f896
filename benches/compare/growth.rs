//! How our own cost grows with the directory, up to a million accounts.

use crate::contestants::Tool;
use crate::document::Document;
use crate::measure::{Meter, Sample};
use crate::sink::Post;
use crate::support::pki::Pki;
use crate::support::tool::ConfigText;
use crate::synthetic;
use crate::table::{Table, megabytes, seconds, verdict};

const ROUNDS: usize = 3;

/// 10,000, 100,000 and 1,000,000 accounts of a synthetic directory.
pub fn measure(document: &mut Document) {
    let (pki, meter) = (Pki::new(), Meter::new());
    let identity = pki.localhost();
    let mut table = Table::new(&[
        "accounts",
        "wall",
        "an account",
        "CPU",
        "SCIM body",
        "peak memory",
        "allowed",
        "",
    ]);
    for persons in [10_000, 100_000, 1_000_000] {
        let mut body = 0.0;
        let samples: Vec<Sample> = (0..ROUNDS)
            .map(|round| {
                let directory = synthetic::serve(&identity, persons);
                let config = ConfigText::for_directory(
                    &format!("ldaps://localhost:{}", directory.port),
                    pki.ca(),
                );
                let tool = Tool::ours(&config, &pki);
                let sample = meter.run(&tool.program);
                body = bytes_of_content(&tool.sink.take_posts());
                eprintln!("{persons} accounts, round {round}: {sample:?}, body {body}");
                sample
            })
            .collect();
        let median = Sample::median(&samples);
        let entries = f64::from(persons + persons / 100);
        let allowed = 1.2 * body + 64.0 * entries + 32.0 * 1024.0 * 1024.0;
        table.row(&[
            persons.to_string(),
            seconds(median.wall),
            format!("{:.2} µs", median.wall / f64::from(persons) * 1e6),
            seconds(median.cpu),
            megabytes(body),
            megabytes(median.peak),
            megabytes(allowed),
            verdict(median.peak, allowed).to_owned(),
        ]);
    }
    document.put("GROWTH", table.text());
}

fn bytes_of_content(posts: &[Post]) -> f64 {
    posts.iter().filter(|post| !post.stubs).map(|post| post.bytes as f64).sum()
}
