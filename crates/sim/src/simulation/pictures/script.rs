//! The scenes and their scripts.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::sleep;

use crate::simulation::film::{Mood, Shot, Who};
use crate::simulation::node::Node;
use crate::simulation::setup::Setup;
use crate::simulation::stage::Stage;
use crate::simulation::trace::Trace;
use crate::simulation::traffic::Cast;

/// The row in most scenes: its contract allows a second, and says `read-origin`.
const ROW: usize = 0;
/// A row whose value the log tells (write-through).
const TOLD: usize = 9;
/// So much of the log is one commit.
const BYTES: u64 = 10;

/// A scene.
pub(super) struct Scene {
    /// Its picture's name.
    pub(super) name: &'static str,
    /// What it shows.
    pub(super) title: &'static str,
    nodes: usize,
    script: Script,
}

#[derive(Clone, Copy)]
enum Script {
    ReaderAgainstWriter,
    EventBeforeVisibility,
    Paused,
    Promoted,
    WriteThrough,
    Silence,
}

/// All of them, in the order of the page.
pub(super) const SCENES: &[Scene] = &[
    Scene {
        name: "race-01-reader-against-writer",
        title: "A reader against a writer (race 1)",
        nodes: 1,
        script: Script::ReaderAgainstWriter,
    },
    Scene {
        name: "race-23-event-before-visibility",
        title: "The event comes before the commit is visible (race 23)",
        nodes: 1,
        script: Script::EventBeforeVisibility,
    },
    Scene {
        name: "race-21-shared-tier-fails-over",
        title: "The shared tier fails over to a replica that missed an event (race 21)",
        nodes: 2,
        script: Script::Promoted,
    },
    Scene {
        name: "write-through",
        title: "Write-through: the log tells the new value",
        nodes: 2,
        script: Script::WriteThrough,
    },
    Scene {
        name: "silence",
        title: "The log falls silent: the bound grows, then the contract acts (1 s, read-origin)",
        nodes: 1,
        script: Script::Silence,
    },
    Scene {
        name: "paused-node",
        title: "A node stands still for three seconds and wakes (1 s, read-origin)",
        nodes: 2,
        script: Script::Paused,
    },
];

impl Scene {
    /// What was filmed; times are since the film began.
    pub(super) fn play(&self) -> Vec<Shot> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime without I/O needs nothing that could be missing");
        runtime.block_on(self.film())
    }

    async fn film(&self) -> Vec<Shot> {
        let (setup, dice) = Setup::scripted(self.nodes);
        let stage = Stage::new(setup, dice, Trace::default());
        let nodes = (0..self.nodes).map(|id| Some(Node::boot(&stage, id))).collect();
        let set = Set(Arc::new(Cast { stage, nodes: Mutex::new(nodes) }));
        assert!(crate::simulation::proven(&set.0).await, "nothing is wrong, and nothing is proven");
        match self.script {
            Script::ReaderAgainstWriter => set.reader_against_writer().await,
            Script::EventBeforeVisibility => set.event_before_visibility().await,
            Script::Paused => set.paused().await,
            Script::Promoted => set.promoted().await,
            Script::WriteThrough => set.write_through().await,
            Script::Silence => set.silence().await,
        }
        let violation = set.0.stage.counts.lock().violation.clone();
        assert_eq!(violation, None, "{}", self.name);
        set.0.stage.film.cut()
    }
}

/// Where scenes are played.
struct Set(Arc<Cast>);

impl Set {
    fn stage(&self) -> &Arc<Stage> {
        &self.0.stage
    }

    /// A reader asks, and is answered while the scene goes on.
    fn asks(&self, node: usize, row: usize) {
        let cast = Arc::clone(&self.0);
        self.stage().spawn(async move {
            if let Some(node) = cast.node(node) {
                drop(node.get(row, None).await);
            }
        });
    }

    /// A reader asks and is answered.
    async fn reads(&self, node: usize, row: usize) {
        if let Some(node) = self.0.node(node) {
            drop(node.get(row, None).await);
        }
    }

