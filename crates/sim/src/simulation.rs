//! A deterministic simulation of whole clusters: the product's own engine, leader, tiers and rules
//! on virtual time, a virtual network and a virtual database, with faults by a plan from a seed.
//!
//! One seed is one world: [`run`] makes it, lets readers and writers loose on it, breaks things,
//! mends them, and holds every answer against the world's own history:
//!
//! 1. no answer is staler than the bound it shows;
//! 2. no answer is older than its contract, unless it says so and its contract allows that;
//! 3. no answer from a tier misses a commit that this tier has applied, and none misses one up to the
//!    version it shows;
//! 4. when the faults are over, every tier converges: reads bring the present value, proven within a
//!    moment, and it is kept;
//! 5. no answer for a read-your-writes token misses the write;
//! 6. nothing panics, and every read ends in time;
//! 7. before the first fault, a cold key is loaded once in the whole cluster; at all times a key's lease
//!    has one holder, nobody stores past it, and no version goes back in its place;
//! 8. where nothing goes wrong (one seed in twenty), every read is answered, and proven within a
//!    moment.
//!
//! A run is single-threaded and takes all its chance from the seed, so that the same seed gives the
//! same events to the byte ([`Outcome::digest`]). `src/bin/simulate.rs` runs many.
//!
//! **Real:** `cache::Engine` with its in-process tier, flights, leases and gates; `cache::leader`;
//! the state of the embedded shared tier; all of `coherence`. **Virtual:** time, the network, the
//! database with its log, snapshots, slot and standby, the way from the log to [`coherence::Chain`], processes.
//! **Not in it:** sockets and SQL, Redis's scripts and streams, the gateway, threads.

mod check;
mod database;
mod faults;
mod film;
mod follower;
mod node;
mod pictures;
mod roll;
mod server;
mod setup;
mod stage;
mod standby;
mod tally;
mod trace;
mod traffic;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cache::Tier;
use coherence::Rule;
use parking_lot::Mutex;
use tokio::time::{sleep, sleep_until};

use self::node::Node;
pub use self::pictures::{Picture, pictures};
use self::setup::{COLD, KEYS, Setup};
use self::stage::Stage;
pub use self::tally::Tally;
use self::trace::{Trace, What};
use self::traffic::Cast;

/// How a world is run.
#[derive(Clone, Debug)]
pub struct Options {
    /// How long it is, in its own time; at least two minutes.
    pub lasts: Duration,
    /// Whether anything goes wrong.
    pub faults: bool,
    /// A rule of `coherence` to leave out, to see that it is missed.
    pub without: Option<Rule>,
    /// The one kind of fault that happens, by its [name](fault_kinds); `None`: any.
    pub only: Option<&'static str>,
    /// Whether to keep what happens, line by line.
    pub trace: bool,
}

/// What can go wrong, by name.
pub fn fault_kinds() -> impl Iterator<Item = &'static str> {
    faults::Kind::ALL.iter().map(|kind| kind.name())
}

impl Default for Options {
    fn default() -> Self {
        let lasts = Duration::from_secs(360);
        Self { lasts, faults: true, without: None, only: None, trace: false }
    }
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Which world it was.
    pub seed: u64,
    /// All events as one number: two runs with the same one were the same.
    pub digest: u64,
    /// How many events there were.
    pub events: u64,
    /// How much time passed in it.
    pub simulated: Duration,
    /// Faults by kind.
    pub faults: BTreeMap<&'static str, u64>,
    /// Answers by tier, by why they are stale, or by why there were none.
    pub answers: BTreeMap<&'static str, u64>,
    /// Commits written.
    pub commits: u64,
    /// How often an answer or an entry was held against history.
    pub checks: u64,
    /// Answers that were old when they were given, by less than they showed: had the bound lied, it would
    /// have been seen in these.
    pub old: u64,
    /// The first broken promise, if any.
    pub violation: Option<String>,
    /// What happened, if it was asked for.
    pub lines: Vec<String>,
}

/// Runs the world that `seed` stands for.
///
/// # Panics
/// If no runtime can be made.
#[must_use]
pub fn run(seed: u64, options: &Options) -> Outcome {
    let run = || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime without I/O needs nothing that could be missing");
        runtime.block_on(world(seed, options))
    };
    coherence::rules::without(options.without, run)
}

