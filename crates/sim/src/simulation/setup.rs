//! What a seed decides before anything happens.

use std::sync::Arc;
use std::time::Duration;

use cache::shared::Slide;
use cache::{EngineOptions, Policy};
use coherence::Subject;
use contract::{Key, Pattern, Tag, Tiers, Unproven};
use rand::{RngExt, SeedableRng};

/// The generator behind a run. Its sequence is part of its definition.
pub(super) type Dice = rand::rngs::Xoshiro256PlusPlus;

/// Rows that are read and written. One more, the last, is kept for the question who loads it.
pub(super) const KEYS: usize = 20;
/// Groups of rows that a tag stands for.
pub(super) const TAGS: usize = 4;
/// All cells: rows, the cold row, tags, everything.
pub(super) const CELLS: usize = KEYS + 1 + TAGS + 1;
/// The row that nobody reads but the question about cold keys.
pub(super) const COLD: usize = KEYS;

/// The longest that one read may take: what a reader waits for somebody's load, and a little.
pub(super) const READ_LIMIT: Duration = Duration::from_millis(3_500);

/// The same for a reader who waits for nobody: one load and its retries.
pub(super) const ALONE_LIMIT: Duration = Duration::from_secs(30);

/// In one of so many worlds nothing goes wrong.
const CALM_SEEDS: u64 = 20;

/// How a world is made.
#[derive(Clone, Debug)]
pub(super) struct Setup {
    pub(super) nodes: usize,
    /// Reads per second and node.
    pub(super) reads: f64,
    /// Transactions per second.
    pub(super) writes: f64,
    /// Share of transactions with `synchronous_commit = off`.
    pub(super) lazy: f64,
    /// Whether the tiers have room for everything.
    pub(super) roomy: bool,
    pub(super) sample_every: Duration,
    /// Mean time between two faults; `None`: there are none.
    pub(super) fault_every: Option<Duration>,
    /// A standby answers reads, and its steps take up to so many milliseconds.
    pub(super) standby_lag_ms: Option<u64>,
    /// Nodes keep filters of the rows that exist.
    pub(super) filters: bool,
    /// Nothing is left to chance: what takes some time takes the mean of it, and what may happen happens if
    /// it is likely.
    pub(super) steady: bool,
}

impl Setup {
    /// What `seed` decides.
    pub(super) fn draw(seed: u64, faults: bool) -> (Self, Dice) {
        let faults = faults && !seed.is_multiple_of(CALM_SEEDS);
        let mut dice = Dice::seed_from_u64(seed);
        let setup = Self {
            nodes: dice.random_range(1..=3),
            reads: dice.random_range(2.0..16.0),
            writes: dice.random_range(0.3..4.0),
            lazy: if dice.random_bool(0.5) { dice.random_range(0.05..0.95) } else { 0.0 },
            roomy: dice.random_bool(0.7),
            sample_every: Duration::from_millis(dice.random_range(250..=500)),
            fault_every: faults.then(|| Duration::from_millis(dice.random_range(1_000..12_000))),
            filters: dice.random_bool(0.5),
            standby_lag_ms: dice.random_bool(0.5).then(|| dice.random_range(2..150)),
            steady: false,
        };
        (setup, dice)
    }

    /// So many nodes, to whom only happens what a script says.
    pub(super) fn scripted(nodes: usize) -> (Self, Dice) {
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
        (setup, Dice::seed_from_u64(0))
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

/// The tag's cell of a row.
pub(super) fn tag_of(key: usize) -> usize {
    KEYS + 1 + key % TAGS
}

/// The cell that stands for everything.
pub(super) const EVERYTHING: usize = CELLS - 1;

/// The cells that a row's value is made from.
pub(super) fn cells_of(key: usize) -> [usize; 3] {
    if is_row_alone(key) { [key; 3] } else { [key, tag_of(key), EVERYTHING] }
}

/// Whether the value is made from the row alone, so that the log can tell it (write-through).
pub(super) fn is_row_alone(key: usize) -> bool {
    key < KEYS && matches!(key % CONTRACTS, 2 | 5 | 6 | 9)
}

/// The row's name.
pub(super) fn key(number: usize) -> Key {
    Key::parse(&format!("v1:sim:row:{number}")).expect("well formed")
}

/// The row's number.
pub(super) fn number_of(key: &Key) -> Option<usize> {
    key.as_str().rsplit(':').next()?.parse().ok()
}

/// The tag behind a cell.
pub(super) fn tag(cell: usize) -> Tag {
    Tag::parse(&format!("group-{cell}")).expect("well formed")
}

/// What an event about a cell names.
pub(super) fn subject(cell: usize) -> Subject {
    match cell {
        EVERYTHING => Subject::Everything,
        cell if cell > COLD => Subject::Tag(tag(cell)),
        cell => Subject::Key(key(cell)),
    }
}

/// A wildcard that is about all of a cell, and perhaps about more. A row's own value is in nobody else's.
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

/// How many contracts there are; rows take turns.
const CONTRACTS: usize = 10;

/// A row's contract.
pub(super) fn policy(key: usize) -> Arc<Policy> {
    let secs = Duration::from_secs;
    let named = |name: &str, budget: Duration, unproven, ttl| {
        let mut policy = Policy::new(name, budget);
        policy.unproven = unproven;
        policy.ttl = ttl;
        policy.absent_ttl = ttl / 2;
        policy
    };
    // The cold row's has room in all tiers, and time.
    let which = if key == COLD { 6 } else { key % CONTRACTS };
    let mut policy = match which {
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
        policy.stale_while_revalidate = secs(10);
    }
    if which == 3 {
        policy.slide = Some(Slide::within(secs(15)));
    }
    if which == 7 {
        policy.slide = Some(Slide::within(Duration::MAX));
    }
    if which == 4 {
        policy.tiers = Tiers { shared: false, ..Tiers::ALL };
    }
    if which == 8 {
        policy.tiers = Tiers::NONE;
    }
    if which == 7 {
        policy.tiers = Tiers { local: false, ..Tiers::ALL };
    }
    Arc::new(policy)
}
