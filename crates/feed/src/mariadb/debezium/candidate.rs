//! Acquiring the lock, and deciding from where changes are to be delivered.

use std::sync::Arc;

use coherence::{BinlogRelay, Gtid, GtidSet, History, Lsn};
use database::mariadb::{ConnectConfig, Connection};

use super::options::DebeziumOptions;
use super::session::{AcquiredStream, Session};
use super::tables::Tables;
use crate::debezium::PostedCandidate;
use crate::error::FeedError;
use crate::event::{Identity, StreamStart};
use crate::feed::Checkpoint;
use crate::leader_election::Candidate;
use crate::mariadb::connection::connect_to_current;
use crate::mariadb::lock::try_lock;
use crate::mariadb::log;
use crate::mariadb::log_file::file_of;
use crate::mariadb::position::BinlogPosition;
use crate::mariadb::prepare::prepare_on;

/// A candidate for the lock, and with it for the right to take events.
#[derive(Clone)]
pub(super) struct DebeziumCandidate {
    options: Arc<DebeziumOptions>,
    config: ConnectConfig,
    checkpoint: Option<Arc<dyn Checkpoint>>,
    /// The last connection that was open while this node led or was on standby. It may still hold the
    /// lock.
    witness: Option<Arc<Connection>>,
    /// The server's identity then.
    last_identity: Option<Identity>,
    /// The last stream's state, and the log that it was of.
    interrupted: Option<(Identity, BinlogRelay)>,
    /// The last stream's positions were of another log, so the next one does not continue from the checkpoint.
    reset: bool,
}

impl Candidate for DebeziumCandidate {
    type Session = Session;

    async fn acquire(&mut self) -> Result<Option<(StreamStart, Session)>, FeedError> {
        let connection = match self.witness() {
            Some(witness) if log::end(witness).await.is_ok() => witness.clone(),
            _ => Arc::new(connect_to_current(&self.config, &self.options.log.server).await?),
        };
        prepare_on(&connection, &self.config, &self.options.log).await?;
        let (identity, end) = log::end(&connection).await?;
        let acquired = match try_lock(&connection, &self.config, &self.options.log).await? {
            true => Some(self.acquire_stream(&connection, &identity, end).await?),
            false => None,
        };
        self.witness = Some(connection);
        self.last_identity = Some(identity);
        let Some(acquired) = acquired else { return Ok(None) };
        self.reset = false;
        let start = acquired.start.clone();
        if start.slot_generation.is_some() {
            self.options.log.metrics.slots_created.inc();
        }
        Ok(Some((start, Session::new(self.options.clone(), self.config.url.database(), acquired))))
    }

    async fn is_free(&self) -> Result<bool, FeedError> {
        match self.witness() {
            // If so, this connection holds it from now on.
            Some(connection) => try_lock(connection, &self.config, &self.options.log).await,
            None => Ok(true),
        }
    }

    fn stream_lost(&mut self, session: &Session) {
        let (identity, relay) = session.state();
        self.reset = session.is_of_other_log();
        self.interrupted = (!self.reset).then(|| (identity.clone(), relay.clone()));
    }
}

impl PostedCandidate for DebeziumCandidate {
    fn resume(&mut self, from: Arc<dyn Checkpoint>) {
        self.checkpoint = Some(from);
    }
}

impl DebeziumCandidate {
    pub(super) fn new(options: Arc<DebeziumOptions>, config: ConnectConfig) -> Self {
        Self {
            options,
            config,
            checkpoint: None,
            witness: None,
            last_identity: None,
            interrupted: None,
            reset: false,
        }
    }

    /// Returns the witness, unless the address has come to lead to another server.
    fn witness(&self) -> Option<&Arc<Connection>> {
        let is_current =
            |witness: &&Arc<Connection>| self.options.log.server.is_current(witness.server());
        self.witness.as_ref().filter(is_current)
    }

    /// Starts the stream; this node holds the lock. `end`: the end of the log, which is visible.
    async fn acquire_stream(
        &self,
        connection: &Arc<Connection>,
        identity: &Identity,
        end: BinlogPosition,
    ) -> Result<AcquiredStream, FeedError> {
        let (log, database) = (&self.options.log, self.config.url.database());
        let tables = Tables::load(connection, log, database).await?;
        let beats = Arc::new(connect_to_current(&self.config, &log.server).await?);
        if beats.server() != connection.server() {
            let reason = "the address has come to lead to another server";
            return Err(FeedError::unavailable("acquiring the lock", reason));
        }
        let applied = self.applied(identity).await?;
        let position = applied.unwrap_or(end.lsn());
        let known = known_at(connection, position).await?;
        let nonce = rand::random();
        let relay = match &self.interrupted {
            Some((of, relay)) if applied.is_some() && of == identity => {
                relay.resumed(nonce, position, &known)
            }
            _ => BinlogRelay::starting(nonce, position, known),
        };
        let start = StreamStart {
            system: identity.system,
            timeline: identity.timeline,
            slot_generation: applied.is_none().then(rand::random),
            position,
            server_started: identity.server_started.clone(),
            history: History::default(),
            unbroken: self.last_identity.as_ref() == Some(identity),
            schema: None,
        };
        let (connection, identity) = (connection.clone(), identity.clone());
        Ok(AcquiredStream { connection, beats, start, relay, nonce, tables, identity })
    }

    /// Returns the position that the tiers have applied, if it is one of this log.
    async fn applied(&self, identity: &Identity) -> Result<Option<Lsn>, FeedError> {
        let applied = match &self.checkpoint {
            Some(checkpoint) if !self.reset => checkpoint.applied().await?,
            _ => None,
        };
        let of_log = (identity.system, identity.timeline);
        Ok(applied.filter(|at| (at.system, at.timeline) == of_log).map(|at| at.lsn))
    }
}

/// Returns the transactions of the log up to a position; none if the server does not tell.
async fn known_at(connection: &Connection, at: Lsn) -> Result<GtidSet, FeedError> {
    let position = BinlogPosition::of(at);
    let Some(file) = file_of(connection, position).await? else { return Ok(GtidSet::default()) };
    let mut text = log::transactions_until(connection, &file.name, position).await?;
    if text.as_ref().is_none_or(String::is_empty) {
        // A position of a row is one byte behind the beginning of its event.
        let begin = BinlogPosition::of(Lsn(at.0.saturating_sub(1)));
        text = log::transactions_until(connection, &file.name, begin).await?;
    }
    let ids = text.iter().flat_map(|text| text.split(',')).filter(|id| !id.is_empty());
    let ids: Result<Vec<Gtid>, _> = ids.map(str::parse).collect();
    Ok(GtidSet::up_to(&ids.unwrap_or_default()))
}