async fn world(seed: u64, options: &Options) -> Outcome {
    let (setup, dice) = Setup::draw(seed, options.faults);
    let mut trace = Trace::default();
    trace.lines = options.trace.then(Vec::new);
    let stage = Stage::new(setup, dice, trace);
    if let Some(lag_ms) = stage.setup.standby_lag_ms {
        let standby = standby::Standby::of(&stage.db.lock());
        stage.db.lock().standby = Some(standby);
        stage.spawn(standby::replay(Arc::clone(&stage), lag_ms));
    }
    let nodes = (0..stage.setup.nodes).map(|id| Some(Node::boot(&stage, id))).collect();
    let cast = Arc::new(Cast { stage: Arc::clone(&stage), nodes: Mutex::new(nodes) });
    play(&cast, options.lasts.max(Duration::from_secs(120)), options.only).await;
    let simulated = Duration::from_nanos(stage.now());
    let trace = stage.trace();
    let counts = stage.counts.lock().clone();
    Outcome {
        seed,
        digest: trace.digest(),
        events: trace.events,
        simulated,
        faults: counts.faults,
        answers: counts.answers,
        commits: counts.commits,
        checks: counts.checks,
        old: counts.old,
        violation: counts.violation,
        lines: trace.lines.unwrap_or_default(),
    }
}

/// From the first second to the last, or to the first violation.
async fn play(cast: &Arc<Cast>, lasts: Duration, only: Option<&'static str>) {
    let stage = &cast.stage;
    if !proven(cast).await {
        stage.violation("nothing is proven, although nothing has gone wrong yet".into());
        return;
    }
    cold(cast).await;
    let all = check::nanos(lasts);
    // Faults, then a time to recover, then silence.
    let (mended, silent) = (all - 80_000_000_000, all - 15_000_000_000);
    for id in 0..stage.setup.nodes {
        stage.spawn(traffic::readers(Arc::clone(cast), id, silent));
    }
    stage.spawn(traffic::writers(Arc::clone(cast), silent));
    stage.spawn(traffic::scribbler(Arc::clone(stage), silent));
    if let Some(every) = stage.setup.fault_every {
        stage.spawn(faults::happen(Arc::clone(cast), every, mended, only));
    }
    let end = tokio::time::Instant::now() + Duration::from_nanos(all - stage.now());
    while stage.now() + 1_000_000_000 < all {
        sleep(Duration::from_secs(1)).await;
        if stage.failed() {
            return;
        }
    }
    sleep_until(end).await;
    converged(cast).await;
}

async fn proven(cast: &Cast) -> bool {
    for _ in 0..200 {
        sleep(Duration::from_millis(100)).await;
        let all = cast.nodes.lock().iter().flatten().all(|node| {
            let standing = node.engine.standing();
            standing.bound.is_some() && standing.watermark.0 > 0
        });
        if all {
            return true;
        }
    }
    false
}

/// Readers on every node ask at once for what no tier has.
async fn cold(cast: &Cast) {
    const AT_ONCE: usize = 4;
    let stage = &cast.stage;
    let nodes: Vec<Arc<Node>> = cast.nodes.lock().iter().flatten().cloned().collect();
    let mut readers = Vec::new();
    for node in &nodes {
        for _ in 0..AT_ONCE {
            let node = Arc::clone(node);
            readers.push(stage.spawn(async move { drop(node.get(COLD, None).await) }));
        }
    }
    for reader in readers {
        let _ = reader.await;
    }
    let loads = stage.loads.lock()[COLD];
    if loads != 1 {
        stage.violation(format!("a cold key was loaded {loads} times by {} nodes", nodes.len()));
    }
    stage.note(None, What::Fault("cold key loaded", loads));
}

/// Every node, every key: the present value, proven, and the next reader finds it kept.
async fn converged(cast: &Cast) {
    let stage = &cast.stage;
    for id in 0..stage.setup.nodes {
        let Some(node) = cast.node(id) else {
            stage.violation(format!("node {id} is not there at the end"));
            return;
        };
        for key in 0..KEYS {
            // Whether what was answered lives long enough to be met again.
            let mut lives = false;
            for again in [false, true] {
                let Some(result) = node.get(key, None).await else { return };
                let question = check::Question { node: id, key, asked: stage.now() };
                let policy = &node.policies[key];
                let kept = again && lives && stage.setup.roomy;
                let kept = kept && !policy.budget.is_zero() && !policy.tiers.is_none();
                let tier = if policy.tiers.local { Tier::Local } else { Tier::Shared };
                check::is_the_truth(stage, question, &result, kept.then_some(tier));
                lives = result.is_ok_and(|answer| {
                    answer.entry.ttl > answer.proof().age + Duration::from_secs(1)
                });
            }
        }
    }
}
