//! The audit log of a running node.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use coherence::Clock;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::append::Appender;
use super::error::AuditLogError;
use super::record::{Action, Anchor};
use crate::caller::Caller;
use crate::metrics::Metrics;
use crate::options::AuditLogOptions;

/// The time limit of a record. A disk that hangs refuses actions instead of holding them.
const RECORD_TIMEOUT: Duration = Duration::from_secs(5);

/// The most records that wait.
const QUEUE: usize = 1_024;

/// The most records that are made durable at once.
const BATCH: usize = 256;

/// The audit log of a node. Records that arrive together are made durable together. Clones share all state.
#[derive(Clone, Debug)]
pub struct AuditLog {
    queue: SyncSender<Job>,
    path: PathBuf,
    head: Arc<Mutex<Anchor>>,
}

#[derive(Debug)]
struct Job {
    action: Action,
    written: oneshot::Sender<Result<Anchor, Arc<AuditLogError>>>,
}

impl AuditLog {
    /// Opens the log, names a record that a crash has cut, and records the start of the node.
    ///
    /// # Errors
    /// [`AuditLogError`]: a node does not start without its log.
    pub fn open(
        options: &AuditLogOptions,
        clock: Arc<dyn Clock>,
        metrics: Metrics,
    ) -> Result<Self, AuditLogError> {
        let mut appender = Appender::new(&options.file, options.rotate_bytes);
        let detail = json!({ "process": std::process::id() });
        let start = [Action::of_node("node.start", detail)];
        let anchor = appender.append(&start, clock.wall_us())?;
        announce(anchor, &start[0]);
        let head = Arc::new(Mutex::new(anchor));
        let (queue, jobs) = sync_channel(QUEUE);
        let writer = Writer { appender, clock, metrics, head: Arc::clone(&head) };
        let path = options.file.clone();
        std::thread::Builder::new()
            .name("audit-log".to_owned())
            .spawn(move || writer.run(&jobs))
            .map_err(|source| AuditLogError::Io { path: path.clone(), source })?;
        Ok(Self { queue, path, head })
    }

    /// Records an action of `caller`. The action may begin when this has returned.
    ///
    /// # Errors
    /// [`AuditLogError`]: the action must not happen.
    pub async fn record(
        &self,
        caller: &Caller,
        name: &'static str,
        detail: Value,
    ) -> Result<Anchor, Arc<AuditLogError>> {
        let (by, from) = (caller.name().to_owned(), Some(caller.from()));
        self.append(Action { by, from, name, detail }).await
    }

    /// Records an action that is not a caller's, such as that of a signal to the process.
    ///
    /// # Errors
    /// As [`record`](Self::record).
    pub async fn record_of_node(
        &self,
        name: &'static str,
        detail: Value,
    ) -> Result<Anchor, Arc<AuditLogError>> {
        self.append(Action::of_node(name, detail)).await
    }

    async fn append(&self, action: Action) -> Result<Anchor, Arc<AuditLogError>> {
        let (written, result) = oneshot::channel();
        let job = Job { action, written };
        if self.queue.try_send(job).is_err() {
            return Err(Arc::new(AuditLogError::Slow(self.path.clone())));
        }
        match tokio::time::timeout(RECORD_TIMEOUT, result).await {
            Ok(Ok(written)) => written,
            Ok(Err(_)) => Err(Arc::new(AuditLogError::Ended(self.path.clone()))),
            Err(_) => Err(Arc::new(AuditLogError::Slow(self.path.clone()))),
        }
    }

    /// Returns the anchor of the last record that this node has written.
    #[must_use]
    pub fn head(&self) -> Anchor {
        *self.head.lock()
    }
}

/// Records an action of a command, beside a node that may write to the same log.
///
/// # Errors
/// [`AuditLogError`]: the action must not happen.
pub fn append_once(
    options: &AuditLogOptions,
    action: Action,
    time_us: u64,
) -> Result<Anchor, AuditLogError> {
    Appender::new(&options.file, options.rotate_bytes).append(&[action], time_us)
}

/// The thread that writes. Writing blocks, so it is no task.
struct Writer {
    appender: Appender,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    head: Arc<Mutex<Anchor>>,
}

impl Writer {
    /// Writes until all senders are gone.
    fn run(mut self, jobs: &Receiver<Job>) {
        while let Ok(first) = jobs.recv() {
            // A caller that has given up was told that its action is refused, and gets no record of it.
            let batch: Vec<Job> = std::iter::once(first)
                .chain(jobs.try_iter().take(BATCH - 1))
                .filter(|job| !job.written.is_closed())
                .collect();
            if !batch.is_empty() {
                self.write(batch);
            }
        }
    }

    fn write(&mut self, batch: Vec<Job>) {
        let (actions, answers): (Vec<_>, Vec<_>) =
            batch.into_iter().map(|job| (job.action, job.written)).unzip();
        let appended = self.appender.append(&actions, self.clock.wall_us()).map_err(Arc::new);
        match &appended {
            Ok(anchor) => {
                *self.head.lock() = *anchor;
                self.metrics.audit_records.inc_by(actions.len() as u64);
                actions.last().iter().for_each(|last| announce(*anchor, last));
            }
            Err(err) => {
                self.metrics.audit_failures.inc_by(actions.len() as u64);
                tracing::error!(error = %err, "actions are refused: they can't be recorded");
            }
        }
        for answer in answers {
            // The caller may have gone.
            let _ = answer.send(appended.clone());
        }
    }
}

/// Writes the anchor to the node's log, which is kept elsewhere: it proves later that no record up to it has
/// been removed.
fn announce(anchor: Anchor, action: &Action) {
    tracing::info!(%anchor, action = action.name, by = action.by, "recorded in the audit log");
}
