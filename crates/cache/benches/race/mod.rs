//! Contenders for the same lookup, raced against each other in one process.
//!
//! The result is a ratio, so all contenders take turns in slices of a few milliseconds: other load on the
//! machine affects all of them alike. A slice is measured in processor time, which a busy neighbour does
//! not lengthen, and the median slice counts.

use std::sync::Barrier;

use contract::Key;
use rustix::time::{ClockId, clock_gettime};

pub(crate) const KEYS: u32 = 1_000_000;
const DRAWS: usize = 1 << 21;
/// Gets in one slice of one thread.
const SLICE: usize = 20_000;

pub(crate) type Get<'a> = &'a (dyn Fn(&Key) + Sync);

/// Returns the median nanoseconds per get, by contender.
pub(crate) fn race<const N: usize>(
    contenders: &[Get<'_>; N],
    threads: usize,
    rounds: usize,
    keys: &[Key],
    draws: &[u32],
) -> [f64; N] {
    let barrier = Barrier::new(threads);
    let run = |thread: usize| {
        let mut slices = [const { Vec::new() }; N];
        let mut at = thread * DRAWS / threads;
        for round in 0..rounds {
            for step in 0..N {
                // Each slice starts with the processor caches of the previous contender, so each contender
                // follows each other one equally often.
                let turn = if round % 2 == 0 { step } else { N - 1 - step };
                let (get, slices) = (contenders[turn], &mut slices[turn]);
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
    let all: Vec<[Vec<f64>; N]> = std::thread::scope(|scope| {
        let started: Vec<_> = (0..threads).map(|n| scope.spawn(move || run(n))).collect();
        started.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    std::array::from_fn(|contender| {
        let mut slices: Vec<f64> = all.iter().flat_map(|each| each[contender].clone()).collect();
        slices.sort_by(f64::total_cmp);
        slices[slices.len() / 2]
    })
}

/// Returns the processor time of this thread, in nanoseconds.
fn on_processor() -> u64 {
    let spent = clock_gettime(ClockId::ThreadCPUTime);
    spent.tv_sec.cast_unsigned() * 1_000_000_000 + spent.tv_nsec.cast_unsigned()
}

/// Draws [`DRAWS`] keys; the popular ones are spread over the key space.
pub(crate) fn zipf(exponent: f64) -> Vec<u32> {
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
