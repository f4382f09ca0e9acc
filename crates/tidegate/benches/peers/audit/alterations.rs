//! Alterations that the log has no event for, one after the other while commits and checks go on.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::Result;
use tokio_postgres::NoTls;

use super::cluster::{Cluster, ROWS};

/// The interval between two alterations.
pub(super) const INTERVAL: Duration = Duration::from_secs(10);

/// The interval at which the end is noticed.
const STEP: Duration = Duration::from_millis(200);

/// The number of partitions of the table.
const PARTITIONS: u32 = 3;

/// The kinds of alterations, in turn. Two of them change every row that they touch.
const KINDS: [fn(u32) -> String; 5] = [
    |_| "alter table products add column extra int default 7".into(),
    |turn| swap_partition(turn % PARTITIONS),
    |_| "alter table products drop column extra".into(),
    |_| swap_table(),
    |turn| {
        let kind = if turn % 2 == 0 { "bigint" } else { "int" };
        format!("alter table products alter column category_id type {kind}")
    },
];

/// Returns SQL that divides the table of the cluster into partitions.
pub(super) fn divide() -> String {
    let mut sql = "begin; alter table products rename to undivided; \
         create table products (like undivided including all) partition by range (id);"
        .to_owned();
    for part in 0..PARTITIONS {
        let range = range(part);
        let _ = write!(sql, "create table products_{part} partition of products {range};");
    }
    sql + "insert into products select * from undivided; drop table undivided; commit;"
}

fn range(part: u32) -> String {
    let from = |part: u32| 1 + part * ROWS / PARTITIONS;
    format!("for values from ({}) to ({})", from(part), from(part + 1))
}

/// Replaces a partition by a table with other prices, which no event shows.
fn swap_partition(part: u32) -> String {
    format!(
        "begin; lock table products in access exclusive mode; \
         create table next (like products including all); \
         insert into next select * from products where tableoid = 'products_{part}'::regclass; \
         update next set price_cents = price_cents + 1; \
         alter table products detach partition products_{part}; \
         drop table products_{part}; \
         alter table next rename to products_{part}; \
         alter table products attach partition products_{part} {range}; commit;",
        range = range(part)
    )
}

/// Replaces the table by another one with other prices, as tools for online migrations do.
fn swap_table() -> String {
    let mut sql = "begin; lock table products in access exclusive mode; \
         create table next (like products including all) partition by range (id);"
        .to_owned();
    for part in 0..PARTITIONS {
        let _ = write!(sql, "create table next_{part} partition of next {};", range(part));
    }
    sql += "insert into next select * from products; \
            update next set price_cents = price_cents + 1; \
            drop table products; alter table next rename to products;";
    for part in 0..PARTITIONS {
        let _ = write!(sql, "alter table next_{part} rename to products_{part};");
    }
    sql + "commit;"
}

/// Running alterations; a drop stops them.
pub(super) struct Alterations {
    stop: Arc<AtomicBool>,
    counts: Arc<[AtomicU64; 2]>,
    thread: Option<JoinHandle<()>>,
}

impl Alterations {
    /// Alters the divided table of the cluster every [`INTERVAL`], as its owner.
    pub(super) fn start(cluster: &Cluster) -> Self {
        let url = cluster.servers.postgres.url_as("shop", "shop");
        let stop = Arc::new(AtomicBool::new(false));
        let counts = Arc::new([AtomicU64::new(0), AtomicU64::new(0)]);
        let (stops, counted) = (Arc::clone(&stop), Arc::clone(&counts));
        let thread = thread::spawn(move || {
            for turn in 0.. {
                for _ in 0..INTERVAL.as_millis() / STEP.as_millis() {
                    if stops.load(Ordering::Relaxed) {
                        return;
                    }
                    thread::sleep(STEP);
                }
                let kind = KINDS[turn as usize % KINDS.len()];
                let round = turn / KINDS.len() as u32;
                let failed = alter(&url, &kind(round)).is_err();
                counted[usize::from(failed)].fetch_add(1, Ordering::Relaxed);
            }
        });
        Self { stop, counts, thread: Some(thread) }
    }

    /// Returns the numbers of alterations that were made, and that failed.
    pub(super) fn counts(&self) -> [u64; 2] {
        self.counts.each_ref().map(|count| count.load(Ordering::Relaxed))
    }
}

impl Drop for Alterations {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn alter(url: &str, sql: &str) -> Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
        tokio::spawn(connection);
        // Writers wait for no longer than this behind a lock that is not granted.
        client.batch_execute("set lock_timeout = '2s'").await?;
        client.batch_execute(sql).await?;
        anyhow::Ok(())
    })
}
