//! Checks the in-process tier's byte limit by the kernel's own count, against ten million tiny entries.
//!
//! `cargo bench -p cache --bench memory [-- <MiB> <tags per entry, 0 to 2> <entries>]`

mod support;

use std::process::ExitCode;

use support::{Node, key, resident, say};

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
    let node = Node::start(limit, tags);
    let mut worst = 0;
    let step = 100_000.min(entries.max(1));
    for first in (0..entries).step_by(step as usize) {
        node.fill(first..(first + step).min(entries));
        worst = worst.max(resident().unwrap_or(0).saturating_sub(before));
    }
    let (engine, policy) = (node.engine(), node.policy());
    let served = (0..entries).filter(|id| engine.peek(&key(*id), &policy).is_some()).count();
    let status = engine.status();
    let is_within_limit = worst <= limit;
    say(&format!(
        "limit {mib} MiB, {entries} entries of 8 bytes with {tags} tags tried: {} kept, {served} served, \
         {} MiB accounted, {} MiB resident at most ({:.2} of the limit), {} bytes each: {}",
        status.entries,
        status.bytes >> 20,
        worst >> 20,
        worst as f64 / limit as f64,
        worst / status.entries.max(1) as u64,
        if is_within_limit { "the limit holds" } else { "THE LIMIT IS BROKEN" },
    ));
    if is_within_limit { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
