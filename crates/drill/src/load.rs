//! Sends a plan in an open loop: requests leave when they are planned to, whatever became of the
//! ones before, and latency counts from the planned time. So a system that falls behind looks as
//! slow as it is to its shoppers.
//!
//! Three threads, so that measuring disturbs the measured as little as two cores allow: a pacer
//! that sleeps until the next event, a single-threaded runtime that speaks HTTP for all arms, and
//! a writer that commits the planned writes in order.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError};
use std::thread;
use std::time::{Duration, Instant};

use http::StatusCode;
use tokio::sync::mpsc;

use crate::arm::Arm;
use crate::audit::Exhibit;
use crate::client::{Pool, get};
use crate::clock::now;
use crate::oracle::Writer;
use crate::page::Page;
use crate::plan::{Plan, What, Write};
use crate::tally::Tally;

/// An answer that takes longer counts as an error.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Requests of one arm that may wait for their answers at once.
const IN_FLIGHT: u64 = 2048;
/// Events between the pacer and the other threads. When it is full the pacer waits, and what it
/// sends afterwards is late by its planned time, as it should be.
const QUEUE: usize = 8192;

/// What is counted besides each arm's own.
#[derive(Default)]
pub(crate) struct WriteCounts {
    pub(crate) done: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) failed: AtomicU64,
}

/// Everything the load needs; it owns it until it is joined.
pub(crate) struct Load {
    pub(crate) arms: Vec<Arm>,
    pub(crate) tallies: Arc<Vec<Tally>>,
    pub(crate) plan: Plan,
    pub(crate) writer: Arc<dyn Writer>,
    pub(crate) writes: Arc<WriteCounts>,
    pub(crate) exhibits: SyncSender<Exhibit>,
    pub(crate) unaudited: Arc<AtomicU64>,
    pub(crate) started: Instant,
    /// No event planned later is sent.
    pub(crate) sends_for: Option<Duration>,
    /// Requests still unanswered then are given up.
    pub(crate) drains_for: Duration,
    pub(crate) stop: Arc<AtomicBool>,
}

impl Load {
    /// Runs to the end of the plan, of the time, or until `stop`. Blocks.
    ///
    /// # Errors
    /// When a thread or the runtime cannot be made.
    pub(crate) fn run(self) -> std::io::Result<()> {
        let (requests, arrivals) = mpsc::channel(QUEUE);
        let (writes, orders) = std::sync::mpsc::sync_channel::<Write>(QUEUE);
        let pacer = Pacer {
            plan: self.plan,
            started: self.started,
            sends_for: self.sends_for,
            stop: Arc::clone(&self.stop),
            requests,
            writes,
        };
        let pacer = thread::Builder::new().name("drill-pacer".into()).spawn(|| pacer.run())?;
        let (writer, counts) = (self.writer, self.writes);
        let committer = thread::Builder::new().name("drill-writer".into()).spawn(move || {
            for write in orders {
                let count = match writer.write(&write) {
                    Ok(true) => &counts.done,
                    Ok(false) => &counts.refused,
                    Err(_) => &counts.failed,
                };
                count.fetch_add(1, Ordering::Relaxed);
            }
        })?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let shoppers = Shoppers {
            arms: self.arms,
            tallies: self.tallies,
            exhibits: self.exhibits,
            unaudited: self.unaudited,
        };
        runtime.block_on(shoppers.run(arrivals, self.drains_for));
        // What is still in flight now is abandoned with its tasks.
        runtime.shutdown_background();
        for thread in [pacer, committer] {
            if thread.join().is_err() {
                return Err(std::io::Error::other("a thread of the load generator panicked"));
            }
        }
        Ok(())
    }
}

struct Pacer {
    plan: Plan,
    started: Instant,
    sends_for: Option<Duration>,
    stop: Arc<AtomicBool>,
    requests: mpsc::Sender<(Instant, Page)>,
    writes: SyncSender<Write>,
}

impl Pacer {
    fn run(self) {
        for event in self.plan {
            if self.sends_for.is_some_and(|limit| event.at > limit) {
                return;
            }
            let due = self.started + event.at;
            loop {
                if self.stop.load(Ordering::Relaxed) {
                    return;
                }
                let left = due.saturating_duration_since(now());
                if left.is_zero() {
                    break;
                }
                thread::sleep(left.min(Duration::from_millis(50)));
            }
            let taken = match event.what {
                What::Request(page) => self.requests.blocking_send((due, page)).is_ok(),
                What::Write(write) => self.writes.send(write).is_ok(),
            };
            if !taken {
                return;
            }
        }
    }
}

/// The client side of all arms.
struct Shoppers {
    arms: Vec<Arm>,
    tallies: Arc<Vec<Tally>>,
    exhibits: SyncSender<Exhibit>,
    unaudited: Arc<AtomicU64>,
}

impl Shoppers {
    async fn run(self, mut arrivals: mpsc::Receiver<(Instant, Page)>, drains_for: Duration) {
        let visits: Vec<Arc<Visit>> = self
            .arms
            .iter()
            .enumerate()
            .map(|(index, arm)| {
                Arc::new(Visit {
                    index,
                    pool: Pool::new(arm.address),
                    tallies: Arc::clone(&self.tallies),
                    exhibits: self.exhibits.clone(),
                    unaudited: Arc::clone(&self.unaudited),
                })
            })
            .collect();
        drop(self.exhibits);
        let mut first = 0;
        while let Some((due, page)) = arrivals.recv().await {
            // Each arm is the first to be sent to as often as the others.
            first = (first + 1) % visits.len().max(1);
            let (later, sooner) = visits.split_at(first);
            for visit in sooner.iter().chain(later) {
                if self.tallies[visit.index].begin(IN_FLIGHT) {
                    tokio::spawn(Arc::clone(visit).ask(due, page.clone()));
                }
            }
        }
        let give_up = now() + drains_for;
        while now() < give_up && self.tallies.iter().any(|tally| tally.counts().in_flight > 0) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

struct Visit {
    index: usize,
    pool: Pool,
    tallies: Arc<Vec<Tally>>,
    exhibits: SyncSender<Exhibit>,
    unaudited: Arc<AtomicU64>,
}

impl Visit {
    async fn ask(self: Arc<Self>, due: Instant, page: Page) {
        let tally = &self.tallies[self.index];
        let path = page.path();
        let Some(request) = get(&path) else {
            return tally.failed(&|| format!("{path} is no path"));
        };
        let sent = now();
        let answer = match tokio::time::timeout(TIMEOUT, self.pool.send(request)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return tally.failed(&|| format!("{path}: {error}")),
            Err(_) => return tally.failed(&|| format!("{path}: no answer in {TIMEOUT:?}")),
        };
        let received = now();
        let status = answer.status();
        if status != StatusCode::OK {
            return tally.failed(&|| format!("{path}: {status}"));
        }
        tally.answered(received.saturating_duration_since(due), answer.headers());
        if page.is_private() || page == Page::Style {
            return;
        }
        let exhibit = Exhibit { arm: self.index, page, sent, received, body: answer.into_body() };
        if let Err(TrySendError::Full(_)) = self.exhibits.try_send(exhibit) {
            self.unaudited.fetch_add(1, Ordering::Relaxed);
        }
    }
}
