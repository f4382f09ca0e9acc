//! Commits, and readers that keep entries in every tier.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use tokio::time::MissedTickBehavior;
use tokio_postgres::NoTls;

use super::cluster::{CONTRACTS, Cluster, ROWS};
use crate::http1::Connection;
use crate::output::now;

/// One commit in this many goes to one of a few hot rows, so that commits also invalidate loads in flight.
const HOT_EVERY: u32 = 10;
const HOT_ROWS: u32 = 20;

/// A row is read on every node when its commit is sent, and again after this time: well before the auditor's
/// first check.
pub(super) const AGAIN: Duration = Duration::from_millis(30);

/// The queue of rows to read on a node that does not answer; further rows are not read there.
const QUEUE_ROWS: usize = 1_000;

/// Attempts to read a row before the measurement.
const WARM_ATTEMPTS: u32 = 100;

/// The pause after an error.
const PAUSE: Duration = Duration::from_millis(100);

/// Running writers and readers; a drop stops them.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    counts: Arc<Counts>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) commits: AtomicU64,
    pub(crate) reads: AtomicU64,
    /// Reads and commits that a server did not answer.
    pub(crate) failed: AtomicU64,
}

impl Load {
    /// Reads all rows once on every node, and starts to write.
    pub(crate) fn start(cluster: &Cluster, commits_per_s: u32) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let counts = Arc::new(Counts::default());
        let url = cluster.servers.postgres.url_as("shop", "shop");
        let (mut threads, mut readers, mut warm) = (Vec::new(), Vec::new(), Vec::new());
        for node in &cluster.nodes {
            let (sender, rows) = sync_channel(QUEUE_ROWS);
            let mut reader = Reader::new(node.data, &counts);
            let stop = Arc::clone(&stop);
            let (done, is_warm) = sync_channel(1);
            threads.push(thread::spawn(move || {
                let _ = done.send((1..=ROWS).try_for_each(|row| reader.read_patiently(row)));
                reader.follow(&rows, &stop);
            }));
            readers.push(sender);
            warm.push(is_warm);
        }
        let mut load = Self { stop, counts, threads };
        for is_warm in warm {
            is_warm.recv()??;
        }
        let (stop, counts) = (Arc::clone(&load.stop), Arc::clone(&load.counts));
        load.threads.push(thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                // PostgreSQL may be down for a while.
                if write(&url, commits_per_s, &readers, &stop, &counts).is_err() {
                    counts.failed.fetch_add(1, Ordering::Relaxed);
                    thread::sleep(PAUSE);
                }
            }
        }));
        Ok(load)
    }

    pub(crate) fn counts(&self) -> &Counts {
        &self.counts
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

struct Reader {
    node: SocketAddr,
    connection: Option<Connection>,
    counts: Arc<Counts>,
}

impl Reader {
    fn new(node: SocketAddr, counts: &Arc<Counts>) -> Self {
        Self { node, connection: None, counts: Arc::clone(counts) }
    }

    /// Reads each row at once, and again after [`AGAIN`].
    fn follow(&mut self, rows: &Receiver<u32>, stop: &AtomicBool) {
        let mut later: VecDeque<(Instant, u32)> = VecDeque::new();
        while !stop.load(Ordering::Relaxed) {
            let due = later.front().map_or(PAUSE, |(at, _)| at.saturating_duration_since(now()));
            let row = match rows.recv_timeout(due) {
                Ok(row) => {
                    later.push_back((now() + AGAIN, row));
                    row
                }
                Err(RecvTimeoutError::Timeout) => match later.pop_front() {
                    Some((_, row)) => row,
                    None => continue,
                },
                Err(RecvTimeoutError::Disconnected) => return,
            };
            if self.read(row).is_err() {
                self.connection = None;
                self.counts.failed.fetch_add(1, Ordering::Relaxed);
                thread::sleep(PAUSE);
            }
        }
    }

    /// As [`read`](Self::read), again after errors: a node may be slow beside other work.
    fn read_patiently(&mut self, row: u32) -> Result<()> {
        for _ in 0..WARM_ATTEMPTS {
            if self.read(row).is_ok() {
                return Ok(());
            }
            self.connection = None;
            thread::sleep(PAUSE);
        }
        self.read(row)
    }

    fn read(&mut self, row: u32) -> Result<()> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => none.insert(Connection::open(self.node)?),
        };
        for contract in CONTRACTS {
            let answer = connection.get(&format!("/data/{contract}/{row}"))?;
            if answer.status != 200 {
                return Err(anyhow!("{}", answer.head));
            }
            self.counts.reads.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }
}

fn write(
    url: &str,
    commits_per_s: u32,
    readers: &[SyncSender<u32>],
    stop: &AtomicBool,
    counts: &Counts,
) -> Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
        tokio::spawn(connection);
        let sql = "update products set price_cents = price_cents + 1 where id = $1";
        let update = client.prepare(sql).await?;
        let mut ticks = tokio::time::interval(Duration::from_secs(1) / commits_per_s.max(1));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut next = ROWS;
        while !stop.load(Ordering::Relaxed) {
            ticks.tick().await;
            next = next % ROWS + 1;
            let row = match next % HOT_EVERY {
                0 => 1 + next / HOT_EVERY % HOT_ROWS,
                _ => next,
            };
            for reader in readers {
                // A node that does not answer is not waited for.
                let _ = reader.try_send(row);
            }
            client.execute(&update, &[&i32::try_from(row)?]).await?;
            counts.commits.fetch_add(1, Ordering::Relaxed);
        }
        anyhow::Ok(())
    })
}
