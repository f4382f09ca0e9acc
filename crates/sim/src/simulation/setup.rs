//! The setup of a run, as determined by its seed.

use std::sync::Arc;
use std::time::Duration;

use cache::shared::Touch;
use cache::{EngineOptions, Policy, Rules};
use coherence::Subject;
use contract::{Key, Pattern, Tag, Tiers, Unproven};
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

/// Rows with a key filter: their contracts allow one second, and ten.
pub(super) const FILTERED: [usize; 2] = [0, 3];

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
            steady: false,
        };
        (setup, rng)
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
            standby_lag_ms: None,
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

/// Returns the cells in a row's value.
pub(super) fn cells_of(key: usize) -> [usize; 3] {
    if is_row_alone(key) { [key; 3] } else { [key, tag_of(key), EVERYTHING] }
}

/// Returns whether the value depends on the row alone, so that the log contains it (write-through).
pub(super) fn is_row_alone(key: usize) -> bool {
    key < KEYS && matches!(key % CONTRACTS, 2 | 5 | 6 | 9)
}

/// Returns the key of a row.
pub(super) fn key(number: usize) -> Key {
    Key::parse(&format!("v1:sim:row:{number}")).expect("well formed")
}

/// Returns the row of a key.
pub(super) fn number_of(key: &Key) -> Option<usize> {
    key.as_str().rsplit(':').next()?.parse().ok()
}

/// Returns the tag of a cell.
pub(super) fn tag(cell: usize) -> Tag {
    Tag::parse(&format!("group-{cell}")).expect("well formed")
}

/// Returns the subject of an event about a cell.
pub(super) fn subject(cell: usize) -> Subject {
    match cell {
        EVERYTHING => Subject::Everything,
        cell if cell > COLD => Subject::Tag(tag(cell)),
        cell => Subject::Key(key(cell)),
    }
}

/// Returns a wildcard that covers a cell, and possibly others. No other value includes a row's own
/// value.
pub(super) fn wildcard(cell: usize) -> Subject {
    let keys = |text: &str| Subject::KeysLike(Pattern::of_keys(text).expect("well formed"));
    match cell {
        EVERYTHING => keys("v1:sim:row:*"),
        cell if cell > COLD => {
            Subject::TagsLike(Pattern::of_tags(&format!("*-{cell}")).expect("well formed"))
        }
        cell => keys(&format!("v1:sim:row:{cell}*")),
    }
}

/// The number of contracts; rows use them in turn.
const CONTRACTS: usize = 10;

/// Returns a row's contract.
pub(super) fn policy(key: usize) -> Arc<Policy> {
    let secs = Duration::from_secs;
    let named = |name: &str, budget: Duration, unproven, ttl| {
        let mut rules = Rules::new(name, budget);
        rules.unproven = unproven;
        rules.ttl = ttl;
        rules.absent_ttl = ttl / 2;
        rules
    };
    // The cold row's contract uses all tiers, and has a long TTL.
    let which = if key == COLD { 6 } else { key % CONTRACTS };
    let mut rules = match which {
        0 => named("second", secs(1), Unproven::ReadOrigin, secs(60)),
        1 => named("old-rather-than-none", secs(5), Unproven::ServeStale, secs(30)),
        2 => named("none-rather-than-old", secs(2), Unproven::Fail, secs(60)),
        3 => named("short", secs(10), Unproven::ServeStale, secs(4)),
        4 => named("local-only", secs(3), Unproven::ReadOrigin, secs(20)),
        9 => named("from-the-log", secs(2), Unproven::ServeStale, secs(30)),
        8 => named("never-kept", secs(1), Unproven::ReadOrigin, secs(20)),
        7 => named("shared-only", secs(4), Unproven::ServeStale, secs(20)),
        5 => named("always-new", Duration::ZERO, Unproven::ReadOrigin, secs(20)),
        _ => named("minute", secs(60), Unproven::ReadOrigin, secs(300)),
    };
    if which == 1 {
        rules.stale_while_revalidate = secs(10);
    }
    if which == 3 {
        rules.sliding = Some(Touch::within(secs(15)));
    }
    if which == 7 {
        rules.sliding = Some(Touch::within(Duration::MAX));
    }
    if which == 4 {
        rules.tiers = Tiers { shared: false, ..Tiers::ALL };
    }
    if which == 8 {
        rules.tiers = Tiers::NONE;
    }
    if which == 7 {
        rules.tiers = Tiers { local: false, ..Tiers::ALL };
    }
    Arc::new(Policy::new(rules))
}
