//! The cost of fence and bound per hit: the same engine, the same entries, with both and with both
//! compiled out; Zipf 0.99 over a million keys.
//!
//! `cargo bench -p cache --features bench-internals --bench proof [-- <rounds>]`

mod race;
mod support;

use std::hint::black_box;

use contract::Key;
use race::{Get, KEYS, race, zipf};
use support::{Node, key, say};

fn main() {
    let rounds = std::env::args().filter_map(|arg| arg.parse().ok()).next().unwrap_or(600);
    let keys: Vec<Key> = (0..KEYS).map(key).collect();
    let draws = zipf(0.99);
    let node = Node::start(4 << 30, 0);
    node.fill(0..KEYS);
    let (engine, policy) = (node.engine(), node.policy());
    let contenders: [Get<'_>; 2] =
        [&|key| drop(black_box(engine.peek(key, &policy).expect("a hit"))), &|key| {
            drop(black_box(engine.peek_unproven(key, &policy).expect("a hit")))
        }];
    for threads in [1, 2] {
        let [with, without] = race(&contenders, threads, rounds, &keys, &draws);
        say(&format!(
            "{threads} thread(s): with {with:.1} ns per hit, without {without:.1}: {:.3} x the rate \
             (at least 0.9)",
            without / with,
        ));
    }
}
