//! A stream from its start to its loss.

use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use coherence::{Chain, Link};
use tokio::time::{Instant, sleep_until};

use super::lead::Leads;
use super::log::{Event, Raw, parse};
use super::options::MariaDbOptions;
use super::place::Place;
use super::stream::Stream;
use super::transaction::{Assembler, Ended};
use super::visibility::Visibility;
use crate::error::FeedError;
use crate::event::{Commit, Piece};

/// Commits in one piece at most.
const MOST_COMMITS: usize = 256;

/// After this much silence the connection counts as lost: a server that has nothing to say sends a
/// heartbeat five times a second.
const SILENCE: Duration = Duration::from_secs(15);

const DOING: &str = "following the log";

/// A stream and what has arrived on it.
pub(super) struct Session {
    options: Arc<MariaDbOptions>,
    stream: Stream,
    assembler: Assembler,
    chain: Chain,
    visibility: Visibility,
    /// Where the last event that was taken ended.
    place: Place,
    /// Whether a group of events is open.
    inside: bool,
    commits: Vec<Commit>,
    heard: Instant,
    unusable: bool,
}

impl Session {
    pub(super) fn new(options: Arc<MariaDbOptions>, database: &str, leads: Leads) -> Self {
        let Leads { control, stream, start, place } = leads;
        let mut chain = Chain::starting(start.position, u64::MAX);
        // Everything before was visible when the place was chosen.
        chain.seen(start.position);
        Self {
            assembler: Assembler::new(&options, database),
            chain,
            visibility: Visibility::new(control),
            options,
            stream,
            place,
            inside: false,
            commits: Vec::new(),
            heard: Instant::now(),
            unusable: false,
        }
    }

    /// Waits until the log or the watermark has moved. Dropping it loses nothing.
    pub(super) async fn next(&mut self) -> Result<Piece, FeedError> {
        loop {
            if let Some(piece) = self.piece() {
                return Ok(piece);
            }
            if self.assembler.redefined() {
                let what = "a table was altered; whether it can be followed is checked again";
                return Err(FeedError::unavailable(DOING, what));
            }
            tokio::select! {
                biased;
                event = self.stream.next() => {
                    self.take(event)?;
                    self.take_what_is_there().await?;
                }
                moved = self.visibility.next(&mut self.chain) => moved?,
                () = sleep_until(self.heard + SILENCE) => {
                    return Err(FeedError::unavailable(DOING, "nothing arrived, not even a heartbeat"));
                }
            }
        }
    }

    /// Whether no later start from the same place would get past what has ended this one.
    pub(super) fn place_is_unusable(&self) -> bool {
        self.unusable
    }

    fn piece(&mut self) -> Option<Piece> {
        let Link { prev, upto, watermark } = self.chain.tell()?;
        let commits = std::mem::take(&mut self.commits);
        self.count(&commits);
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

    /// More that has arrived already goes into the same piece. Also looks after the watermark, which
    /// would otherwise stand still while the log never pauses.
    async fn take_what_is_there(&mut self) -> Result<(), FeedError> {
        while self.commits.len() < MOST_COMMITS && !self.assembler.redefined() {
            let Some(event) = self.stream.ready() else { break };
            self.take(event)?;
        }
        tokio::select! {
            biased;
            moved = self.visibility.next(&mut self.chain) => moved,
            () = ready(()) => Ok(()),
        }
    }

    fn take(&mut self, event: Result<Raw, FeedError>) -> Result<(), FeedError> {
        self.heard = Instant::now();
        let raw = event.inspect_err(|err| self.unusable = is_gone(err))?;
        let event = parse(&raw);
        match &event {
            Some(Event::Rotate { file }) => {
                if raw.is_placed() {
                    self.go_to(self.place.at(raw.end))?;
                    self.chain.progress(self.place.lsn());
                }
                // The name is told again as the next file begins.
                let begins = place(file, FIRST)?;
                return if begins == self.place.at(FIRST) { Ok(()) } else { self.go_to(begins) };
            }
            Some(Event::Heartbeat { file }) => {
                if !self.inside && raw.end > 0 {
                    self.go_to(place(file, raw.end)?)?;
                    self.chain.progress(self.place.lsn());
                }
                return Ok(());
            }
            _ if !raw.is_placed() => return Ok(()),
            _ => {}
        }
        self.go_to(self.place.at(raw.end))?;
        let end = self.place.lsn();
        match self.assembler.take(&raw, event, end) {
            Ended::Nothing => self.inside = true,
            Ended::Group(commit) => {
                self.inside = false;
                if let Some(commit) = commit {
                    self.chain.commit(end, 0);
                    self.visibility.hurry();
                    self.commits.push(commit);
                }
                self.chain.progress(end);
            }
        }
        Ok(())
    }

    /// The log goes forward, or it is another one.
    fn go_to(&mut self, place: Place) -> Result<(), FeedError> {
        if place < self.place {
            self.unusable = true;
            let what = "the log was begun anew, or one of its files is larger than 4 GiB";
            return Err(FeedError::unavailable(DOING, what));
        }
        self.place = place;
        Ok(())
    }
}

/// The first event of a file.
const FIRST: u32 = 4;

fn place(file: &str, offset: u32) -> Result<Place, FeedError> {
    let place = Place::new(file.trim_end_matches('\0'), u64::from(offset));
    place.ok_or_else(|| FeedError::Malformed(format!("a file named {file:?}")))
}

/// Whether the server says that it has no such place (ER_MASTER_FATAL_ERROR_READING_BINLOG).
fn is_gone(err: &FeedError) -> bool {
    err.to_string().contains("(error 1236)")
}