    /// A commit to a row, which snapshots see so many milliseconds later.
    fn commits(&self, row: usize, hidden: u64) {
        let stage = Arc::clone(self.stage());
        self.stage().spawn(async move {
            let cells = vec![(row, true)];
            let Some(xid) = stage.db.lock().begin(&cells) else { return };
            let (number, lsn) = {
                let mut db = stage.db.lock();
                let number = db.commit(stage.now(), xid, cells, BYTES, false);
                (number, db.commits[number].lsn.0)
            };
            said(&stage, Who::Writer, Who::Database, format!("commit v{number}"));
            said(&stage, Who::Database, Who::Log, format!("at {lsn}"));
            stage.log_moved.notify_waiters();
            sleep(ms(hidden)).await;
            stage.db.lock().show(stage.now(), number);
            happened(&stage, Who::Database, format!("v{number} is visible"), Mood::Plain);
        });
    }

    async fn reader_against_writer(&self) {
        let stage = self.stage();
        stage.weather.lock().slow_loads_ms = 40;
        stage.film.roll();
        self.asks(0, ROW);
        sleep(ms(25)).await;
        self.commits(ROW, 1);
        sleep(ms(35)).await;
        stage.weather.lock().slow_loads_ms = 0;
        self.reads(0, ROW).await;
        sleep(ms(5)).await;
    }

    async fn event_before_visibility(&self) {
        let stage = self.stage();
        self.reads(0, ROW).await;
        sleep(ms(20)).await;
        stage.film.roll();
        self.commits(ROW, 60);
        sleep(ms(10)).await;
        self.reads(0, ROW).await;
        sleep(ms(80)).await;
        self.reads(0, ROW).await;
    }

    async fn promoted(&self) {
        let stage = self.stage();
        self.reads(0, ROW).await;
        self.reads(1, ROW).await;
        stage.server.lock().save();
        sleep(ms(300)).await;
        stage.film.roll();
        self.commits(ROW, 1);
        sleep(ms(15)).await;
        stage.server.lock().roll_back();
        let promoted = "a replica is promoted that lacks it".to_owned();
        happened(stage, Who::Shared, promoted, Mood::Bad);
        sleep(ms(5)).await;
        self.reads(0, ROW).await;
        sleep(ms(1_200)).await;
        self.reads(1, ROW).await;
    }

    async fn write_through(&self) {
        let stage = self.stage();
        self.reads(0, TOLD).await;
        self.reads(1, TOLD).await;
        sleep(ms(20)).await;
        stage.film.roll();
        self.reads(1, TOLD).await;
        self.commits(TOLD, 1);
        sleep(ms(15)).await;
        self.reads(0, TOLD).await;
        self.reads(1, TOLD).await;
    }

    async fn silence(&self) {
        let stage = self.stage();
        self.reads(0, ROW).await;
        sleep(ms(400)).await;
        stage.film.roll();
        stage.film.with_routine();
        stage.weather.lock().log_stalled = true;
        happened(stage, Who::Log, "nothing is sent".to_owned(), Mood::Bad);
        self.commits(ROW, 1);
        for _ in 0..4 {
            sleep(ms(330)).await;
            self.reads(0, ROW).await;
        }
        stage.weather.lock().log_stalled = false;
        happened(stage, Who::Log, "it goes on".to_owned(), Mood::Good);
        sleep(ms(600)).await;
        self.reads(0, ROW).await;
    }

    async fn paused(&self) {
        let stage = self.stage();
        self.reads(0, ROW).await;
        self.reads(1, ROW).await;
        sleep(ms(300)).await;
        stage.film.roll();
        let until = stage.now() + 3_000_000_000;
        stage.weather.lock().stopped_until[1] = until;
        happened(stage, Who::Node(1), "stands still".to_owned(), Mood::Bad);
        sleep(ms(10)).await;
        self.commits(ROW, 1);
        sleep(ms(20)).await;
        self.reads(0, ROW).await;
        sleep(Duration::from_nanos(until - stage.now())).await;
        stage.film.with_routine();
        happened(stage, Who::Node(1), "wakes".to_owned(), Mood::Good);
        self.reads(1, ROW).await;
        sleep(ms(100)).await;
        self.reads(1, ROW).await;
    }
}

fn said(stage: &Stage, from: Who, to: Who, text: String) {
    let at = stage.now();
    stage.film.shoot(|| Shot::Said { from, to, left: at, arrived: at, text, mood: Mood::Plain });
}

fn happened(stage: &Stage, who: Who, text: String, mood: Mood) {
    stage.film.shoot(|| Shot::Happened { who, at: stage.now(), text, mood });
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}
