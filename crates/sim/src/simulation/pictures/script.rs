//! The scenes and their scripts.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::sleep;

use crate::model::composition::Omitted;
use crate::simulation::cluster::Cluster;
use crate::simulation::environment::Environment;
use crate::simulation::node::Node;
use crate::simulation::recorder::{Interaction, Participant, Tone};
use crate::simulation::setup::Setup;
use crate::simulation::trace::Trace;

/// The row in most scenes: its contract allows one second, with `read-origin`.
const ROW: usize = 0;
/// A row whose value the log contains (write-through).
const WRITE_THROUGH: usize = 9;
/// The size of a commit in the log.
const BYTES: u64 = 10;

/// A scene.
pub(super) struct Scene {
    /// The name of its picture.
    pub(super) name: &'static str,
    /// The title of its picture.
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

/// All scenes, in the sequence of the page.
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
    /// Runs the scene and returns the recording; times are since its start.
    pub(super) fn run(&self) -> Vec<Interaction> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime without I/O can't fail to build");
        runtime.block_on(self.record())
    }

    async fn record(&self) -> Vec<Interaction> {
        let (setup, rng) = Setup::scripted(self.nodes);
        let env = Environment::new(setup, rng, Trace::default(), Omitted::None);
        let nodes = (0..self.nodes).map(|id| Some(Node::boot(&env, id))).collect();
        let scene = SceneRun(Arc::new(Cluster { env, nodes: Mutex::new(nodes) }));
        assert!(scene.0.until_proven().await, "no fault was injected, and nothing is proven");
        match self.script {
            Script::ReaderAgainstWriter => scene.reader_against_writer().await,
            Script::EventBeforeVisibility => scene.event_before_visibility().await,
            Script::Paused => scene.paused().await,
            Script::Promoted => scene.promoted().await,
            Script::WriteThrough => scene.write_through().await,
            Script::Silence => scene.silence().await,
        }
        let violation = scene.0.env.counts.lock().violation.clone();
        assert_eq!(violation, None, "{}", self.name);
        scene.0.env.recorder.finish()
    }
}

/// The cluster of a scene.
struct SceneRun(Arc<Cluster>);

impl SceneRun {
    fn env(&self) -> &Arc<Environment> {
        &self.0.env
    }

    /// Starts a read, which is answered while the scene goes on.
    fn start_read(&self, node: usize, row: usize) {
        let cluster = Arc::clone(&self.0);
        self.env().spawn(async move {
            if let Some(node) = cluster.node(node) {
                drop(node.get(row, None).await);
            }
        });
    }

    /// Reads and waits for the answer.
    async fn read(&self, node: usize, row: usize) {
        if let Some(node) = self.0.node(node) {
            drop(node.get(row, None).await);
        }
    }

    /// Commits to a row; the commit becomes visible `hidden` milliseconds later.
    fn commit(&self, row: usize, hidden: u64) {
        let env = Arc::clone(self.env());
        self.env().spawn(async move {
            let cells = vec![(row, true)];
            let Some(xid) = env.db.lock().begin(&cells) else { return };
            let (number, lsn) = {
                let mut db = env.db.lock();
                let number = db.commit(env.now(), xid, cells, BYTES, false);
                (number, db.commits[number].lsn.0)
            };
            message(&env, Participant::Writer, Participant::Database, format!("commit v{number}"));
            message(&env, Participant::Database, Participant::Log, format!("at {lsn}"));
            env.log_moved.notify_waiters();
            sleep(ms(hidden)).await;
            env.db.lock().show(env.now(), number);
            note(&env, Participant::Database, format!("v{number} is visible"), Tone::Plain);
        });
    }

    async fn reader_against_writer(&self) {
        let env = self.env();
        env.faults.lock().slow_loads_ms = 40;
        env.recorder.start();
        self.start_read(0, ROW);
        sleep(ms(25)).await;
        self.commit(ROW, 1);
        sleep(ms(35)).await;
        env.faults.lock().slow_loads_ms = 0;
        self.read(0, ROW).await;
        sleep(ms(5)).await;
    }

    async fn event_before_visibility(&self) {
        let env = self.env();
        self.read(0, ROW).await;
        sleep(ms(20)).await;
        env.recorder.start();
        self.commit(ROW, 60);
        sleep(ms(10)).await;
        self.read(0, ROW).await;
        sleep(ms(80)).await;
        self.read(0, ROW).await;
    }

    async fn promoted(&self) {
        let env = self.env();
        self.read(0, ROW).await;
        self.read(1, ROW).await;
        env.server.lock().save();
        sleep(ms(300)).await;
        env.recorder.start();
        self.commit(ROW, 1);
        sleep(ms(15)).await;
        env.server.lock().roll_back();
        let promoted = "a replica is promoted that lacks it".to_owned();
        note(env, Participant::Shared, promoted, Tone::Bad);
        sleep(ms(5)).await;
        self.read(0, ROW).await;
        sleep(ms(1_200)).await;
        self.read(1, ROW).await;
    }

    async fn write_through(&self) {
        let env = self.env();
        self.read(0, WRITE_THROUGH).await;
        self.read(1, WRITE_THROUGH).await;
        sleep(ms(20)).await;
        env.recorder.start();
        self.read(1, WRITE_THROUGH).await;
        self.commit(WRITE_THROUGH, 1);
        sleep(ms(15)).await;
        self.read(0, WRITE_THROUGH).await;
        self.read(1, WRITE_THROUGH).await;
    }

    async fn silence(&self) {
        let env = self.env();
        self.read(0, ROW).await;
        sleep(ms(400)).await;
        env.recorder.start();
        env.recorder.include_routine();
        env.faults.lock().log_stalled = true;
        note(env, Participant::Log, "nothing is sent".to_owned(), Tone::Bad);
        self.commit(ROW, 1);
        for _ in 0..4 {
            sleep(ms(330)).await;
            self.read(0, ROW).await;
        }
        env.faults.lock().log_stalled = false;
        note(env, Participant::Log, "it goes on".to_owned(), Tone::Good);
        sleep(ms(600)).await;
        self.read(0, ROW).await;
    }

    async fn paused(&self) {
        let env = self.env();
        self.read(0, ROW).await;
        self.read(1, ROW).await;
        sleep(ms(300)).await;
        env.recorder.start();
        let until = env.now() + 3_000_000_000;
        env.faults.lock().stopped_until[1] = until;
        note(env, Participant::Node(1), "stands still".to_owned(), Tone::Bad);
        sleep(ms(10)).await;
        self.commit(ROW, 1);
        sleep(ms(20)).await;
        self.read(0, ROW).await;
        sleep(Duration::from_nanos(until - env.now())).await;
        env.recorder.include_routine();
        note(env, Participant::Node(1), "wakes".to_owned(), Tone::Good);
        self.read(1, ROW).await;
        sleep(ms(100)).await;
        self.read(1, ROW).await;
    }
}

fn message(env: &Environment, from: Participant, to: Participant, text: String) {
    let at = env.now();
    env.recorder.record(|| Interaction::Message {
        from,
        to,
        left: at,
        arrived: at,
        text,
        tone: Tone::Plain,
    });
}

fn note(env: &Environment, who: Participant, text: String, tone: Tone) {
    env.recorder.record(|| Interaction::Note { who, at: env.now(), text, tone });
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}
