//! Getting hold of the lock, and judging whether the tiers may go on from where they stand.

use std::sync::Arc;

use coherence::{Lsn, Relay};

use super::options::DebeziumOptions;
use super::row::Tables;
use super::session::Session;
use crate::Bookmark;
use crate::error::FeedError;
use crate::event::Start;
use crate::postgres::server::{Control, Server};
use crate::postgres::visibility::draw_xid;
use crate::postgres::{PostgresOptions, catalog, prepare, source};
use crate::tracked::quote_text;
use crate::turns::Claim;

const DOING: &str = "getting ready for events";

/// A node's connections.
#[derive(Clone, Default)]
struct Lines {
    /// Keeps the lock, and is used for everything. The server closes it when nothing is asked for a while.
    lock: Option<Arc<Control>>,
    /// Says, as long as it answers, that the server has not crashed.
    witness: Option<Arc<Control>>,
}

/// A stream that may begin.
pub(super) struct Leads {
    pub(super) control: Arc<Control>,
    pub(super) start: Start,
    pub(super) relay: Relay,
    pub(super) nonce: u64,
    pub(super) tables: Tables,
    /// A transaction id given out before anything of the stream is listened to.
    pub(super) after: u64,
    /// What the tables were, see [`catalog::shape`].
    pub(super) shape: String,
}

/// The lock, for which one node after another reaches, and with it the right to take events.
#[derive(Clone)]
pub(super) struct EventsClaim {
    options: Arc<DebeziumOptions>,
    server: Server,
    pub(super) bookmark: Option<Arc<dyn Bookmark>>,
    /// The last connections that were open while we led or waited. They may still hold the lock.
    lines: Lines,
    /// Something is missing in what was told.
    anew: bool,
    /// What the tables were when the stream before began.
    shape: Option<String>,
}

impl Claim for EventsClaim {
    type Session = Session;

    async fn attempt(&mut self) -> Result<Option<(Start, Session)>, FeedError> {
        let (lines, control, unbroken) = self.lines().await?;
        let log = self.options.log();
        prepare::relayed(&control, &self.server, &log).await?;
        let leads = match lock(&control, &self.options.slot).await? {
            true => Some(self.lead(&control, &log, unbroken).await?),
            false => None,
        };
        self.lines = lines;
        let Some(leads) = leads else { return Ok(None) };
        self.anew = false;
        if leads.start.slot_generation.is_some() {
            self.options.metrics.slots_made.inc();
        }
        Ok(Some((leads.start.clone(), Session::new(self.options.clone(), leads))))
    }

    async fn is_free(&self) -> Result<bool, FeedError> {
        match &self.lines.lock {
            // It is this connection's then.
            Some(control) => lock(control, &self.options.slot).await,
            None => Ok(true),
        }
    }

    fn lost(&mut self, session: &Session) {
        self.anew = session.is_broken();
        self.shape = Some(session.shape().to_owned());
    }
}

impl EventsClaim {
    pub(super) fn new(options: Arc<DebeziumOptions>, server: Server) -> Self {
        let lines = Lines::default();
        Self { options, server, bookmark: None, lines, anew: false, shape: None }
    }

