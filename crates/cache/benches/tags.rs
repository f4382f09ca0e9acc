//! An invalidation of one tag with many entries: hits of another contract meanwhile, and the time until none of
//! the entries is served.
//!
//! `cargo bench -p cache --bench tags [-- <entries>]`

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cache::{SharedTier, SystemClock};
use coherence::{Batch, Cause, Clock, CoverageDigest, Epoch, Event, Lsn, Mono, Subject};
use contract::Tag;
use parking_lot::Mutex;
use support::{Node, UNTAGGED, category, key, say};

/// Hits per second of the other contract, each in a task of its own, as requests are.
const HITS_PER_S: u32 = 5_000;

/// The entries of the other contract.
const OTHERS: u32 = 1_000;

/// The time for which hits are measured before the invalidation, and beside a thread that only computes.
const BEFORE: Duration = Duration::from_secs(2);

/// The time that this thread computes, and its pause: as the sweep, without a lock or an entry.
const COMPUTES: (Duration, Duration) = (Duration::from_micros(500), Duration::from_millis(1));

fn main() {
    let mut numbers = std::env::args().filter_map(|arg| arg.replace('_', "").parse().ok());
    let entries: u32 = numbers.next().unwrap_or(1_000_000);
    for way in ["commit", "purge"] {
        measure(entries, way);
    }
}

fn measure(entries: u32, way: &str) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let node = Node::start_on(runtime, 1_200 * u64::from(entries) + (64 << 20), 2, 1);
    node.fill(UNTAGGED..UNTAGGED + OTHERS);
    let others = node.engine().status().bytes;
    node.fill(0..entries);
    let clock = Arc::new(SystemClock::start());
    let held = node.engine().status().entries;

    let quiet = hits(&node, &clock, |stop| {
        std::thread::sleep(BEFORE);
        stop.store(true, Ordering::Relaxed);
    });
    let computing = hits(&node, &clock, |stop| {
        let began = clock.mono();
        while clock.mono().since(began) < BEFORE {
            let turn = clock.mono();
            while clock.mono().since(turn) < COMPUTES.0 {
                std::hint::spin_loop();
            }
            std::thread::sleep(COMPUTES.1);
        }
        stop.store(true, Ordering::Relaxed);
    });
    let (mut applied, mut gone, mut unserved) = (Duration::ZERO, Duration::ZERO, 0);
    let during = hits(&node, &clock, |stop| {
        let began = clock.mono();
        invalidate(&node, way);
        applied = clock.mono().since(began);
        let (engine, policy) = (node.engine(), node.policy());
        // A sample, so that the reader does not compete with the sweep: a thousand of all entries.
        let step = (entries / 1_000).max(1) as usize;
        unserved = (0..entries)
            .step_by(step)
            .filter(|id| engine.peek(&key(*id), &policy).is_some())
            .count();
        while engine.status().bytes > others {
            std::thread::sleep(Duration::from_millis(5));
        }
        gone = clock.mono().since(began);
        stop.store(true, Ordering::Relaxed);
    });
    let ms = |duration: Duration| duration.as_secs_f64() * 1e3;
    say(&format!(
        "{way} of a tag with {held} entries: none served after {:.3} ms ({unserved} of 1000 tried still were), \
         memory free after {:.0} ms; hits of another contract before: p50 {:.3} ms, p99 {:.3} ms, most {:.3} ms; \
         meanwhile: p50 {:.3} ms, p99 {:.3} ms, most {:.3} ms; \
         beside a thread that only computes: p50 {:.3} ms, p99 {:.3} ms, most {:.3} ms",
        ms(applied),
        ms(gone),
        quiet[0],
        quiet[1],
        quiet[2],
        during[0],
        during[1],
        during[2],
        computing[0],
        computing[1],
        computing[2],
    ));
}

/// Invalidates all entries, and returns when it is in force in the in-process tier.
fn invalidate(node: &Node, way: &str) {
    let engine = node.engine();
    let subjects = vec![Subject::Tag(Tag::parse(&category(0)).expect("a tag"))];
    node.runtime.block_on(async {
        if way == "purge" {
            engine.evict(&subjects).await;
            return;
        }
        let event = Event {
            lsn: Lsn(2),
            // One that leaves nothing soft-stale, whose memory would stay.
            cause: Cause::Delete,
            committed_us: 0,
            subjects,
            renewals: Vec::new(),
        };
        let batch = Batch {
            epoch: Epoch { incarnation: 1, ..Epoch::default() },
            prev: Lsn(1),
            upto: Lsn(2),
            watermark: Lsn(2),
            coverage: CoverageDigest::NONE,
            events: vec![event],
        };
        node.shared.apply(&batch).await.expect("memory").expect("no gap");
        while engine.status().applied < Lsn(2) {
            tokio::task::yield_now().await;
        }
    });
}

/// Reads the other contract's entries at a constant rate until `until` has set its flag. Returns median, 99th
/// percentile and maximum of the time from the due time of a request to its answer, in ms.
fn hits(node: &Node, clock: &Arc<SystemClock>, until: impl FnOnce(&AtomicBool)) -> [f64; 3] {
    let times = Arc::new(Mutex::new(Vec::<f64>::new()));
    let stop = Arc::new(AtomicBool::new(false));
    let (engine, policy) = (node.engine(), node.policy());
    let (handle, ended) = (node.runtime.handle().clone(), Arc::clone(&stop));
    let (clock, seen) = (Arc::clone(clock), Arc::clone(&times));
    let load = std::thread::spawn(move || {
        let pause = Duration::from_secs(1) / HITS_PER_S;
        let mut due = clock.mono();
        for id in (0..OTHERS).cycle() {
            if ended.load(Ordering::Relaxed) {
                break;
            }
            due = due + pause;
            std::thread::sleep(due.since(clock.mono()));
            let (engine, policy) = (engine.clone(), Arc::clone(&policy));
            let (clock, seen) = (Arc::clone(&clock), Arc::clone(&seen));
            // From here on: the wait for a thread's turn to send is not the engine's.
            let asked: Mono = clock.mono();
            handle.spawn(async move {
                let answer = engine.peek(&key(UNTAGGED + id), &policy);
                seen.lock().push(clock.mono().since(asked).as_secs_f64() * 1e3);
                assert!(answer.is_some(), "a hit");
            });
        }
    });
    until(&stop);
    load.join().expect("no panic");
    let mut times = times.lock().clone();
    times.sort_by(f64::total_cmp);
    let at = |q: f64| times[((times.len() - 1) as f64 * q) as usize];
    [at(0.5), at(0.99), at(1.0)]
}
