//! Output and real time of the benchmarks.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// Whether standard output is reserved for the results as JSON.
static JSON: AtomicBool = AtomicBool::new(false);

/// Reserves standard output for the results, so that progress goes to standard error.
pub(crate) fn reserve_stdout(json: bool) {
    JSON.store(json, Ordering::Relaxed);
}

/// Prints a line of progress.
#[expect(clippy::print_stderr, reason = "a benchmark reports on its standard output, or beside it")]
pub(crate) fn log_line(line: &str) {
    if JSON.load(Ordering::Relaxed) { eprintln!("{line}") } else { print(line) }
}

#[expect(clippy::print_stdout, reason = "a benchmark reports on its standard output")]
pub(crate) fn print(line: &str) {
    println!("{line}");
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}
