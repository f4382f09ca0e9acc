//! The setup of a run, as determined by its seed.

use std::time::Duration;

use cache::EngineOptions;
use rand::{RngExt, SeedableRng};

/// The generator of a run's random numbers. Its sequence is part of its definition.
pub(super) type SimRng = rand::rngs::Xoshiro256PlusPlus;

/// The number of rows that are read and written. One more, the last, is reserved for the cold-key
/// check.
pub(super) const KEYS: usize = 20;
/// The number of groups of rows that share a tag.
pub(super) const TAGS: usize = 4;
/// The number of cells: rows, the cold row, tags, everything.
pub(super) const CELLS: usize = KEYS + 1 + TAGS + 1;
/// The row that only the cold-key check reads.
pub(super) const COLD: usize = KEYS;

/// The longest duration of a read: the time that a reader waits for another's load, and a little more.
pub(super) const READ_LIMIT: Duration = Duration::from_millis(3_500);

/// The longest duration of a read that waits for no other load: one load and its retries.
pub(super) const ALONE_LIMIT: Duration = Duration::from_secs(30);

/// One in this many seeds runs without faults.
const CALM_SEEDS: u64 = 20;

/// The setup of a run.
#[derive(Clone, Debug)]
pub(super) struct Setup {
    pub(super) nodes: usize,
    /// The reads per second and node.
    pub(super) reads: f64,
    /// The transactions per second.
    pub(super) writes: f64,
    /// The share of transactions with `synchronous_commit = off`.
    pub(super) lazy: f64,
    /// Whether the tiers have memory for everything.
    pub(super) roomy: bool,
    pub(super) sample_every: Duration,
    /// The mean time between two faults; `None` for a run without faults.
    pub(super) fault_every: Option<Duration>,
    /// The longest replay step of the standby, in ms; `None` without a standby.
    pub(super) standby_lag_ms: Option<u64>,
    /// Whether nodes keep key filters.
    pub(super) filters: bool,
    /// The number of entries that an invalidation removes at once; the others are left to the sweep.
    pub(super) removed_at_once: usize,
    /// Whether a second installation with a database of its own uses the same shared tier.
    pub(super) rival: bool,
    /// Whether nothing is random: a duration is the mean of its range, and an event happens if its
    /// probability is at least one half.
    pub(super) steady: bool,
}

impl Setup {
    /// Returns the setup and the random numbers of `seed`.
    pub(super) fn draw(seed: u64, faults: bool) -> (Self, SimRng) {
        let faults = faults && !seed.is_multiple_of(CALM_SEEDS);
        let mut rng = SimRng::seed_from_u64(seed);
        let setup = Self {
            nodes: rng.random_range(1..=3),
            reads: rng.random_range(2.0..16.0),
            writes: rng.random_range(0.3..4.0),
            lazy: if rng.random_bool(0.5) { rng.random_range(0.05..0.95) } else { 0.0 },
            roomy: rng.random_bool(0.7),
            sample_every: Duration::from_millis(rng.random_range(250..=500)),
            fault_every: faults.then(|| Duration::from_millis(rng.random_range(1_000..12_000))),
            filters: rng.random_bool(0.5),
            standby_lag_ms: rng.random_bool(0.5).then(|| rng.random_range(2..150)),
            // Not drawn: the other draws of a seed stay the same.
            removed_at_once: if seed.is_multiple_of(2) { 256 } else { 0 },
            rival: false,
            steady: false,
        };
        (setup, rng)
    }

    /// Returns the setup and the random numbers of the second installation in the run of `seed`.
    pub(super) fn draw_rival(&self, seed: u64) -> (Self, SimRng) {
        let faults = self.fault_every.is_some();
        let (setup, rng) = Self::draw(!seed, faults);
        let fault_every = faults.then_some(setup.fault_every.unwrap_or(Duration::from_secs(5)));
        // The tier is the first one's.
        let rival = Self { roomy: self.roomy, fault_every, rival: false, ..setup };
        (rival, rng)
    }

    /// Returns the setup of a scripted run.
    pub(super) fn scripted(nodes: usize) -> (Self, SimRng) {
        let setup = Self {
            nodes,
            reads: 0.0,
            writes: 0.0,
            lazy: 0.0,
            roomy: true,
            sample_every: Duration::from_millis(250),
            fault_every: None,
            filters: false,
            removed_at_once: 256,
            standby_lag_ms: None,
            rival: false,
            steady: true,
        };
        (setup, SimRng::seed_from_u64(0))
    }

    pub(super) fn engine(&self) -> EngineOptions {
        EngineOptions {
            local_bytes: if self.roomy { 1 << 20 } else { 9 << 10 },
            lease_ttl: Duration::from_secs(1),
            wait_timeout: Duration::from_secs(3),
            load_timeout: Duration::from_secs(2),
            slow_load: Duration::from_secs(1),
            queue_timeout: Duration::from_millis(500),
            origin_concurrency: 16,
            samples: 256,
            removed_at_once: self.removed_at_once,
            ..EngineOptions::default()
        }
    }

    pub(super) fn shared_bytes(&self) -> u64 {
        if self.roomy { 1 << 20 } else { 5 << 10 }
    }
}

/// Returns the cell of a row's tag.
pub(super) fn tag_of(key: usize) -> usize {
    KEYS + 1 + key % TAGS
}

/// The cell for everything.
pub(super) const EVERYTHING: usize = CELLS - 1;
