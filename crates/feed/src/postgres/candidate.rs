//! Acquiring the replication slot.

use std::sync::Arc;

use database::postgres::{ConnectConfig, Connection};

use super::connection::connect;
use super::log;
use super::options::PostgresOptions;
use super::prepare::prepare_on;
use super::primary::PostgresPrimary;
use super::schema::{self, DigestStatement, FollowedSchema, SCHEMA_ATTEMPTS, SchemaScope};
use super::session::{AcquiredStream, Session};
use super::slot::{self, SlotState};
use super::stream::{self, PostgresStream, Started};
use super::visibility::assign_xid;
use crate::error::FeedError;
use crate::event::StreamStart;
use crate::leader_election::Candidate;

/// A candidate for the slot.
#[derive(Clone)]
pub struct PostgresCandidate {
    options: Arc<PostgresOptions>,
    config: ConnectConfig,
    /// The last connection that was open while this node led or was on standby. As long as it is alive,
    /// the server has not crashed.
    witness: Option<Arc<Connection>>,
    /// The generation of a slot that an earlier attempt created before it failed.
    created: Option<u64>,
    /// The slot exists but is unusable.
    recreate: bool,
    scope: Arc<SchemaScope>,
}

impl Candidate for PostgresCandidate {
    type Session = Session<PostgresStream, PostgresPrimary>;

    async fn acquire(&mut self) -> Result<Option<(StreamStart, Self::Session)>, FeedError> {
        let witness = match &self.witness {
            Some(witness) if witness.is_alive().await => Some(witness.clone()),
            _ => None,
        };
        let unbroken = witness.is_some();
        let connection = match witness {
            Some(witness) => witness,
            None => Arc::new(connect(&self.config).await?),
        };
        let Some(acquired) = self.acquire_stream(&connection, unbroken).await? else {
            self.witness = Some(connection);
            return Ok(None);
        };
        self.witness = Some(connection);
        self.created = None;
        let start = acquired.start.clone();
        let PostgresOptions { metrics, clock, .. } = &*self.options;
        Ok(Some((start, Session::new(acquired, metrics.clone(), Arc::clone(clock)))))
    }

    async fn is_free(&self) -> Result<bool, FeedError> {
        let Some(connection) = &self.witness else { return Ok(true) };
        let state = slot::state(connection, &self.config, &self.options.slot).await?;
        Ok(state != SlotState::Held)
    }

    fn stream_lost(&mut self, session: &Self::Session) {
        self.recreate = session.stream().slot_is_unusable();
    }
}

impl PostgresCandidate {
    pub(super) fn new(options: Arc<PostgresOptions>, config: ConnectConfig) -> Self {
        let scope = options.scope();
        Self { options, config, witness: None, created: None, recreate: false, scope }
    }

    /// `unbroken`: the connection was already open during the last stream or standby. Returns `None`
    /// if another node holds the slot.
    async fn acquire_stream(
        &mut self,
        connection: &Arc<Connection>,
        unbroken: bool,
    ) -> Result<Option<AcquiredStream<PostgresStream, PostgresPrimary>>, FeedError> {
        let name = self.options.slot.clone();
        // Before the stream starts, so that every later alteration is detected.
        let (followed, statement) = self.check_schema(connection).await?;
        match slot::state(connection, &self.config, &name).await? {
            SlotState::Held => return Ok(None),
            SlotState::Free if !self.recreate => {}
            state => {
                if state != SlotState::Missing {
                    tracing::warn!(slot = name, "the replication slot is unusable");
                    slot::drop_slot(connection, &name).await?;
                }
                if !self.create_slot(connection, &name).await? {
                    return Ok(None);
                }
            }
        }
        let started = stream::start(connection.address(), &self.config, &self.options).await?;
        let Some(Started { messages, timeline, history }) = started else { return Ok(None) };
        let after = assign_xid(connection).await?;
        let identity = log::identity(connection).await?;
        if identity.timeline != timeline {
            let problem = "the address leads to servers with different timelines";
            return Err(FeedError::unavailable("following the log", problem));
        }
        let start = StreamStart {
            system: identity.system,
            timeline,
            slot_generation: self.created,
            position: slot::position(connection, &name).await?,
            server_started: identity.server_started,
            history,
            // The connection has answered since the stream started, so the server is the same.
            unbroken,
            schema: Some(followed.schema),
        };
        let stream = PostgresStream::new(messages, &self.options);
        let primary = PostgresPrimary { connection: connection.clone(), schema: statement };
        Ok(Some(AcquiredStream { stream, primary: Arc::new(primary), start, after }))
    }

    /// Reads the schema, and checks and repairs the setup under it. Returns the schema under which the log is
    /// complete.
    async fn check_schema(
        &self,
        connection: &Connection,
    ) -> Result<(FollowedSchema, DigestStatement), FeedError> {
        for _ in 0..SCHEMA_ATTEMPTS {
            let followed = self.scope.read().await?;
            prepare_on(connection, &self.config, &self.options).await?;
            if let Some(statement) = followed.confirm(connection).await? {
                return Ok((followed, statement));
            }
        }
        Err(schema::keeps_changing())
    }

    /// Returns false if another node has created the slot first.
    async fn create_slot(
        &mut self,
        connection: &Connection,
        name: &str,
    ) -> Result<bool, FeedError> {
        if let Err(err) = slot::create(&self.config, name).await {
            let now = slot::state(connection, &self.config, name).await?;
            return if now == SlotState::Missing { Err(err) } else { Ok(false) };
        }
        self.recreate = false;
        self.created = Some(rand::random());
        self.options.metrics.slots_created.inc();
        Ok(true)
    }
}
