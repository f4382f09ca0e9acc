//! The shared state of a run: time, random numbers, the network, the record.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cache::SharedTier;
use coherence::{Clock, Epoch, Mono};
use parking_lot::Mutex;
use rand::RngExt;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::clocks::{WorldClock, since};
use super::database::Database;
use super::fault_state::FaultState;
use super::recorder::Recorder;
use super::setup::{CELLS, KEYS, Setup, SimRng};
use super::shared_server::SharedServer;
use super::trace::{Trace, TraceEvent};
use crate::model::composition::{CompositionRule, Omitted};

/// The time after which a caller gives up waiting for an answer over the network.
pub(super) const CALL_TIMEOUT: Duration = Duration::from_millis(400);

/// The identities of the databases of the first installation and of another one.
const OWN_SYSTEM: u64 = 7;
const OTHER_SYSTEM: u64 = 8;

/// The other end of a node's connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Peer {
    Shared,
    Database,
}

/// The failure of a call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum CallError {
    /// At once.
    Refused,
    /// After [`CALL_TIMEOUT`].
    Silent,
}

/// The environment of a run.
pub(super) struct Environment {
    pub(super) setup: Setup,
    started: Instant,
    pub(super) db: Mutex<Database>,
    /// Notified when there is more of the log to send.
    pub(super) log_moved: Notify,
    /// Other installations may share it.
    pub(super) server: Arc<Mutex<SharedServer>>,
    pub(super) faults: Mutex<FaultState>,
    rng: Mutex<SimRng>,
    trace: Mutex<Trace>,
    pub(super) counts: Mutex<Counts>,
    /// The number of loads of each key.
    pub(super) loads: Mutex<Vec<u64>>,
    /// The last database session of each node.
    pub(super) sessions: Mutex<Vec<Option<u64>>>,
    /// Records only while pictures are made.
    pub(super) recorder: Recorder,
    omitted: Omitted,
}

/// The counts of a run.
#[derive(Clone, Debug, Default)]
pub(super) struct Counts {
    pub(super) faults: BTreeMap<&'static str, u64>,
    pub(super) answers: BTreeMap<&'static str, u64>,
    pub(super) commits: u64,
    pub(super) checks: u64,
    pub(super) old: u64,
    pub(super) violation: Option<String>,
}

impl Environment {
    pub(super) fn new(setup: Setup, rng: SimRng, trace: Trace, omitted: Omitted) -> Arc<Self> {
        let started = Instant::now();
        let clock: Arc<dyn Clock> = Arc::new(WorldClock(started));
        let server = Arc::new(Mutex::new(SharedServer::new(clock, setup.shared_bytes())));
        Self::on(server, started, OWN_SYSTEM, (setup, rng), trace, omitted)
    }

    /// Returns the environment of another installation, with a database of its own. Its nodes use the same shared
    /// tier under the same names.
    pub(super) fn beside(&self, setup: Setup, rng: SimRng, trace: Trace) -> Arc<Self> {
        let (server, omitted) = (Arc::clone(&self.server), self.omitted);
        let is_named = self.enforces(CompositionRule::LogNamesItsDatabase);
        let system = if is_named { OTHER_SYSTEM } else { OWN_SYSTEM };
        Self::on(server, self.started, system, (setup, rng), trace, omitted)
    }

    fn on(
        server: Arc<Mutex<SharedServer>>,
        started: Instant,
        system: u64,
        (setup, rng): (Setup, SimRng),
        trace: Trace,
        omitted: Omitted,
    ) -> Arc<Self> {
        let nodes = setup.nodes;
        let faults = FaultState {
            cut_shared: vec![false; nodes],
            cut_database: vec![false; nodes],
            stopped_until: vec![0; nodes],
            generations: vec![0; nodes],
            break_stream: vec![false; nodes],
            wall_off: vec![0; nodes],
            connections: vec![0; nodes],
            lost_answers: 0.0,
            errors: 0.0,
            slow_shared_ms: 0,
            hidden_ms: 0,
            log_stalled: false,
            bad_loads: 0.0,
            slow_loads_ms: 0,
            replay_stalled: false,
            storm: 1.0,
        };
        Arc::new(Self {
            started,
            db: Mutex::new(Database::new(CELLS, system)),
            log_moved: Notify::new(),
            server,
            faults: Mutex::new(faults),
            rng: Mutex::new(rng),
            trace: Mutex::new(trace),
            counts: Mutex::default(),
            loads: Mutex::new(vec![0; KEYS + 1]),
            sessions: Mutex::new(vec![None; nodes]),
            recorder: Recorder::default(),
            omitted,
            setup,
        })
    }

    /// Returns the nanoseconds since the start of the run.
    pub(super) fn now(&self) -> u64 {
        since(self.started)
    }

    pub(super) fn note(&self, node: Option<usize>, event: TraceEvent) {
        self.trace.lock().note(self.now(), node, &event);
    }

    pub(super) fn trace(&self) -> Trace {
        std::mem::take(&mut *self.trace.lock())
    }

    /// Records a violation; only the first one is kept.
    pub(super) fn violation(&self, text: String) {
        let mut counts = self.counts.lock();
        if counts.violation.is_none() {
            counts.violation = Some(format!("at {:.6} s: {text}", self.now() as f64 / 1e9));
        }
    }

