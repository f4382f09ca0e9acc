//! A stream of posted events, from its start to its loss.

use std::collections::BTreeSet;
use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use coherence::relay::{self, Heard};
use coherence::{Chain, Link, Lsn, Relay};
use contract::{Forms, Op, RowChange};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use super::inbox::Post;
use super::lead::{Leads, beat, read_beat};
use super::options::DebeziumOptions;
use super::row::Tables;
use super::told::{Event, Told, What};
use crate::error::FeedError;
use crate::event::{Commit, Piece};
use crate::message::LogMessage;
use crate::postgres::schema_watch::SchemaWatch;
use crate::postgres::server::Control;
use crate::postgres::source::{self, BEAT};
use crate::postgres::visibility::Visibility;

/// Commits in one piece at most.
const MOST_COMMITS: usize = 256;

const DOING: &str = "following posted events";

/// A stream and what has arrived on it.
pub(super) struct Session {
    options: Arc<DebeziumOptions>,
    control: Arc<Control>,
    tables: Tables,
    relay: Relay,
    chain: Chain,
    visibility: Visibility,
    schema: SchemaWatch,
    beats: Beats,
    held: Held,
    /// Parts of a transaction that has not ended.
    early: Vec<RowChange>,
    early_us: u64,
    commits: Vec<Commit>,
    /// Who waits for what has not been told yet, and for what was told in the last piece.
    waiting: Vec<oneshot::Sender<()>>,
    told: Vec<oneshot::Sender<()>>,
    broken: bool,
}

/// What a transaction that has not ended has changed.
#[derive(Default)]
struct Held {
    xid: u32,
    changes: Vec<RowChange>,
    /// Tables of which everything counts as changed; set when there is too much to list.
    whole: BTreeSet<Arc<str>>,
    messages: Vec<LogMessage>,
    committed_us: u64,
}

impl Session {
    pub(super) fn new(options: Arc<DebeziumOptions>, leads: Leads) -> Self {
        let Leads { control, start, relay, nonce, tables, after, shape } = leads;
        let log = Arc::new(options.log());
        Self {
            chain: Chain::starting(start.position, after),
            visibility: Visibility::new(control.clone()),
            schema: SchemaWatch::new(log, control.clone(), shape),
            beats: Beats { nonce, number: 1, at: Instant::now() + options.beat, writing: None },
            options,
            control,
            tables,
            relay,
            held: Held::default(),
            early: Vec::new(),
            early_us: 0,
            commits: Vec::new(),
            waiting: Vec::new(),
            told: Vec::new(),
            broken: false,
        }
    }

    /// Waits until the log or the watermark has moved, or something is to be told early. Dropping it
    /// loses nothing.
    pub(super) async fn next(
        &mut self,
        inbox: &mut mpsc::Receiver<Post>,
    ) -> Result<Piece, FeedError> {
        let closed = || FeedError::unavailable(DOING, "nobody can post any more");
        loop {
            if let Some(piece) = self.piece() {
                return Ok(piece);
            }
            tokio::select! {
                biased;
                err = self.schema.changed() => return Err(err),
                post = inbox.recv() => self.take(post.ok_or_else(closed)?)?,
                moved = self.visibility.next(&mut self.chain) => moved?,
                written = self.beats.next(&self.control, self.options.beat) => written?,
            }
            while self.commits.len() < MOST_COMMITS && self.early.is_empty() {
                let Ok(post) = inbox.try_recv() else { break };
                self.take(post)?;
            }
            // The watermark and the beats would otherwise stand still while events never pause.
            tokio::select! {
                biased;
                moved = self.visibility.next(&mut self.chain) => moved?,
                () = ready(()) => {}
            }
            tokio::select! {
                biased;
                written = self.beats.next(&self.control, self.options.beat) => written?,
                () = ready(()) => {}
            }
        }
    }

    /// What the tables were when the stream began.
    pub(super) fn shape(&self) -> &str {
        self.schema.shape()
    }

    /// Whether the stream ended because something is missing.
    pub(super) fn is_broken(&self) -> bool {
        self.broken
    }

    /// See [`Feed::seen`](crate::Feed::seen).
    pub(super) fn seen(&mut self, watermark: Lsn) {
        self.chain.seen(watermark);
    }

    /// The consumer has applied the last piece: whoever posted it may forget it.
    pub(super) fn applied(&mut self) {
        for answer in self.told.drain(..) {
            // Whoever does not wait any more posts it again.
            let _ = answer.send(());
        }
    }

    fn piece(&mut self) -> Option<Piece> {
        let moved = self.chain.tell();
        if moved.is_none() && self.early.is_empty() {
            // Nothing is to be applied for these.
            self.told.append(&mut self.waiting);
            self.applied();
            return None;
        }
        let link = moved.unwrap_or_else(|| self.chain.told());
        let Link { prev, upto, watermark } = link;
        self.told.append(&mut self.waiting);
        let mut commits = std::mem::take(&mut self.commits);
        self.count(&commits);
        let changes = std::mem::take(&mut self.early);
        if !changes.is_empty() {
            let (lsn, committed_us) = (link.behind(), self.early_us);
            commits.push(Commit { lsn, committed_us, changes, messages: Vec::new() });
        }
        Some(Piece { prev, upto, watermark, commits })
    }

    fn count(&self, commits: &[Commit]) {
        let metrics = &self.options.metrics;
        let Some(last) = commits.last() else { return };
        metrics.commits.inc_by(commits.len() as u64);
        metrics.changes.inc_by(commits.iter().map(|commit| commit.changes.len() as u64).sum());
        let now_us = self.options.clock.wall_us() as f64;
        metrics.lag.set((now_us - last.committed_us as f64) / 1e6);
    }

