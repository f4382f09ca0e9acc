//! A node's attempts to acquire the slot of the virtual database.

use std::sync::Arc;

use coherence::{Clock, Log};
use feed::postgres::{AcquiredStream, Session};
use feed::{Candidate, FeedError, Metrics, StreamStart};
use rand::RngExt;

use super::environment::Environment;
use super::schema::schema;
use super::slot_stream::{Connection, SlotStream};
use super::trace::TraceEvent;

/// A candidate for the slot.
#[derive(Clone)]
pub(super) struct SlotCandidate {
    env: Arc<Environment>,
    node: usize,
    /// The generation of the node's process.
    process: u64,
    clock: Arc<dyn Clock>,
    /// The last connection that was open while this node led or was on standby. As long as it is open,
    /// the server has not crashed.
    witness: Option<Connection>,
    /// The generation of a slot that an earlier attempt created before it failed.
    created: Option<u64>,
}

impl SlotCandidate {
    pub(super) fn new(
        env: &Arc<Environment>,
        node: usize,
        process: u64,
        clock: &Arc<dyn Clock>,
    ) -> Self {
        let (env, clock) = (Arc::clone(env), Arc::clone(clock));
        Self { env, node, process, clock, witness: None, created: None }
    }

    /// Acquires the slot on an open connection, and creates it if it is missing.
    async fn acquire_stream(
        &mut self,
        connection: &Connection,
        unbroken: bool,
    ) -> Result<Option<AcquiredStream<SlotStream, Connection>>, FeedError> {
        connection.transmit().await?;
        let follows_schema = !self.env.setup.steady;
        let (stream, start, after) = {
            let mut db = self.env.db.lock();
            let schema = follows_schema.then(|| Arc::new(schema(&db)));
            let Some((session, position, new)) = db.take_slot() else { return Ok(None) };
            self.env.sessions.lock()[self.node] = Some(session);
            if new {
                self.created = Some(session);
            }
            let Log { system, timeline, .. } = db.log;
            let start = StreamStart {
                system,
                timeline,
                slot_generation: self.created,
                position,
                server_started: db.server_started(),
                history: coherence::History::default(),
                unbroken,
                schema,
            };
            (SlotStream::new(connection.clone(), session, position), start, db.draw_xid())
        };
        connection.transmit().await?;
        let what = TraceEvent::Lead {
            position: start.position.0,
            new_slot: start.slot_generation.is_some(),
            unbroken,
        };
        self.env.note(Some(self.node), what);
        let primary = Arc::new(connection.clone());
        Ok(Some(AcquiredStream { stream, primary, start, after }))
    }
}

impl Candidate for SlotCandidate {
    type Session = Session<SlotStream, Connection>;

    async fn acquire(&mut self) -> Result<Option<(StreamStart, Self::Session)>, FeedError> {
        let witness = self.witness.clone().filter(Connection::is_open);
        let unbroken = witness.is_some();
        let connection = match witness {
            Some(witness) => witness,
            None => Connection::open(&self.env, self.node, self.process).await?,
        };
        let acquired = self.acquire_stream(&connection, unbroken).await?;
        self.witness = Some(connection);
        let Some(acquired) = acquired else { return Ok(None) };
        self.created = None;
        let start = acquired.start.clone();
        let session = Session::new(acquired, Metrics::default(), Arc::clone(&self.clock));
        Ok(Some((start, session)))
    }

    async fn is_free(&self) -> Result<bool, FeedError> {
        let Some(connection) = &self.witness else { return Ok(true) };
        connection.transmit().await?;
        let is_free = self.env.db.lock().slot_is_free();
        connection.transmit().await?;
        Ok(is_free)
    }

    fn stream_lost(&mut self, _: &Self::Session) {}

    fn jitter(&self) -> f64 {
        if self.env.setup.steady { 0.5 } else { self.env.draw(|rng| rng.random()) }
    }
}