    pub(super) fn failed(&self) -> bool {
        self.counts.lock().violation.is_some()
    }

    /// Spawns a task of the run; a panic in it is a violation.
    pub(super) fn spawn(
        self: &Arc<Self>,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> JoinHandle<()> {
        let alarm = PanicGuard(Arc::clone(self));
        tokio::spawn(async move {
            let _alarm = alarm;
            task.await;
        })
    }

    /// Draws from the run's random numbers.
    pub(super) fn draw<T>(&self, draw: impl FnOnce(&mut SimRng) -> T) -> T {
        draw(&mut self.rng.lock())
    }

    pub(super) fn chance(&self, share: f64) -> bool {
        if self.setup.steady {
            return share >= 0.5;
        }
        share > 0.0 && self.draw(|rng| rng.random_bool(share.min(1.0)))
    }

    /// Returns whether a server answers a request with an error.
    pub(super) fn fails(&self) -> bool {
        let share = self.faults.lock().errors;
        self.chance(share)
    }

    pub(super) fn enforces(&self, rule: CompositionRule) -> bool {
        self.omitted.enforces(rule)
    }

    /// Returns whether an epoch is of a log of this installation's database.
    pub(super) fn is_own(&self, epoch: Epoch) -> bool {
        epoch.system == self.db.lock().log.system
    }

    /// Returns whether the shared tier follows this installation's database.
    pub(super) async fn owns_tier(&self) -> bool {
        let memory = self.server.lock().memory();
        let position = memory.position().await.ok().flatten();
        position.is_some_and(|position| self.is_own(position.epoch))
    }

    pub(super) fn millis(&self, from: u64, to: u64) -> Duration {
        if self.setup.steady {
            return Duration::from_millis(from.midpoint(to));
        }
        Duration::from_millis(self.draw(|rng| rng.random_range(from..=to)))
    }

    /// Returns the random time until the next event, at `per_second` events per second.
    pub(super) fn until_next(&self, per_second: f64) -> Duration {
        let unit = 1.0 - self.draw(|rng| rng.random::<f64>());
        Duration::from_secs_f64((-unit.ln() / per_second.max(1e-9)).clamp(0.001, 600.0))
    }

    /// Transmits one message between a node and a server. A stopped node neither sends nor receives.
    pub(super) async fn transmit(
        &self,
        node: usize,
        generation: u64,
        peer: Peer,
    ) -> Result<(), CallError> {
        let slow = self.faults.lock().slow_shared_ms;
        let far = if peer == Peer::Shared && slow > 0 { slow } else { 3 };
        sleep(self.millis(0, far)).await;
        self.until_running(node, generation).await;
        let cut = {
            let faults = self.faults.lock();
            match peer {
                Peer::Shared => faults.cut_shared[node],
                Peer::Database => faults.cut_database[node],
            }
        };
        if !cut {
            return Ok(());
        }
        if self.chance(0.5) {
            return Err(CallError::Refused);
        }
        sleep(CALL_TIMEOUT).await;
        Err(CallError::Silent)
    }

    /// Waits while the process is stopped, and never returns if it is dead.
    pub(super) async fn until_running(&self, node: usize, generation: u64) {
        loop {
            let (until, alive) = {
                let faults = self.faults.lock();
                (faults.stopped_until[node], faults.generations[node] == generation)
            };
            if !alive {
                return std::future::pending().await;
            }
            let now = self.now();
            if until <= now {
                return;
            }
            sleep(Duration::from_nanos(until - now)).await;
        }
    }

    /// Writes and flushes a record that changes no row.
    pub(super) fn write_empty_commit(&self) {
        let mut db = self.db.lock();
        if db.up {
            db.write_filler(64);
            db.flush();
            self.log_moved.notify_waiters();
        }
    }

    pub(super) fn is_stopped(&self, node: usize) -> bool {
        self.faults.lock().stopped_until[node] > self.now()
    }

    pub(super) fn is_alive(&self, node: usize, generation: u64) -> bool {
        self.faults.lock().generations[node] == generation
    }
}

struct PanicGuard(Arc<Environment>);

impl Drop for PanicGuard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.violation("a task panicked".to_owned());
        }
    }
}

/// A node's clock: monotonic time starts with its process, and its wall clock may be off.
pub(super) struct NodeClock {
    pub(super) env: Arc<Environment>,
    pub(super) node: usize,
    /// The clock's reading at the start of the run.
    pub(super) offset: u64,
}

/// The wall clock at the start of the run, 2027-01-15, in µs since 1970.
pub(super) const WALL_US: i64 = 1_800_000_000_000_000;

impl Clock for NodeClock {
    fn mono(&self) -> Mono {
        Mono(self.offset + self.env.now())
    }

    fn wall_ms(&self) -> u64 {
        self.wall_us() / 1_000
    }

    fn wall_us(&self) -> u64 {
        let off = self.env.faults.lock().wall_off[self.node];
        let now = i64::try_from(self.env.now() / 1_000).unwrap_or(i64::MAX);
        u64::try_from(WALL_US + now + off).unwrap_or_default()
    }
}