    fn take(&mut self, post: Post) -> Result<(), FeedError> {
        for told in post.told {
            if let Err(missing) = self.step(told) {
                self.broken = true;
                self.options.relayed.breaks.inc();
                return Err(FeedError::unavailable(DOING, missing));
            }
        }
        self.waiting.push(post.answer);
        Ok(())
    }

    fn step(&mut self, told: Told) -> Result<(), relay::Break> {
        match told {
            Told::Nothing => {}
            Told::Snapshot => drop(self.relay.step(relay::Told::Snapshot)?),
            Told::Begin { xid } => drop(self.relay.step(relay::Told::Begin { xid })?),
            Told::Loose { at } => drop(self.relay.step(relay::Told::Loose { at })?),
            Told::Event(event) => self.event(event)?,
            Told::End { xid, end, count } => {
                let heard_before = self.relay.is_heard();
                match self.relay.step(relay::Told::End { xid, end, count })? {
                    Heard::Whole => {
                        if self.relay.is_heard() && !heard_before {
                            tracing::info!(source = %self.options.source, position = %end, "Debezium tells what is written into the log now");
                        }
                        self.whole(xid, end);
                    }
                    Heard::Repeated => {
                        self.options.relayed.repeated.inc();
                        self.held.forget(xid);
                    }
                    _ => self.held.forget(xid),
                }
            }
        }
        Ok(())
    }

    fn event(&mut self, event: Event) -> Result<(), relay::Break> {
        let Event { xid, order, after, committed_us, what } = event;
        let beat = match &what {
            What::Message { prefix, content } if prefix == BEAT => read_beat(content),
            _ => None,
        };
        let heard = self.relay.step(relay::Told::Event { xid, order, after, beat })?;
        let Heard::Held { news } = heard else { return Ok(()) };
        if self.held.xid != xid {
            self.held = Held { xid, ..Held::default() };
        }
        self.held.committed_us = committed_us;
        match what {
            What::Row(row) => {
                let Some((change, readable)) = self.tables.change(&row) else { return Ok(()) };
                if !readable {
                    self.options.metrics.malformed.inc();
                    tracing::error!(
                        source = %self.options.source,
                        table = %row.table,
                        "a row of an event can't be read; everything in its table counts as changed. \
                         See what Debezium has to be set to in docs/sources.md"
                    );
                }
                if news {
                    self.early.push(change.clone());
                    self.early_us = committed_us;
                }
                if self.held.add(change, self.options.max_changes) {
                    self.options.metrics.oversized.inc();
                }
            }
            What::Message { prefix, content } if prefix == LogMessage::PREFIX => {
                match LogMessage::from_json(&content) {
                    Ok(message) => self.held.messages.push(message),
                    Err(err) => {
                        self.options.metrics.malformed.inc();
                        tracing::warn!(source = %self.options.source, error = %err, "unreadable log message skipped");
                    }
                }
            }
            What::Message { .. } => {}
        }
        Ok(())
    }

    /// A transaction has been told as a whole.
    fn whole(&mut self, xid: u32, end: Lsn) {
        // Also one that seems to be of no consequence: W passes it when it is visible.
        self.chain.commit(end, xid);
        self.visibility.hurry();
        self.early.clear();
        if self.held.xid != xid {
            return;
        }
        let Held { changes, whole, messages, committed_us, .. } = std::mem::take(&mut self.held);
        let table = |table: Arc<str>| RowChange {
            source: Arc::clone(&self.options.source),
            table,
            op: Op::Truncate,
            old: None,
            new: None,
            forms: Forms::default(),
        };
        let changes =
            if whole.is_empty() { changes } else { whole.into_iter().map(table).collect() };
        if !changes.is_empty() || !messages.is_empty() {
            self.commits.push(Commit { lsn: end, committed_us, changes, messages });
        }
    }
}

impl Held {
    fn forget(&mut self, xid: u32) {
        if self.xid == xid {
            *self = Self::default();
        }
    }

    /// Whether it has become too much to list just now.
    fn add(&mut self, change: RowChange, most: usize) -> bool {
        if self.whole.is_empty() && self.changes.len() < most {
            self.changes.push(change);
            return false;
        }
        let now = self.whole.is_empty();
        let listed = std::mem::take(&mut self.changes);
        self.whole.extend(listed.into_iter().chain([change]).map(|change| change.table));
        now
    }
}

/// Writes into the log what has to come back.
struct Beats {
    nonce: u64,
    /// The next one's.
    number: u64,
    at: Instant,
    writing: Option<JoinHandle<Result<Lsn, FeedError>>>,
}

impl Drop for Beats {
    fn drop(&mut self) {
        if let Some(writing) = &self.writing {
            writing.abort();
        }
    }
}

impl Beats {
    /// Waits until the next one is written. Dropping it loses nothing.
    async fn next(&mut self, control: &Arc<Control>, every: Duration) -> Result<(), FeedError> {
        if self.writing.is_none() {
            sleep_until(self.at).await;
            let (control, text) = (control.clone(), beat(self.nonce, self.number));
            self.writing =
                Some(tokio::spawn(async move { source::emit_beat(&control, &text).await }));
        }
        let writing = self.writing.as_mut().expect("it was just set");
        let written = writing.await;
        self.writing = None;
        self.number += 1;
        self.at = Instant::now() + every;
        written.unwrap_or_else(|err| Err(FeedError::unavailable("writing a beat", err)))?;
        Ok(())
    }
}
