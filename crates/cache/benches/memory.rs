//! Checks the in-process tier's byte limit and its books by the kernel's own count, against ten million tiny
//! entries, and whether a purge gives the memory back.
//!
//! `cargo bench -p cache --bench memory [-- <MiB> <tags per entry, 0 to 2> <entries>]`

mod support;

use std::hint::black_box;
use std::process::ExitCode;
use std::time::Duration;

use cache::Content;
use coherence::Subject;
use support::{Node, key, resident, say};

/// The length of a key and the value of an entry.
const CONTENT: u64 = 24 + 8;

/// The time that the allocator has to give memory back.
const SETTLED: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let mut numbers = std::env::args().filter_map(|arg| arg.parse::<u32>().ok());
    let mib = numbers.next().unwrap_or(256);
    let tags = numbers.next().unwrap_or(1);
    let entries = numbers.next().unwrap_or(10_000_000);
    let limit = u64::from(mib) << 20;
    let Some(before) = resident() else {
        say("skipped: /proc/self/status can't be read here");
        return ExitCode::SUCCESS;
    };
    let grown = || resident().unwrap_or(0).saturating_sub(before);
    let node = Node::start(limit, tags);
    let mut worst = 0;
    let step = 100_000.min(entries.max(1));
    for first in (0..entries).step_by(step as usize) {
        node.fill(first..(first + step).min(entries));
        worst = worst.max(grown());
    }
    let (engine, policy) = (node.engine(), node.policy());
    // An answer refers to the body of its entry, which takes a counter with the first use.
    let is_served = |id: &u32| {
        let answer = engine.peek(&key(*id), &policy);
        answer.is_some_and(|answer| match answer.entry.content() {
            Content::Present(value) => !black_box(value.body.clone()).is_empty(),
            Content::Absent | Content::Uncacheable => false,
        })
    };
    let served = (0..entries).filter(is_served).count() as u64;
    let (full, status) = (grown(), engine.status());
    worst = worst.max(full);
    let count = status.entries.max(1) as u64;
    node.runtime.block_on(async {
        engine.evict(&[Subject::Everything]).await;
        while engine.status().bytes > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tokio::time::sleep(SETTLED).await;
    });
    let is_within_limit = worst <= limit;
    say(&format!(
        "limit {mib} MiB, {entries} entries of 8 bytes with {tags} tags tried: {} kept, {served} served, \
         {} MiB accounted, {} MiB resident at most ({:.2} of the limit), {} bytes each of which {} are overhead, \
         books {:.3} of the growth, {} MiB left after a purge: {}",
        status.entries,
        status.bytes >> 20,
        worst >> 20,
        worst as f64 / limit as f64,
        full / count,
        (full / count).saturating_sub(CONTENT),
        status.bytes as f64 / full.max(1) as f64,
        grown() >> 20,
        if is_within_limit { "the limit holds" } else { "THE LIMIT IS BROKEN" },
    ));
    if is_within_limit { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
