//! Getting hold of the slot.

use std::sync::Arc;
use std::time::Duration;

use coherence::Lsn;
use pgwire_replication::{PgWireError, ReplicationClient, ReplicationConfig};

use super::catalog;
use super::options::PostgresOptions;
use super::prepare::prepare_on;
use super::server::{Control, Server};
use super::slot::{self, State};
use super::source;
use super::visibility::draw_xid;
use crate::error::FeedError;
use crate::event::Start;

/// How often an acknowledgement is passed on at most. A server that shuts down waits for it.
const STATUS_EVERY: Duration = Duration::from_millis(100);

/// Messages read ahead of the consumer.
const READ_AHEAD: usize = 1_024;

/// Columns arrive in the text form of these settings, whatever the role's own are.
const TEXT_FORM: &str = "-c datestyle=ISO -c intervalstyle=postgres -c timezone=UTC \
                         -c bytea_output=hex -c extra_float_digits=1";

/// What comes of one attempt.
pub(super) enum Outcome {
    /// We hold the slot.
    Leads(Box<Leads>),
    /// Somebody else does. The connection is kept: as long as it answers, the server behind it has
    /// not crashed.
    Held(Arc<Control>),
}

/// A stream that began.
pub(super) struct Leads {
    pub(super) control: Arc<Control>,
    pub(super) stream: ReplicationClient,
    pub(super) start: Start,
    /// A transaction id given out when the slot was there.
    pub(super) after: u64,
    /// What the tables were when the stream began, see [`catalog::shape`].
    pub(super) shape: String,
}

/// One attempt and what it leaves behind.
pub(super) struct Attempt {
    pub(super) options: Arc<PostgresOptions>,
    pub(super) server: Server,
    /// From an earlier time of leading or waiting.
    pub(super) witness: Option<Arc<Control>>,
    /// The slot was made by an earlier attempt that failed afterwards.
    pub(super) made: Option<u64>,
    /// The slot exists but can't be used any more.
    pub(super) remake: bool,
    /// What the tables were when the stream before began.
    pub(super) shape: Option<String>,
}

impl Attempt {
    /// Tries once. Also says whether the slot was made meanwhile, whatever else came of it.
    pub(super) async fn run(mut self) -> (Option<u64>, Result<Outcome, FeedError>) {
        let outcome = self.try_to_lead().await;
        (self.made, outcome)
    }

    async fn try_to_lead(&mut self) -> Result<Outcome, FeedError> {
        let witness = match self.witness.take() {
            Some(witness) if witness.still_answers().await => Some(witness),
            _ => None,
        };
        let control = match &witness {
            Some(witness) => witness.clone(),
            None => Arc::new(self.server.connect().await?),
        };
        let name = self.options.slot.clone();
        prepare_on(&control, &self.server, &self.options).await?;
        // Before the stream begins: what changes from now on is noticed as a change.
        let shape =
            catalog::shape(&control, &self.options.publication, &self.options.tables).await?;
        match slot::state(&control, &self.server, &name).await? {
            State::Held => return Ok(Outcome::Held(control)),
            State::Free if !self.remake => {}
            state => {
                if state != State::Missing {
                    tracing::warn!(slot = name, "the replication slot is of no use any more");
                    slot::remove(&control, &name).await?;
                }
                if !self.make(&control, &name).await? {
                    return Ok(Outcome::Held(control));
                }
            }
        }
        let mut stream = self.connect(&control).await?;
        let system = stream.identify_system().await.map_err(lost)?;
        stream.start().await.map_err(lost)?;
        match stream.wait_started().await {
            Ok(()) => {}
            Err(err) if has_state(&err, IN_USE) => return Ok(Outcome::Held(control)),
            Err(err) => return Err(lost(err)),
        }
        let after = draw_xid(&control).await?;
        let start = Start {
            system: parse_system(&system.system_id)?,
            timeline: system.timeline,
            slot_generation: self.made.take(),
            position: slot::position(&control, &name).await?,
            server_started: control.identity().await?.server_started,
            // It has answered since the stream began, so the server is the one it was then.
            unbroken: witness.is_some(),
        };
        if self.shape.as_ref().is_some_and(|before| *before != shape) {
            // Into the log, so that it has a position after everything that was missed.
            source::emit_everything(&control).await?;
        }
        Ok(Outcome::Leads(Box::new(Leads { control, stream, start, after, shape })))
    }

    /// False if another node was faster.
    async fn make(&mut self, control: &Control, name: &str) -> Result<bool, FeedError> {
        if let Err(err) = slot::make(&self.server, name).await {
            let now = slot::state(control, &self.server, name).await?;
            return if now == State::Missing { Err(err) } else { Ok(false) };
        }
        self.remake = false;
        self.made = Some(rand::random());
        self.options.metrics.slots_made.inc();
        Ok(true)
    }

    async fn connect(&self, control: &Control) -> Result<ReplicationClient, FeedError> {
        let address = control.address();
        let config = ReplicationConfig::new(
            address.host.as_str(),
            self.server.user(),
            self.server.password(),
            self.server.database(),
            self.options.slot.as_str(),
            self.options.publication.as_str(),
        )
        .with_port(address.port)
        .with_status_interval(STATUS_EVERY)
        .with_buffer_size(READ_AHEAD)
        .with_options(TEXT_FORM)
        .with_application_name("tidegate-feed");
        ReplicationClient::connect_gated(config).await.map_err(lost)
    }
}

fn parse_system(text: &str) -> Result<u64, FeedError> {
    text.parse().map_err(|_| FeedError::Malformed(format!("system identifier {text:?}")))
}

pub(super) fn lost(err: PgWireError) -> FeedError {
    FeedError::unavailable("following the log", err)
}

/// The slot is active for another process.
const IN_USE: &str = "55006";

/// Whether the server said this SQLSTATE.
pub(super) fn has_state(err: &PgWireError, state: &str) -> bool {
    matches!(err, PgWireError::Server(text) if text.contains(&format!("SQLSTATE {state}")))
}

/// The client's position type.
pub(super) fn lsn(position: Lsn) -> pgwire_replication::Lsn {
    pgwire_replication::Lsn::from_u64(position.0)
}
