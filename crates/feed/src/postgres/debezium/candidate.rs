//! Acquiring the lock, and deciding whether the tiers may continue from their position.

use std::sync::Arc;

use coherence::{History, Lsn, Relay};
use database::postgres::{ConnectConfig, Connection};
use database::quoting;

use super::beats;
use super::options::DebeziumOptions;
use super::row::Tables;
use super::session::{AcquiredStream, Session};
use crate::debezium::PostedCandidate;
use crate::error::FeedError;
use crate::event::StreamStart;
use crate::feed::Checkpoint;
use crate::leader_election::Candidate;
use crate::postgres::connection::connect;
use crate::postgres::log;
use crate::postgres::options::PostgresOptions;
use crate::postgres::prepare::{check_published, check_relayed};
use crate::postgres::schema::{
    self, DigestStatement, FollowedSchema, SCHEMA_ATTEMPTS, SchemaScope,
};
use crate::postgres::visibility::assign_xid;

/// A node's connections.
#[derive(Clone, Default)]
struct Connections {
    /// Holds the lock, and is used for every query. The server closes it after ten idle seconds.
    lock: Option<Arc<Connection>>,
    /// As long as it is alive, the server has not crashed.
    witness: Option<Arc<Connection>>,
}

/// A candidate for the lock, and with it for the right to take events.
#[derive(Clone)]
pub(super) struct DebeziumCandidate {
    options: Arc<DebeziumOptions>,
    config: ConnectConfig,
    checkpoint: Option<Arc<dyn Checkpoint>>,
    /// The last connections that were open while this node led or was on standby. They may still hold
    /// the lock.
    connections: Connections,
    /// The last stream ended with a gap, so the next one does not continue from the checkpoint.
    reset: bool,
    scope: Arc<SchemaScope>,
}

impl Candidate for DebeziumCandidate {
    type Session = Session;

    async fn acquire(&mut self) -> Result<Option<(StreamStart, Session)>, FeedError> {
        let (connections, connection, unbroken) = self.connect().await?;
        let log_options = self.options.log_options();
        let acquired = match try_lock(&connection, &self.options.slot).await? {
            true => Some(self.acquire_stream(&connection, &log_options, unbroken).await?),
            false => {
                check_relayed(&connection, &self.config, &log_options).await?;
                None
            }
        };
        self.connections = connections;
        let Some(acquired) = acquired else { return Ok(None) };
        self.reset = false;
        if acquired.start.slot_generation.is_some() {
            self.options.metrics.slots_created.inc();
        }
        Ok(Some((acquired.start.clone(), Session::new(self.options.clone(), acquired))))
    }

    async fn is_free(&self) -> Result<bool, FeedError> {
        match &self.connections.lock {
            // If so, this connection holds it from now on.
            Some(connection) => try_lock(connection, &self.options.slot).await,
            None => Ok(true),
        }
    }

    fn stream_lost(&mut self, session: &Session) {
        self.reset = session.has_gap();
    }
}

impl PostedCandidate for DebeziumCandidate {
    fn resume(&mut self, from: Arc<dyn Checkpoint>) {
        self.checkpoint = Some(from);
    }
}

impl DebeziumCandidate {
    pub(super) fn new(options: Arc<DebeziumOptions>, config: ConnectConfig) -> Self {
        let connections = Connections::default();
        let scope = options.log_options().scope();
        Self { options, config, checkpoint: None, connections, reset: false, scope }
    }

