//! One run, from the first second to convergence.

use std::sync::Arc;
use std::time::Duration;

use cache::Tier;
use parking_lot::Mutex;
use tokio::time::{sleep, sleep_until};

use super::checks;
use super::cluster::Cluster;
use super::environment::Environment;
use super::faults;
use super::node::Node;
use super::outcome::{Options, Outcome};
use super::setup::{COLD, KEYS, Setup};
use super::standby_origin;
use super::trace::{Trace, TraceEvent};
use super::traffic;
use super::values::nanos;

/// Returns the names of all kinds of faults.
pub fn fault_kinds() -> impl Iterator<Item = &'static str> {
    faults::Kind::ALL.iter().map(|kind| kind.name())
}

/// Runs the simulation of `seed`.
///
/// # Panics
/// If no runtime can be created.
#[must_use]
pub fn run(seed: u64, options: &Options) -> Outcome {
    let run = || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime without I/O can't fail to build");
        runtime.block_on(run_cluster(seed, options))
    };
    coherence::rules::without(options.without.rule(), run)
}

async fn run_cluster(seed: u64, options: &Options) -> Outcome {
    let new_trace = || {
        let mut trace = Trace::default();
        trace.lines = options.trace.then(Vec::new);
        trace
    };
    let (mut setup, rng) = Setup::draw(seed, options.faults);
    setup.rival = options.rival;
    let cluster = boot(&Environment::new(setup, rng, new_trace(), options.without));
    let env = &cluster.env;
    if !cluster.until_proven().await {
        env.violation("nothing is proven, although no fault was injected yet".into());
        return outcome(seed, env);
    }
    cold(&cluster).await;
    let lasts = options.lasts.max(Duration::from_secs(120));
    if !env.setup.rival {
        play(&cluster, lasts, options.only).await;
        return outcome(seed, env);
    }
    let (setup, rng) = env.setup.draw_rival(seed);
    let rival = boot(&env.beside(setup, rng, new_trace()));
    tokio::join!(play(&cluster, lasts, options.only), play(&rival, lasts, options.only));
    outcome(seed, env).with_rival(outcome(seed, &rival.env))
}

/// Starts the servers and nodes of an installation.
fn boot(env: &Arc<Environment>) -> Arc<Cluster> {
    if let Some(lag_ms) = env.setup.standby_lag_ms {
        let standby = env.db.lock().new_standby();
        env.db.lock().standby = Some(standby);
        env.spawn(standby_origin::replay(Arc::clone(env), lag_ms));
    }
    let nodes = (0..env.setup.nodes).map(|id| Some(Node::boot(env, id))).collect();
    Arc::new(Cluster { env: Arc::clone(env), nodes: Mutex::new(nodes) })
}

fn outcome(seed: u64, env: &Environment) -> Outcome {
    let simulated = Duration::from_nanos(env.now());
    let trace = env.trace();
    let counts = env.counts.lock().clone();
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

/// Runs to the last second, or to the first violation.
async fn play(cluster: &Arc<Cluster>, lasts: Duration, only: Option<&'static str>) {
    let env = &cluster.env;
    let total = nanos(lasts);
    // Faults, then a recovery period, then silence.
    let (faults_end, traffic_end) = (total - 80_000_000_000, total - 15_000_000_000);
    for id in 0..env.setup.nodes {
        env.spawn(traffic::readers(Arc::clone(cluster), id, traffic_end));
    }
    env.spawn(traffic::writers(Arc::clone(cluster), traffic_end));
    env.spawn(traffic::filler_writer(Arc::clone(env), traffic_end));
    if let Some(every) = env.setup.fault_every {
        env.spawn(faults::inject(Arc::clone(cluster), every, faults_end, only));
    }
    let end = tokio::time::Instant::now() + Duration::from_nanos(total - env.now());
    while env.now() + 1_000_000_000 < total {
        sleep(Duration::from_secs(1)).await;
        if env.failed() {
            return;
        }
    }
    sleep_until(end).await;
    converged(cluster).await;
}

/// Checks single flight: readers on every node read a cold key at once.
async fn cold(cluster: &Cluster) {
    const AT_ONCE: usize = 4;
    let env = &cluster.env;
    let nodes: Vec<Arc<Node>> = cluster.nodes.lock().iter().flatten().cloned().collect();
    let mut readers = Vec::new();
    for node in &nodes {
        for _ in 0..AT_ONCE {
            let node = Arc::clone(node);
            readers.push(env.spawn(async move { drop(node.get(COLD, None).await) }));
        }
    }
    for reader in readers {
        let _ = reader.await;
    }
    let loads = env.loads.lock()[COLD];
    if loads != 1 {
        env.violation(format!("a cold key was loaded {loads} times by {} nodes", nodes.len()));
    }
    env.note(None, TraceEvent::Fault("cold key loaded", loads));
}

/// Checks convergence: for every node and key, the present value is read, proven, and stored for the
/// next read.
async fn converged(cluster: &Cluster) {
    let env = &cluster.env;
    // Nodes of another database store nothing in the tier, and report that.
    let owns_tier = env.owns_tier().await;
    for id in 0..env.setup.nodes {
        let Some(node) = cluster.node(id) else {
            env.violation(format!("node {id} is down at the end"));
            return;
        };
        let components = node.health.readiness().components;
        if let Some((name, component)) = components.iter().find(|(_, component)| !component.ok)
            && owns_tier
        {
            env.violation(format!("{name} of node {id} has not recovered: {}", component.detail));
        }
        for key in 0..KEYS {
            // Whether the entry lives long enough for the second read.
            let mut outlives_read = false;
            for again in [false, true] {
                let Some(result) = node.get(key, None).await else { return };
                let question = checks::Question { node: id, key, asked: env.now() };
                let policy = &node.policies[key];
                let stored = again && outlives_read && env.setup.roomy && owns_tier;
                let stored =
                    stored && !policy.rules.budget.is_zero() && !policy.rules.tiers.is_none();
                let tier = if policy.rules.tiers.local { Tier::Local } else { Tier::Shared };
                checks::check_converged(env, question, &result, stored.then_some(tier));
                outlives_read = result.is_ok_and(|answer| {
                    answer.entry.ttl() > answer.proof().age + Duration::from_secs(1)
                });
            }
        }
    }
}
