//! In-process hits with their freshness check, beside `quick_cache` alone and `moka`: the same
//! keys, the same kind of values, everything in memory, Zipf 0.99 over a million keys.
//!
//! What counts are ratios, so the three take turns in slices of a few milliseconds: whatever else
//! the machine does falls on all of them alike. A slice is measured in time on the processor,
//! which a busy neighbour does not lengthen, and the median slice speaks for each.
//!
//! `cargo bench -p cache --bench local [-- <rounds>]`

mod setting;

use std::hint::black_box;
use std::sync::{Arc, Barrier};

use bytes::Bytes;
use cache::{Content, Entry, Value};
use contract::Key;
use rustix::time::{ClockId, clock_gettime};
use setting::{Node, key, say};

const KEYS: u32 = 1_000_000;
const DRAWS: usize = 1 << 21;
/// Gets in one slice of one thread.
const SLICE: usize = 20_000;

/// Whoever comes next finds the processor's caches as the one before has left them, so each comes
/// after each other one equally often.
const ORDERS: [[usize; 3]; 2] = [[0, 1, 2], [2, 1, 0]];

type Get<'a> = &'a (dyn Fn(&Key) + Sync);

fn main() {
    let rounds = std::env::args().filter_map(|arg| arg.parse().ok()).next().unwrap_or(400);
    // Keys of their own: a request's key is not in the same memory as the entry's.
    let keys: Vec<Key> = (0..KEYS).map(key).collect();
    let draws = zipf(0.99);

    let node = Node::start(4 << 30, 0);
    let (engine, policy) = (node.engine(), node.policy());
    let quick = quick_cache::sync::Cache::new(2 * KEYS as usize);
    let moka = moka::sync::Cache::new(2 * u64::from(KEYS));
    // In turn, so that all three have their entries scattered over the same heap.
    for id in 0..KEYS {
        node.fill(id..id + 1);
        let entry = engine.peek(&keys[id as usize], &policy).expect("it is filled").entry;
        quick.insert(key(id), Arc::new(with_a_body_of_its_own(&entry)));
        moka.insert(key(id), Arc::new(with_a_body_of_its_own(&entry)));
    }
    moka.run_pending_tasks();

    let contenders: [(&str, Get<'_>); 3] = [
        ("tidegate", &|key| drop(black_box(engine.peek(key, &policy).expect("a hit")))),
        ("quick_cache", &|key| drop(black_box(quick.get(key).expect("a hit")))),
        ("moka", &|key| drop(black_box(moka.get(key).expect("a hit")))),
    ];
    for threads in [1, 2] {
        let [ours, quick, moka] = race(&contenders, threads, rounds, &keys, &draws);
        say(&format!(
            "{threads} thread(s): tidegate {ours:.0} ns per hit, quick_cache {quick:.0}, moka \
             {moka:.0}: {:.2} x quick_cache's rate (at least 0.7), {:.2} x moka's (at least 2)",
            quick / ours,
            moka / ours,
        ));
    }
}

/// The peers hold what we hold: as many values, not a million views of one.
fn with_a_body_of_its_own(entry: &Entry) -> Entry {
    let Content::Present(value) = &entry.content else { return entry.clone() };
    let value = Value { body: Bytes::copy_from_slice(&value.body), ..value.clone() };
    Entry { content: Content::Present(value), ..entry.clone() }
}

/// Median nanoseconds per get, by contender.
fn race(
    contenders: &[(&str, Get<'_>); 3],
    threads: usize,
    rounds: usize,
    keys: &[Key],
    draws: &[u32],
) -> [f64; 3] {
    let barrier = Barrier::new(threads);
    let run = |thread: usize| {
        let mut slices: [Vec<f64>; 3] = Default::default();
        let mut at = thread * DRAWS / threads;
        for round in 0..rounds {
            for turn in ORDERS[round % ORDERS.len()] {
                let ((_, get), slices) = (&contenders[turn], &mut slices[turn]);
                barrier.wait();
                let began = on_processor();
                for _ in 0..SLICE {
                    get(&keys[draws[at % DRAWS] as usize]);
                    at += 1;
                }
                let spent = on_processor() - began;
                slices.push(spent as f64 / SLICE as f64);
            }
        }
        slices
    };
    let all: Vec<[Vec<f64>; 3]> = std::thread::scope(|scope| {
        let started: Vec<_> = (0..threads).map(|n| scope.spawn(move || run(n))).collect();
        started.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    std::array::from_fn(|contender| {
        let mut slices: Vec<f64> = all.iter().flat_map(|each| each[contender].clone()).collect();
        slices.sort_by(f64::total_cmp);
        slices[slices.len() / 2]
    })
}

/// Nanoseconds this thread has been on a processor.
fn on_processor() -> u64 {
    let spent = clock_gettime(ClockId::ThreadCPUTime);
    spent.tv_sec.cast_unsigned() * 1_000_000_000 + spent.tv_nsec.cast_unsigned()
}

/// Which key is asked for, [`DRAWS`] times; the popular ones are spread over the key space.
fn zipf(exponent: f64) -> Vec<u32> {
    let mut cumulated = Vec::with_capacity(KEYS as usize);
    let mut sum = 0.0;
    for rank in 1..=KEYS {
        sum += f64::from(rank).powf(-exponent);
        cumulated.push(sum);
    }
    (0..DRAWS)
        .map(|_| {
            let u = rand::random::<f64>() * sum;
            let rank = cumulated.partition_point(|upto| *upto < u) as u64;
            ((rank * 2_654_435_761) % u64::from(KEYS)) as u32
        })
        .collect()
}
