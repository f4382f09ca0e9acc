//! Fuzz tests of every parser of foreign bytes.
//!
//! A [`Target`] has a function that panics where an invariant does not hold, and seeds: inputs of the real form, and
//! those that once broke it. `./test --fuzz` runs targets by libFuzzer with coverage of this workspace's crates; the
//! tests of this crate run the seeds, and mutations of them, without it.

mod seeds;
mod targets;

pub use self::targets::{TARGETS, Target};
