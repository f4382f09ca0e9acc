//! A node's requests to the virtual database that do not concern changes.

use std::sync::Arc;

use async_trait::async_trait;
use cache::OriginError;
use coherence::{Log, Lsn};
use contract::Contract;
use feed::{FeedError, Identity, LogEnd, LogMessage, LogSample, Schema, Source};
use node::RowCatalogue;
use parking_lot::Mutex;
use tokio::time::sleep;

use super::environment::{Environment, Peer};
use super::recorder::{Participant, Tone};
use super::rows_origin;
use super::schema::schema;
use super::slot_stream::unavailable;
use super::trace::TraceEvent;
use crate::model::composition::CompositionRule;

/// The size of a log message, in bytes of log.
const MESSAGE_BYTES: u64 = 160;

/// A node's client of the primary.
pub(super) struct LogSource {
    pub(super) env: Arc<Environment>,
    pub(super) node: usize,
    /// The generation of the node's process.
    pub(super) process: u64,
    last_sample: Mutex<Option<LogSample>>,
}

impl LogSource {
    pub(super) fn new(env: &Arc<Environment>, node: usize, process: u64) -> Self {
        Self { env: Arc::clone(env), node, process, last_sample: Mutex::default() }
    }

    async fn transmit(&self) -> Result<(), FeedError> {
        let sent = self.env.transmit(self.node, self.process, Peer::Database).await;
        sent.map_err(|_| unavailable("querying the primary", "cut off"))
    }

    /// Waits for the answer to a statement, which may be an error.
    async fn answer(&self) -> Result<(), FeedError> {
        self.transmit().await?;
        if self.env.fails() {
            return Err(unavailable("querying the primary", "the statement failed"));
        }
        Ok(())
    }

    fn down() -> FeedError {
        unavailable("querying the primary", "down")
    }
}

#[async_trait]
impl Source for LogSource {
    async fn log_end(&self) -> Result<LogEnd, FeedError> {
        // The timers of a stopped process run on, but it sends nothing.
        self.env.until_running(self.node, self.process).await;
        let left = self.env.now();
        self.transmit().await?;
        let turned = self.env.now();
        let end = {
            let db = self.env.db.lock();
            if !db.up {
                return Err(Self::down());
            }
            let Log { system, timeline, server } = db.log.run();
            LogEnd { system, timeline, server, lsn: db.end }
        };
        self.answer().await?;
        self.env.recorder.record_exchange(
            [Participant::Node(self.node), Participant::Database],
            [left, turned, self.env.now()],
            || "end of the log?".into(),
            || (end.lsn.0.to_string(), Tone::Faint),
        );
        self.env.note(Some(self.node), TraceEvent::Sampled(end.lsn.0));
        Ok(end)
    }

    /// A scripted run, which pictures show, alters nothing.
    async fn sample(&self) -> Result<LogSample, FeedError> {
        // The server reads the schema first.
        let digest = schema(&self.env.db.lock()).digest();
        let answer = self.log_end().await;
        if answer.is_err()
            && !self.env.enforces(CompositionRule::FailedSampleProvesNothing)
            && let Some(last) = *self.last_sample.lock()
        {
            return Ok(last);
        }
        let sample = LogSample { end: answer?, schema: (!self.env.setup.steady).then_some(digest) };
        *self.last_sample.lock() = Some(sample);
        Ok(sample)
    }

    async fn schema(&self) -> Result<Option<Arc<Schema>>, FeedError> {
        self.transmit().await?;
        let schema = schema(&self.env.db.lock());
        self.answer().await?;
        Ok(Some(Arc::new(schema)))
    }

    async fn emit(&self, message: &LogMessage) -> Result<Lsn, FeedError> {
        self.transmit().await?;
        let (number, generation, position) = {
            let mut db = self.env.db.lock();
            let Some(xid) = db.begin(&[]) else { return Err(Self::down()) };
            let number = db.commit(self.env.now(), xid, Vec::new(), MESSAGE_BYTES, false);
            db.commits[number].message = Some(message.clone());
            (number, db.generation, db.flushed)
        };
        self.env.note(Some(self.node), TraceEvent::Commit(number, position.0));
        self.env.log_moved.notify_waiters();
        let env = Arc::clone(&self.env);
        // The transaction ends, even if the client no longer waits.
        let ends = tokio::spawn(async move {
            let hidden = env.faults.lock().hidden_ms;
            sleep(env.millis(0, hidden.max(3))).await;
            let mut db = env.db.lock();
            if db.generation != generation {
                return false;
            }
            db.show(env.now(), number);
            true
        });
        if !ends.await.unwrap_or_default() {
            return Err(Self::down());
        }
        self.answer().await?;
        Ok(position)
    }

    async fn nudge(&self) -> Result<(), FeedError> {
        self.transmit().await?;
        self.env.write_empty_commit();
        self.answer().await
    }

    async fn identity(&self) -> Result<Identity, FeedError> {
        self.transmit().await?;
        let identity = {
            let db = self.env.db.lock();
            let Log { system, timeline, .. } = db.log;
            Identity { system, timeline, server_started: db.server_started() }
        };
        self.answer().await?;
        Ok(identity)
    }
}

#[async_trait]
impl RowCatalogue for LogSource {
    async fn rows_complete_after(&self, _: &Contract) -> Result<Option<Lsn>, OriginError> {
        let cut = |_| rows_origin::unavailable("cut off");
        self.transmit().await.map_err(cut)?;
        self.answer().await.map_err(cut)?;
        Ok(Some(Lsn::ZERO))
    }
}
