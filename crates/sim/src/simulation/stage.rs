//! What all parts of a world share: time, chance, the network, the record.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use coherence::{Clock, Mono};
use parking_lot::Mutex;
use rand::RngExt;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::database::Database;
use super::film::Film;
use super::server::Server;
use super::setup::{CELLS, Dice, KEYS, Setup};
use super::trace::{Trace, What};

/// How long a caller waits for an answer over the network before it gives up.
pub(super) const PATIENCE: Duration = Duration::from_millis(400);

/// The other end of a connection of a node.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Peer {
    Shared,
    Database,
}

/// A call failed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Failed {
    /// At once.
    Refused,
    /// After [`PATIENCE`].
    Silent,
}

/// What the network and the servers do to those who use them.
#[derive(Debug)]
pub(super) struct Weather {
    pub(super) cut_shared: Vec<bool>,
    pub(super) cut_database: Vec<bool>,
    /// Stopped processes, until then.
    pub(super) stopped_until: Vec<u64>,
    /// Lives of each node; what belongs to an earlier one gets no answers any more.
    pub(super) lives: Vec<u64>,
    /// The node's stream is told to break.
    pub(super) break_stream: Vec<bool>,
    /// By how much a node's wall clock is off, in µs.
    pub(super) wall_off: Vec<i64>,
    /// Lives of each node's connection to the database.
    pub(super) connections: Vec<u64>,
    /// Share of answers of the shared tier that are lost.
    pub(super) lost_answers: f64,
    /// Added to each way to the shared tier, at most.
    pub(super) slow_shared_ms: u64,
    /// Commits stay invisible for up to so long.
    pub(super) hidden_ms: u64,
    /// The log is not sent.
    pub(super) log_stalled: bool,
    /// Share of loads that fail.
    pub(super) bad_loads: f64,
    /// Loads take up to so long.
    pub(super) slow_loads_ms: u64,
    /// The standby replays nothing.
    pub(super) replay_stands: bool,
    /// Writers write this many times as much.
    pub(super) storm: f64,
}

/// A world.
pub(super) struct Stage {
    pub(super) setup: Setup,
    started: Instant,
    pub(super) db: Mutex<Database>,
    /// Rings when there is more of the log to send.
    pub(super) log_moved: Notify,
    pub(super) server: Mutex<Server>,
    pub(super) weather: Mutex<Weather>,
    dice: Mutex<Dice>,
    trace: Mutex<Trace>,
    pub(super) counts: Mutex<Counts>,
    /// Loads of each key so far.
    pub(super) loads: Mutex<Vec<u64>>,
    /// Each node's last session with the database.
    pub(super) sessions: Mutex<Vec<Option<u64>>>,
    /// Running while pictures are made.
    pub(super) film: Film,
}

/// What a run saw.
#[derive(Clone, Debug, Default)]
pub(super) struct Counts {
    pub(super) faults: BTreeMap<&'static str, u64>,
    pub(super) answers: BTreeMap<&'static str, u64>,
    pub(super) commits: u64,
    pub(super) checks: u64,
    pub(super) old: u64,
    pub(super) violation: Option<String>,
}

impl Stage {
    pub(super) fn new(setup: Setup, dice: Dice, trace: Trace) -> Arc<Self> {
        let nodes = setup.nodes;
        let started = Instant::now();
        let clock: Arc<dyn Clock> = Arc::new(WorldClock(started));
        let weather = Weather {
            cut_shared: vec![false; nodes],
            cut_database: vec![false; nodes],
            stopped_until: vec![0; nodes],
            lives: vec![0; nodes],
            break_stream: vec![false; nodes],
            wall_off: vec![0; nodes],
            connections: vec![0; nodes],
            lost_answers: 0.0,
            slow_shared_ms: 0,
            hidden_ms: 0,
            log_stalled: false,
            bad_loads: 0.0,
            slow_loads_ms: 0,
            replay_stands: false,
            storm: 1.0,
        };
        Arc::new(Self {
            started,
            db: Mutex::new(Database::new(CELLS)),
            log_moved: Notify::new(),
            server: Mutex::new(Server::new(clock, setup.shared_bytes())),
            weather: Mutex::new(weather),
            dice: Mutex::new(dice),
            trace: Mutex::new(trace),
            counts: Mutex::default(),
            loads: Mutex::new(vec![0; KEYS + 1]),
            sessions: Mutex::new(vec![None; nodes]),
            film: Film::default(),
            setup,
        })
    }

    /// Nanoseconds since the world began.
    pub(super) fn now(&self) -> u64 {
        since(self.started)
    }

    pub(super) fn note(&self, node: Option<usize>, what: What) {
        self.trace.lock().note(self.now(), node, &what);
    }

