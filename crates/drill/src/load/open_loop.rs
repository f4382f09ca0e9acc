//! Sends a plan in an open loop: each request leaves at its planned time, regardless of the
//! requests before it, and latency counts from the planned time. A target that falls behind
//! therefore shows the latency that its users would see.
//!
//! Three threads keep the measurement from disturbing the targets on two cores: a pacer that
//! sleeps until the next event, a single-threaded runtime that speaks HTTP to all targets, and a
//! writer that commits the planned writes in order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError};
use std::thread;
use std::time::{Duration, Instant};

use http::StatusCode;
use tokio::sync::mpsc;

use super::client::{Pool, get};
use super::plan::{Action, Plan, Write};
use super::tally::Tally;
use super::writer::Writer;
use crate::audit::AuditSample;
use crate::clock::now;
use crate::page::Page;

/// A slower response counts as an error.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(5);
/// Requests of one target that may await their responses at the same time.
const MAX_IN_FLIGHT: u64 = 2048;
/// Events between the pacer and the other threads. When the queue is full the pacer waits, and
/// later events count as late from their planned time.
const QUEUE: usize = 8192;

/// Results of the planned writes.
#[derive(Default)]
pub(crate) struct WriteCounts {
    pub(crate) committed: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) failed: AtomicU64,
}

/// The load generator of one run.
pub(crate) struct Load {
    pub(crate) targets: Vec<SocketAddr>,
    /// One per target, in the same order.
    pub(crate) tallies: Arc<Vec<Tally>>,
    pub(crate) plan: Plan,
    pub(crate) writer: Arc<dyn Writer>,
    pub(crate) writes: Arc<WriteCounts>,
    pub(crate) samples: SyncSender<AuditSample>,
    pub(crate) unaudited: Arc<AtomicU64>,
    pub(crate) started: Instant,
    /// Events planned after this time are not sent.
    pub(crate) send_limit: Option<Duration>,
    /// Requests without a response after this time are abandoned.
    pub(crate) drain_timeout: Duration,
    pub(crate) stop: Arc<AtomicBool>,
}

impl Load {
    /// Runs until the plan or the time ends, or until `stop` is set. Blocks.
    ///
    /// # Errors
    /// A thread or the runtime could not be created, or a thread panicked.
    pub(crate) fn run(self) -> std::io::Result<()> {
        let (requests, planned_requests) = mpsc::channel(QUEUE);
        let (writes, planned_writes) = std::sync::mpsc::sync_channel::<Write>(QUEUE);
        let pacer = Pacer {
            plan: self.plan,
            started: self.started,
            send_limit: self.send_limit,
            stop: Arc::clone(&self.stop),
            requests,
            writes,
        };
        let pacer = thread::Builder::new().name("drill-pacer".into()).spawn(|| pacer.run())?;
        let (writer, counts) = (self.writer, self.writes);
        let committer = thread::Builder::new().name("drill-writer".into()).spawn(move || {
            for write in planned_writes {
                let count = match writer.write(&write) {
                    Ok(true) => &counts.committed,
                    Ok(false) => &counts.refused,
                    Err(_) => &counts.failed,
                };
                count.fetch_add(1, Ordering::Relaxed);
            }
        })?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let dispatcher = Dispatcher {
            targets: self.targets,
            tallies: self.tallies,
            samples: self.samples,
            unaudited: self.unaudited,
        };
        runtime.block_on(dispatcher.run(planned_requests, self.drain_timeout));
        // Abandons the requests in flight together with their tasks.
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
    send_limit: Option<Duration>,
    stop: Arc<AtomicBool>,
    requests: mpsc::Sender<(Instant, Page)>,
    writes: SyncSender<Write>,
}

impl Pacer {
    fn run(self) {
        for event in self.plan {
            if self.send_limit.is_some_and(|limit| event.at > limit) {
                return;
            }
            let due = self.started + event.at;
            loop {
                if self.stop.load(Ordering::Relaxed) {
                    return;
                }
                let remaining = due.saturating_duration_since(now());
                if remaining.is_zero() {
                    break;
                }
                thread::sleep(remaining.min(Duration::from_millis(50)));
            }
            let accepted = match event.action {
                Action::Request(page) => self.requests.blocking_send((due, page)).is_ok(),
                Action::Write(write) => self.writes.send(write).is_ok(),
            };
            if !accepted {
                return;
            }
        }
    }
}

/// Sends each planned request to all targets.
struct Dispatcher {
    targets: Vec<SocketAddr>,
    tallies: Arc<Vec<Tally>>,
    samples: SyncSender<AuditSample>,
    unaudited: Arc<AtomicU64>,
}

impl Dispatcher {
    async fn run(self, mut planned: mpsc::Receiver<(Instant, Page)>, drain_timeout: Duration) {
        let senders: Vec<Arc<TargetSender>> = self
            .targets
            .iter()
            .enumerate()
            .map(|(index, address)| {
                Arc::new(TargetSender {
                    index,
                    pool: Pool::new(*address),
                    tallies: Arc::clone(&self.tallies),
                    samples: self.samples.clone(),
                    unaudited: Arc::clone(&self.unaudited),
                })
            })
            .collect();
        drop(self.samples);
        let mut first = 0;
        while let Some((due, page)) = planned.recv().await {
            // Round robin: each target is sent to first equally often.
            first = (first + 1) % senders.len().max(1);
            let (later, sooner) = senders.split_at(first);
            for sender in sooner.iter().chain(later) {
                if self.tallies[sender.index].try_begin(MAX_IN_FLIGHT) {
                    tokio::spawn(Arc::clone(sender).send(due, page.clone()));
                }
            }
        }
        let deadline = now() + drain_timeout;
        while now() < deadline && self.tallies.iter().any(|tally| tally.counts().in_flight > 0) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

struct TargetSender {
    index: usize,
    pool: Pool,
    tallies: Arc<Vec<Tally>>,
    samples: SyncSender<AuditSample>,
    unaudited: Arc<AtomicU64>,
}

impl TargetSender {
    async fn send(self: Arc<Self>, due: Instant, page: Page) {
        let tally = &self.tallies[self.index];
        let path = page.path();
        let Some(request) = get(&path) else {
            return tally.record_failure(&|| format!("{path} is not a valid path"));
        };
        let sent = now();
        let response = match tokio::time::timeout(RESPONSE_TIMEOUT, self.pool.send(request)).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return tally.record_failure(&|| format!("{path}: {error}")),
            Err(_) => {
                return tally.record_failure(&|| {
                    format!("{path}: no response within {RESPONSE_TIMEOUT:?}")
                });
            }
        };
        let received = now();
        let status = response.status();
        if status != StatusCode::OK {
            return tally.record_failure(&|| format!("{path}: {status}"));
        }
        tally.record_response(received.saturating_duration_since(due), response.headers());
        if page.is_private() || page == Page::Style {
            return;
        }
        let sample =
            AuditSample { target: self.index, page, sent, received, body: response.into_body() };
        if let Err(TrySendError::Full(_)) = self.samples.try_send(sample) {
            self.unaudited.fetch_add(1, Ordering::Relaxed);
        }
    }
}
