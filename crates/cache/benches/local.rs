//! In-process hits with their freshness check, compared with `quick_cache` alone and `moka`: the same
//! keys, the same kind of values, everything in memory, Zipf 0.99 over a million keys.
//!
//! `cargo bench -p cache --bench local [-- <rounds>]`

mod race;
mod support;

use std::hint::black_box;
use std::sync::Arc;

use bytes::Bytes;
use cache::{Content, Entry, Value};
use contract::Key;
use race::{Get, KEYS, race, zipf};
use support::{Node, key, say};

fn main() {
    let rounds = std::env::args().filter_map(|arg| arg.parse().ok()).next().unwrap_or(400);
    // Keys of their own: the key of a request is not in the same memory as that of the entry.
    let keys: Vec<Key> = (0..KEYS).map(key).collect();
    let draws = zipf(0.99);

    let node = Node::start(4 << 30, 0);
    let (engine, policy) = (node.engine(), node.policy());
    let quick = quick_cache::sync::Cache::new(2 * KEYS as usize);
    let moka = moka::sync::Cache::new(2 * u64::from(KEYS));
    // In turn, so that the entries of all three are scattered over the same heap.
    for id in 0..KEYS {
        node.fill(id..id + 1);
        let entry =
            engine.peek(&keys[id as usize], &policy).expect("it is filled").entry.to_entry();
        quick.insert(key(id), Arc::new(with_own_body(&entry)));
        moka.insert(key(id), Arc::new(with_own_body(&entry)));
    }
    moka.run_pending_tasks();

    let contenders: [Get<'_>; 3] = [
        &|key| drop(black_box(engine.peek(key, &policy).expect("a hit"))),
        &|key| drop(black_box(quick.get(key).expect("a hit"))),
        &|key| drop(black_box(moka.get(key).expect("a hit"))),
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

/// Copies the body: the other caches store as many values as the engine, not a million views of one.
fn with_own_body(entry: &Entry) -> Entry {
    let Content::Present(value) = &entry.content else { return entry.clone() };
    let value = Value { body: Bytes::copy_from_slice(&value.body), ..value.clone() };
    Entry { content: Content::Present(value), ..entry.clone() }
}