    /// Starts the stream and decides where; this node holds the lock.
    async fn acquire_stream(
        &self,
        connection: &Arc<Connection>,
        log_options: &PostgresOptions,
        unbroken: bool,
    ) -> Result<AcquiredStream, FeedError> {
        let (followed, statement, tables) = self.check_schema(connection, log_options).await?;
        // The order matters: the state of the slot that is read below is that of a slot which existed
        // when the beat was written. The beat does not come back through a slot that was created later.
        let nonce = rand::random();
        let end = log::emit_beat(connection, &beats::encode(nonce, 0)).await?;
        let after = assign_xid(connection).await?;
        let identity = log::identity(connection).await?;
        let applied = match &self.checkpoint {
            Some(checkpoint) if !self.reset => checkpoint.applied().await?,
            _ => None,
        };
        let applied = applied
            .filter(|at| (at.system, at.timeline) == (identity.system, identity.timeline))
            .map(|at| at.lsn);
        let continued = match (applied, self.confirmed(connection).await?) {
            (Some(applied), Some(confirmed)) => (confirmed <= applied).then_some(applied),
            _ => None,
        };
        let start = StreamStart {
            system: identity.system,
            timeline: identity.timeline,
            slot_generation: continued.is_none().then(rand::random),
            position: continued.unwrap_or(end),
            server_started: identity.server_started,
            history: History::default(),
            unbroken,
            schema: Some(followed.schema),
        };
        let relay = match continued {
            Some(applied) => Relay::resuming(nonce, applied),
            None => Relay::starting(nonce),
        };
        let connection = connection.clone();
        Ok(AcquiredStream { connection, start, relay, nonce, tables, after, statement })
    }

    /// Reads the schema, and checks the setup under it. Returns the schema under which the log is complete, and
    /// the types of its tables.
    async fn check_schema(
        &self,
        connection: &Connection,
        log_options: &PostgresOptions,
    ) -> Result<(FollowedSchema, DigestStatement, Tables), FeedError> {
        for _ in 0..SCHEMA_ATTEMPTS {
            let followed = self.scope.read().await?;
            check_relayed(connection, &self.config, log_options).await?;
            check_published(connection, log_options).await?;
            let tables = Tables::load(connection, &self.options).await?;
            if let Some(statement) = followed.confirm(connection).await? {
                return Ok((followed, statement, tables));
            }
        }
        Err(schema::keeps_changing())
    }

    /// Returns live connections, the one for the lock once more, and whether the server has run without
    /// a crash since they were opened.
    async fn connect(&self) -> Result<(Connections, Arc<Connection>, bool), FeedError> {
        let alive = async |connection: &Option<Arc<Connection>>| match connection {
            Some(connection) if connection.is_alive().await => Some(connection.clone()),
            _ => None,
        };
        let witness = alive(&self.connections.witness).await;
        let unbroken = witness.is_some();
        let witness = match witness {
            Some(witness) => witness,
            None => Arc::new(connect(&self.config).await?),
        };
        // A new witness may be connected to another server than an older lock connection.
        let lock = match alive(&self.connections.lock).await.filter(|_| unbroken) {
            Some(lock) => lock,
            None => {
                let lock = connect(&self.config).await?;
                // A node that is stopped or cut off loses its lock.
                lock.run("set idle_session_timeout = '10s'").await?;
                Arc::new(lock)
            }
        };
        let connections = Connections { lock: Some(lock.clone()), witness: Some(witness) };
        Ok((connections, lock, unbroken))
    }

    /// Returns the position that Debezium has confirmed to its slot: the server may have discarded
    /// everything before it. `None` if the slot does not exist.
    ///
    /// Debezium confirms only acknowledged events. A slot that was created after the tiers'
    /// position starts after that position. So if the confirmed position is not past the tiers', the
    /// rest has been delivered or will be.
    async fn confirmed(&self, connection: &Connection) -> Result<Option<Lsn>, FeedError> {
        let sql = "select confirmed_flush_lsn::text from pg_replication_slots \
                   where slot_name = $1 and database = current_database() \
                   and coalesce(wal_status, '') <> 'lost'";
        let slot = &self.options.slot;
        let rows = connection.rows("reading Debezium's replication slot", sql, &[slot]).await?;
        let Some(row) = rows.first() else {
            tracing::warn!(slot, "Debezium's replication slot does not exist");
            return Ok(None);
        };
        let text: Option<&str> = row.get(0);
        let parse = |text: &str| {
            text.parse().map_err(|err| FeedError::Malformed(format!("the slot's position: {err}")))
        };
        text.map(parse).transpose()
    }
}

/// Tries to acquire the lock, which the connection then holds. Returns false if another holds it.
async fn try_lock(connection: &Connection, slot: &str) -> Result<bool, FeedError> {
    let name = quoting::literal(&format!("tidegate {slot}"));
    let sql = format!("select pg_try_advisory_lock(hashtextextended({name}, 0))");
    Ok(connection.text("acquiring the lock", &sql).await? == "t")
}
