//! Getting hold of the slot.

use std::sync::Arc;
use std::time::Duration;

use coherence::Lsn;
use pgwire_replication::{PgWireError, ReplicationClient, ReplicationConfig};

use super::catalog;
use super::options::PostgresOptions;
use super::prepare::prepare_on;
use super::server::{Control, Server};
use super::session::Session;
use super::slot::{self, State};
use super::source;
use super::visibility::draw_xid;
use crate::error::FeedError;
use crate::event::Start;
use crate::turns::Claim;

/// How often an acknowledgement is passed on at most. A server that shuts down waits for it.
const STATUS_EVERY: Duration = Duration::from_millis(100);

/// Messages read ahead of the consumer.
const READ_AHEAD: usize = 1_024;

/// Columns arrive in the text form of these settings, whatever the role's own are.
const TEXT_FORM: &str = "-c datestyle=ISO -c intervalstyle=postgres -c timezone=UTC \
                         -c bytea_output=hex -c extra_float_digits=1";

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

/// The slot, for which one node after another reaches.
#[derive(Clone)]
pub(super) struct SlotClaim {
    options: Arc<PostgresOptions>,
    server: Server,
    /// The last connection that was open while we led or waited: as long as it answers, the server
    /// behind it has not crashed.
    witness: Option<Arc<Control>>,
    /// The slot was made by an earlier attempt that failed afterwards.
    made: Option<u64>,
    /// The slot exists but can't be used any more.
    remake: bool,
    /// What the tables were when the stream before began.
    shape: Option<String>,
}

impl Claim for SlotClaim {
    type Session = Session;

    async fn attempt(&mut self) -> Result<Option<(Start, Session)>, FeedError> {
        let witness = match &self.witness {
            Some(witness) if witness.still_answers().await => Some(witness.clone()),
            _ => None,
        };
        let control = match &witness {
            Some(witness) => witness.clone(),
            None => Arc::new(self.server.connect().await?),
        };
        let Some(leads) = self.lead(&control, witness.is_some()).await? else {
            self.witness = Some(control);
            return Ok(None);
        };
        self.witness = Some(control);
        self.made = None;
        Ok(Some((leads.start.clone(), Session::new(self.options.clone(), leads))))
    }

    async fn is_free(&self) -> Result<bool, FeedError> {
        let Some(control) = &self.witness else { return Ok(true) };
        Ok(slot::state(control, &self.server, &self.options.slot).await? != State::Held)
    }

    fn lost(&mut self, session: &Session) {
        self.shape = Some(session.shape().to_owned());
        self.remake = session.slot_is_unusable();
    }
}

impl SlotClaim {
    pub(super) fn new(options: Arc<PostgresOptions>, server: Server) -> Self {
        Self { options, server, witness: None, made: None, remake: false, shape: None }
    }

    /// `unbroken`: the connection was open the last time already. `None`: somebody else has the slot.
    async fn lead(
        &mut self,
        control: &Arc<Control>,
        unbroken: bool,
    ) -> Result<Option<Leads>, FeedError> {
        let name = self.options.slot.clone();
        prepare_on(control, &self.server, &self.options).await?;
        // Before the stream begins: what changes from now on is noticed as a change.
        let shape =
            catalog::shape(control, &self.options.publication, &self.options.tables).await?;
        match slot::state(control, &self.server, &name).await? {
            State::Held => return Ok(None),
            State::Free if !self.remake => {}
            state => {
                if state != State::Missing {
                    tracing::warn!(slot = name, "the replication slot is of no use any more");
                    slot::remove(control, &name).await?;
                }
                if !self.make(control, &name).await? {
                    return Ok(None);
                }
            }
        }
        let mut stream = self.connect(control).await?;
        let system = stream.identify_system().await.map_err(lost)?;
        stream.start().await.map_err(lost)?;
        match stream.wait_started().await {
            Ok(()) => {}
            Err(err) if has_state(&err, IN_USE) => return Ok(None),
            Err(err) => return Err(lost(err)),
        }
        let after = draw_xid(control).await?;
        let start = Start {
            system: parse_system(&system.system_id)?,
            timeline: system.timeline,
            slot_generation: self.made,
            position: slot::position(control, &name).await?,
            server_started: control.identity().await?.server_started,
            // It has answered since the stream began, so the server is the one it was then.
            unbroken,
        };
        if self.shape.as_ref().is_some_and(|before| *before != shape) {
            // Into the log, so that it has a position after everything that was missed.
            source::emit_everything(control).await?;
        }
        let control = control.clone();
        Ok(Some(Leads { control, stream, start, after, shape }))
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
