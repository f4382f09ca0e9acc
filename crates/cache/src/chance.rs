//! The source of random numbers of the read path; the simulator has its own.

use std::fmt::Debug;

/// Random numbers: for the choice of early refreshes, the jitter of TTLs and pauses, and the name of a new
/// epoch.
pub trait Chance: Debug + Send + Sync + 'static {
    /// Returns 64 random bits.
    fn draw(&self) -> u64;

    /// Returns a random number in [0, 1).
    fn unit(&self) -> f64 {
        const STEPS: f64 = (1_u64 << 53) as f64;
        (self.draw() >> 11) as f64 / STEPS
    }
}

/// The thread's own generator, seeded by the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct ThreadChance;

impl Chance for ThreadChance {
    fn draw(&self) -> u64 {
        rand::random()
    }
}
