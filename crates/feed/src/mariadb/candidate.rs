//! Acquiring the lock, and finding the position to continue from.

use std::sync::Arc;

use coherence::History;
use database::mariadb::{ConnectConfig, Connection};

use super::connection::{connect_to_current, open_for_log};
use super::lock::try_lock;
use super::log;
use super::log_file::file_of;
use super::options::MariaDbOptions;
use super::position::BinlogPosition;
use super::prepare::{access_denied, prepare_on};
use super::session::{AcquiredStream, Session};
use super::stream::{self, OpenError};
use crate::error::FeedError;
use crate::event::{Identity, LogEnd, StreamStart};
use crate::feed::Checkpoint;
use crate::leader_election::Candidate;

/// A candidate for the lock.
#[derive(Clone)]
pub(super) struct MariaDbCandidate {
    options: Arc<MariaDbOptions>,
    config: ConnectConfig,
    pub(super) checkpoint: Option<Arc<dyn Checkpoint>>,
    /// The last connection that was open while this node led or was on standby. It may still hold the
    /// lock.
    witness: Option<Arc<Connection>>,
    /// The server's identity then.
    last_identity: Option<Identity>,
    /// The checkpoint is unusable, so the next stream starts at the log's end.
    reset: bool,
}

/// The start of a stream.
struct StartPoint {
    position: BinlogPosition,
    file: String,
    /// Whether the stream does not continue from the checkpoint.
    reset: bool,
}

impl Candidate for MariaDbCandidate {
    type Session = Session;

    async fn acquire(&mut self) -> Result<Option<(StreamStart, Session)>, FeedError> {
        let connection = match self.witness() {
            Some(witness) if log::end(witness).await.is_ok() => witness.clone(),
            _ => Arc::new(connect_to_current(&self.config, &self.options.server).await?),
        };
        prepare_on(&connection, &self.config, &self.options).await?;
        let (identity, _) = log::end(&connection).await?;
        let acquired = match try_lock(&connection, &self.config, &self.options).await? {
            true => Some(self.acquire_stream(&connection, &identity).await?),
            false => None,
        };
        self.witness = Some(connection);
        self.last_identity = Some(identity);
        let Some(acquired) = acquired else { return Ok(None) };
        self.reset = false;
        let start = acquired.start.clone();
        Ok(Some((start, Session::new(self.options.clone(), self.config.url.database(), acquired))))
    }

    async fn is_free(&self) -> Result<bool, FeedError> {
        match self.witness() {
            // If so, this connection holds it from now on.
            Some(connection) => try_lock(connection, &self.config, &self.options).await,
            None => Ok(true),
        }
    }

    fn stream_lost(&mut self, session: &Session) {
        self.reset = session.position_is_unusable();
    }
}

impl MariaDbCandidate {
    pub(super) fn new(options: Arc<MariaDbOptions>, config: ConnectConfig) -> Self {
        let (checkpoint, witness, last_identity) = (None, None, None);
        Self { options, config, checkpoint, witness, last_identity, reset: false }
    }

    /// Returns the witness, unless the address has come to lead to another server.
    fn witness(&self) -> Option<&Arc<Connection>> {
        let is_current =
            |witness: &&Arc<Connection>| self.options.server.is_current(witness.server());
        self.witness.as_ref().filter(is_current)
    }

    /// Starts the stream; this node holds the lock.
    async fn acquire_stream(
        &self,
        connection: &Arc<Connection>,
        identity: &Identity,
    ) -> Result<AcquiredStream, FeedError> {
        let mut from = self.start_point(connection, identity).await?;
        let stream = loop {
            let conn = open_for_log(&self.config, connection.server()).await?;
            match stream::open(conn, &from.file, from.position).await {
                Ok(stream) => break stream,
                Err(OpenError::PositionLost(reason)) if !from.reset => {
                    tracing::warn!(source = %self.options.source, why = reason, "the log no longer contains the checkpoint");
                    from = visible_end(connection).await?;
                }
                Err(OpenError::PositionLost(reason)) => {
                    return Err(FeedError::unavailable("following the log", reason));
                }
                Err(OpenError::AccessDenied) => {
                    return Err(access_denied(connection, &self.config).await?.into());
                }
                Err(OpenError::Failed(err)) => return Err(err.into()),
            }
        };
        if from.reset {
            self.options.metrics.slots_created.inc();
        }
        let start = StreamStart {
            system: identity.system,
            timeline: identity.timeline,
            slot_generation: from.reset.then(rand::random),
            position: from.position.lsn(),
            // A server that crashed has another start time.
            unbroken: self.last_identity.as_ref() == Some(identity),
            schema: None,
            server_started: identity.server_started.clone(),
            history: History::default(),
        };
        let (connection, identity) = (connection.clone(), identity.clone());
        Ok(AcquiredStream { connection, stream, start, position: from.position, identity })
    }

    /// Returns the consumer's checkpoint if it is a position in this log, else the log's end.
    async fn start_point(
        &self,
        connection: &Connection,
        identity: &Identity,
    ) -> Result<StartPoint, FeedError> {
        let applied = match &self.checkpoint {
            Some(checkpoint) if !self.reset => checkpoint.applied().await?,
            _ => None,
        };
        let in_this_log =
            |end: &LogEnd| (end.system, end.timeline) == (identity.system, identity.timeline);
        let Some(applied) = applied.filter(in_this_log) else {
            return visible_end(connection).await;
        };
        // Commits that are not visible yet are delivered again, so that W does not pass over them.
        let visible = log::visible(connection).await?;
        let position = BinlogPosition::of(applied.lsn.min(visible));
        match file_of(connection, position).await? {
            Some(file) if position.offset() <= file.bytes => {
                Ok(StartPoint { position, file: file.name, reset: false })
            }
            _ => visible_end(connection).await,
        }
    }
}

/// Returns a position before which every commit is visible and after which every commit will be
/// delivered.
async fn visible_end(connection: &Connection) -> Result<StartPoint, FeedError> {
    let position = BinlogPosition::of(log::visible(connection).await?);
    let missing = || FeedError::unavailable("finding the end of the log", "its file is missing");
    let file = file_of(connection, position).await?.ok_or_else(missing)?.name;
    Ok(StartPoint { position, file, reset: true })
}