    pub(super) fn trace(&self) -> Trace {
        std::mem::take(&mut *self.trace.lock())
    }

    /// The first one is kept.
    pub(super) fn violation(&self, text: String) {
        let mut counts = self.counts.lock();
        if counts.violation.is_none() {
            counts.violation = Some(format!("at {:.6} s: {text}", self.now() as f64 / 1e9));
        }
    }

    pub(super) fn failed(&self) -> bool {
        self.counts.lock().violation.is_some()
    }

    /// A task of the world; if it panics, that is a violation.
    pub(super) fn spawn(
        self: &Arc<Self>,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> JoinHandle<()> {
        let alarm = Alarm(Arc::clone(self));
        tokio::spawn(async move {
            let _alarm = alarm;
            task.await;
        })
    }

    /// Draws from the world's chance.
    pub(super) fn draw<T>(&self, draw: impl FnOnce(&mut Dice) -> T) -> T {
        draw(&mut self.dice.lock())
    }

    pub(super) fn chance(&self, share: f64) -> bool {
        if self.setup.steady {
            return share >= 0.5;
        }
        share > 0.0 && self.draw(|dice| dice.random_bool(share.min(1.0)))
    }

    pub(super) fn millis(&self, from: u64, to: u64) -> Duration {
        if self.setup.steady {
            return Duration::from_millis(from.midpoint(to));
        }
        Duration::from_millis(self.draw(|dice| dice.random_range(from..=to)))
    }

    /// The time until the next of so many a second.
    pub(super) fn until_next(&self, per_second: f64) -> Duration {
        let unit = 1.0 - self.draw(|dice| dice.random::<f64>());
        Duration::from_secs_f64((-unit.ln() / per_second.max(1e-9)).clamp(0.001, 600.0))
    }

    /// One way between a node and a server. A node that was stopped neither sends nor hears.
    pub(super) async fn way(&self, node: usize, life: u64, peer: Peer) -> Result<(), Failed> {
        let slow = self.weather.lock().slow_shared_ms;
        let far = if peer == Peer::Shared && slow > 0 { slow } else { 3 };
        sleep(self.millis(0, far)).await;
        self.awake(node, life).await;
        let cut = {
            let weather = self.weather.lock();
            match peer {
                Peer::Shared => weather.cut_shared[node],
                Peer::Database => weather.cut_database[node],
            }
        };
        if !cut {
            return Ok(());
        }
        if self.chance(0.5) {
            return Err(Failed::Refused);
        }
        sleep(PATIENCE).await;
        Err(Failed::Silent)
    }

    /// Waits while the process is stopped; for ever if it is dead.
    pub(super) async fn awake(&self, node: usize, life: u64) {
        loop {
            let (until, alive) = {
                let weather = self.weather.lock();
                (weather.stopped_until[node], weather.lives[node] == life)
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

    /// A commit that changes nothing, flushed.
    pub(super) fn nudge(&self) {
        let mut db = self.db.lock();
        if db.up {
            db.scribble(64);
            db.flush();
            self.log_moved.notify_waiters();
        }
    }

    pub(super) fn is_stopped(&self, node: usize) -> bool {
        self.weather.lock().stopped_until[node] > self.now()
    }

    pub(super) fn is_alive(&self, node: usize, life: u64) -> bool {
        self.weather.lock().lives[node] == life
    }
}

struct Alarm(Arc<Stage>);

impl Drop for Alarm {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.violation("a task panicked".to_owned());
        }
    }
}

fn since(started: Instant) -> u64 {
    u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// The shared tier's clock.
#[derive(Debug)]
pub(super) struct WorldClock(Instant);

impl Clock for WorldClock {
    fn mono(&self) -> Mono {
        Mono(since(self.0))
    }

    fn wall_ms(&self) -> u64 {
        0
    }
}

/// A node's clock: its monotonic time begins with its process, its wall clock may be off.
pub(super) struct NodeClock {
    pub(super) stage: Arc<Stage>,
    pub(super) node: usize,
    /// What the world's time was called at its beginning.
    pub(super) offset: u64,
}

/// 2027-01-15.
const WALL_US: i64 = 1_800_000_000_000_000;

impl Clock for NodeClock {
    fn mono(&self) -> Mono {
        Mono(self.offset + self.stage.now())
    }

    fn wall_ms(&self) -> u64 {
        self.wall_us() / 1_000
    }

    fn wall_us(&self) -> u64 {
        let off = self.stage.weather.lock().wall_off[self.node];
        let now = i64::try_from(self.stage.now() / 1_000).unwrap_or(i64::MAX);
        u64::try_from(WALL_US + now + off).unwrap_or_default()
    }
}