    /// Judges where to go on; the lock is ours.
    async fn lead(
        &self,
        control: &Arc<Control>,
        log: &PostgresOptions,
        unbroken: bool,
    ) -> Result<Leads, FeedError> {
        prepare::is_published(control, log).await?;
        let shape = catalog::shape(control, &log.publication, &log.tables).await?;
        let tables = Tables::ask(control, &self.options).await?;
        // The order matters: what is found out below about the slot holds for one that was there when the
        // beat was written, and the beat does not come back through one that was made later.
        let nonce = rand::random();
        let end = source::emit_beat(control, &beat(nonce, 0)).await?;
        let after = draw_xid(control).await?;
        let identity = control.identity().await?;
        let applied = match &self.bookmark {
            Some(bookmark) if !self.anew => bookmark.applied().await?,
            _ => None,
        };
        let of_this_log = applied
            .filter(|at| (at.system, at.timeline) == (identity.system, identity.timeline))
            .map(|at| at.lsn);
        let gone_on = match (of_this_log, self.confirmed(control).await?) {
            (Some(applied), Some(confirmed)) => (confirmed <= applied).then_some(applied),
            _ => None,
        };
        let start = Start {
            system: identity.system,
            timeline: identity.timeline,
            slot_generation: gone_on.is_none().then(rand::random),
            position: gone_on.unwrap_or(end),
            server_started: identity.server_started,
            unbroken,
        };
        let relay = match gone_on {
            Some(applied) => Relay::continuing(nonce, applied),
            None => Relay::beginning(nonce),
        };
        if self.shape.as_ref().is_some_and(|before| *before != shape) {
            // Into the log, so that it has a position after everything that was missed.
            source::emit_everything(control).await?;
        }
        let control = control.clone();
        Ok(Leads { control, start, relay, nonce, tables, after, shape })
    }

    /// Connections that answer, the one for the lock once more, and whether the server answered all the time
    /// since they were made.
    async fn lines(&self) -> Result<(Lines, Arc<Control>, bool), FeedError> {
        let answering = async |control: &Option<Arc<Control>>| match control {
            Some(control) if control.still_answers().await => Some(control.clone()),
            _ => None,
        };
        let witness = answering(&self.lines.witness).await;
        let unbroken = witness.is_some();
        let witness = match witness {
            Some(witness) => witness,
            None => Arc::new(self.server.connect().await?),
        };
        // One to a server of before can't be had beside a witness of now.
        let lock = match answering(&self.lines.lock).await.filter(|_| unbroken) {
            Some(lock) => lock,
            None => {
                let lock = self.server.connect().await?;
                // A node that is stopped or cut off gives up its lock.
                lock.run("set idle_session_timeout = '10s'").await?;
                Arc::new(lock)
            }
        };
        Ok((Lines { lock: Some(lock.clone()), witness: Some(witness) }, lock, unbroken))
    }

    /// What Debezium's slot may have forgotten; `None`: there is no such slot.
    ///
    /// Debezium confirms only what was acknowledged to it. A slot that was made later than the tiers stand
    /// begins after that, so where it may have forgotten no more than they have applied, the rest has been
    /// told or will be.
    async fn confirmed(&self, control: &Control) -> Result<Option<Lsn>, FeedError> {
        let sql = "select confirmed_flush_lsn::text from pg_replication_slots \
                   where slot_name = $1 and database = current_database() \
                   and coalesce(wal_status, '') <> 'lost'";
        let rows = control.rows(DOING, sql, &[&self.options.slot]).await?;
        let Some(row) = rows.first() else {
            let slot = &self.options.slot;
            tracing::warn!(slot, "Debezium's replication slot is not there");
            return Ok(None);
        };
        let text: Option<&str> = row.get(0);
        let read = |text: &str| {
            text.parse().map_err(|err| FeedError::Malformed(format!("the slot's position: {err}")))
        };
        text.map(read).transpose()
    }
}

/// The text of a beat.
pub(super) fn beat(nonce: u64, number: u64) -> String {
    format!("{nonce:016x} {number}")
}

/// Reads a beat back.
pub(super) fn read_beat(content: &[u8]) -> Option<(u64, u64)> {
    let (nonce, number) = std::str::from_utf8(content).ok()?.split_once(' ')?;
    Some((u64::from_str_radix(nonce, 16).ok()?, number.parse().ok()?))
}

/// Tries to get the lock; its holder's connection keeps it. False: somebody else has it.
async fn lock(control: &Control, slot: &str) -> Result<bool, FeedError> {
    let name = quote_text(&format!("tidegate {slot}"));
    let sql = format!("select pg_try_advisory_lock(hashtextextended({name}, 0))");
    Ok(control.text("asking for the lock", &sql).await? == "t")
}
