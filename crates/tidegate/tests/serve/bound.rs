//! The bound while nothing happens.

use std::thread::sleep;
use std::time::Duration;

use crate::faults::wait_cached;
use crate::stack::Stack;

/// The readings of a series. They are spread over many samples.
const READINGS: usize = 41;

const PAUSE: Duration = Duration::from_millis(13);

#[test]
fn quiet_bound_is_some_milliseconds() {
    let stack = Stack::start();
    let node = stack.node();
    wait_cached(&node);
    // Other work on the machine may delay the samples of one series, not those of all.
    node.wait("series of bounds with a median of at most 20 ms", |node| {
        let mut bounds: Vec<f64> = (0..READINGS)
            .filter_map(|_| {
                sleep(PAUSE);
                node.status()["bound_ms"].as_f64()
            })
            .collect();
        bounds.sort_by(f64::total_cmp);
        bounds.len() == READINGS && bounds[READINGS / 2] <= 20.0
    });
}
