//! Memory and processor time per entry of the in-process tier, with this many entries: to fill it, to read it, and to
//! apply a commit to it.
//!
//! `cargo bench -p cache --features jemalloc --bench growth [-- <entries> <tags per entry, 0 to 2>]`

mod support;

use std::hint::black_box;

use cache::SharedTier;
use coherence::{Batch, Cause, CoverageDigest, Epoch, Event, Lsn, Subject};
use contract::Tag;
use rustix::time::{ClockId, clock_gettime};
use support::{Node, key, resident, say};

/// Entries that are read, and the most that are invalidated.
const READ: u32 = 1_000_000;
const INVALIDATED: u32 = 20_000;

/// Rows per commit.
const ROWS: u32 = 20;

/// Steps through the entries in an order that no cache of the processor foresees; coprime to all numbers of entries.
const STEP: u64 = 2_654_435_761;

fn main() {
    let mut numbers = std::env::args().filter_map(|arg| arg.replace('_', "").parse::<u32>().ok());
    let entries = numbers.next().unwrap_or(100_000).max(1_000);
    let tags = numbers.next().unwrap_or(1);
    let Some(before) = resident() else {
        say("skipped: /proc/self/status can't be read here");
        return;
    };
    let node = Node::start(1_200 * u64::from(entries) + (64 << 20), tags);
    let nth = |n: u32| (u64::from(n) * STEP % u64::from(entries)) as u32;

    let fill = timed(entries, || node.fill(0..entries));
    let status = node.engine().status();
    let grown = resident().unwrap_or(0).saturating_sub(before);
    let per_entry = |bytes: u64| bytes / u64::from(entries);

    let (engine, policy) = (node.engine(), node.policy());
    let keys: Vec<_> = (0..READ.min(entries)).map(|n| key(nth(n))).collect();
    let get = timed(READ, || {
        for n in 0..READ as usize {
            black_box(engine.peek(&keys[n % keys.len()], &policy));
        }
    });
    let invalidated = INVALIDATED.min(entries / 2);
    let update = timed(invalidated, || {
        for first in (0..invalidated).step_by(ROWS as usize) {
            commit(&node, tags, first, (first..first + ROWS).map(nth));
        }
    });
    say(&format!(
        "{entries} entries with {tags} tags: {} kept, {} bytes each by the books, {} bytes each resident, fill {fill:.0} ns, \
         get {get:.0} ns, update {update:.0} ns",
        status.entries,
        per_entry(status.bytes),
        per_entry(grown),
    ));
}

/// Applies a commit that changes the rows of these entries.
fn commit(node: &Node, tags: u32, first: u32, ids: impl Iterator<Item = u32>) {
    let (prev, upto) = (Lsn(1 + u64::from(first)), Lsn(1 + u64::from(first + ROWS)));
    let subject = |id: u32| match tags {
        0 => Subject::Key(key(id)),
        _ => Subject::Tag(Tag::parse(&format!("product-{id}")).expect("a tag")),
    };
    let event = Event {
        lsn: upto,
        cause: Cause::Delete,
        committed_us: 0,
        subjects: ids.map(subject).collect(),
        renewals: Vec::new(),
    };
    let batch = Batch {
        epoch: Epoch { incarnation: 1, ..Epoch::default() },
        prev,
        upto,
        watermark: upto,
        coverage: CoverageDigest::NONE,
        events: vec![event],
    };
    node.runtime.block_on(async {
        node.shared.apply(&batch).await.expect("memory").expect("no gap");
        while node.engine().status().applied < upto {
            tokio::task::yield_now().await;
        }
    });
}

/// Returns the processor time of `count` steps, in nanoseconds each. All of them run on this thread.
fn timed(count: u32, steps: impl FnOnce()) -> f64 {
    let began = on_processor();
    steps();
    (on_processor() - began) as f64 / f64::from(count.max(1))
}

fn on_processor() -> u64 {
    let spent = clock_gettime(ClockId::ThreadCPUTime);
    spent.tv_sec.cast_unsigned() * 1_000_000_000 + spent.tv_nsec.cast_unsigned()
}
