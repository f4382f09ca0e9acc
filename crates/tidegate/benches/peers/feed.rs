//! The speed at which a backlog of the log is processed, compared with a bare reader that decodes its rows.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cache::SystemClock;
use coherence::Lsn;
use feed::postgres::{PostgresFeed, PostgresOptions};
use feed::{Feed, FeedEvent, TrackedTable};
use harness::http;
use pgwire_replication::{ReplicationClient, ReplicationConfig, ReplicationEvent};

use crate::figure::{Figure, Part, Table, median};
use crate::output::{log_line, now};
use crate::stack::{DEADLINE, Servers};

/// Rows in the table.
const ROWS: u32 = 100_000;
/// Changed rows in a backlog, and in each of its commits.
const CHANGES: u32 = 400_000;
const PER_COMMIT: u32 = 20;
const ROUNDS: usize = 5;

/// The time limit for a backlog.
const BACKLOG_TIMEOUT: Duration = Duration::from_secs(120);

/// The interval at which a node's position is read.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// The measured parts of Tidegate; also the names of their slots.
const PARTS: [&str; 3] = ["feed", "memory", "redis"];

pub(crate) fn measure() -> Result<Part> {
    let servers = Servers::start(&[("synchronous_commit", "off")], ROWS)?;
    servers.sql(
        "create procedure churn(commits int, size int, total int) language plpgsql as $$ begin \
         for n in 0 .. commits - 1 loop \
           update products set price_cents = price_cents + 1 \
             where id > (n * size) % total and id <= (n * size) % total + size; \
           commit; \
         end loop; end $$",
    )?;
    // Each leaves its slot, and the first one the publication.
    for part in &PARTS[1..] {
        servers.node(|config| with(config, part))?.process.terminate(DEADLINE)?;
    }
    commits(&servers, Lsn::ZERO)?;
    servers.sql("select pg_create_logical_replication_slot('bare', 'pgoutput')")?;
    let (mut bare, mut ours) = (Vec::new(), [Vec::new(), Vec::new(), Vec::new()]);
    for round in 0..ROUNDS {
        let count = CHANGES / PER_COMMIT;
        servers.sql(&format!("call churn({count}, {PER_COMMIT}, {ROWS})"))?;
        let end: Lsn = servers.sql("select pg_current_wal_insert_lsn()")?.trim().parse()?;
        // In a rotating order.
        for turn in 0..=PARTS.len() {
            match (round + turn) % (PARTS.len() + 1) {
                0 => bare.push(read(&servers, end)?),
                1 => ours[0].push(commits(&servers, end)?),
                part => ours[part - 1].push(follow(&servers, PARTS[part - 1], end)?),
            }
        }
        log_line(&format!(
            "  rows/s: bare {:.0}, feed {:.0}, memory {:.0}, redis {:.0}",
            bare[round], ours[0][round], ours[1][round], ours[2][round]
        ));
    }
    let ratio = |ours: &[f64]| {
        let each: Vec<f64> = ours.iter().zip(&bare).map(|(ours, bare)| ours / bare).collect();
        median(&each)
    };
    let mut table = Table::new(["reader", "rows/s, median", "least–most", "of bare, median"]);
    for (name, rates) in [
        ("bare reader", &bare),
        ("the feed alone", &ours[0]),
        ("tidegate, memory:", &ours[1]),
        ("tidegate, Redis", &ours[2]),
    ] {
        let (least, most) = (
            rates.iter().copied().fold(f64::MAX, f64::min),
            rates.iter().copied().fold(0.0, f64::max),
        );
        table.row([
            name.into(),
            format!("{:.0}", median(rates)),
            format!("{least:.0}–{most:.0}"),
            format!("{:.2}", ratio(rates)),
        ]);
    }
    Ok(Part {
        title: "A backlog of the log".into(),
        arguments: String::new(),
        how: vec![
            format!(
                "{CHANGES} updates of {ROWS} rows in commits of {PER_COMMIT} wait in PostgreSQL's log \
                 without a follower; then each reader processes them alone, in {ROUNDS} rounds in a \
                 rotating order. The bare reader is `pgwire-replication`, which decodes every row into \
                 text columns and does nothing with them. *The feed alone* is the crate `feed`: it \
                 decodes the rows, delivers them as whole commits in their order, and asks the \
                 database meanwhile which of them are visible (W); time runs from the start of the \
                 stream to the last commit."
            ),
            "*tidegate* is `tidegate serve` with the contract of the example, until its shared tier has \
             applied the last commit: it also maps each row to its key and two tags, derives the new \
             value of the entry (write-through), and applies that to two fences, the shared tier's \
             and its own. With `memory:` both are in the process; with Redis every row is three \
             tombstones and a message to the other nodes, in scripts of at most 1,000 subjects. \
             PostgreSQL, which decodes the log for all of them, and Redis share the machine's cores."
                .into(),
        ],
        figures: vec![
            Figure::at_least("rows/s of a backlog, feed against a bare decoder", ratio(&ours[0]), 0.7),
            Figure::at_least("rows/s of a backlog through both fences, memory:", ratio(&ours[1]), 0.8),
            Figure::at_least("rows/s of a backlog through both fences, Redis", ratio(&ours[2]), 0.5),
        ],
        table,
    })
}

/// Returns the example configuration with its own slot, on this shared tier, without tags of pages: the
/// number of subjects per row decides the figures, so it has to stay the same.
fn with(config: String, tier: &str) -> String {
    let lines = config.lines().filter(|line| !line.starts_with("page_tags"));
    let config: String = lines.flat_map(|line| [line, "\n"]).collect();
    let config = config.replace("[source.shop]\n", &format!("[source.shop]\nslot = \"{tier}\"\n"));
    if tier == "redis" {
        return config;
    }
    let redis = config.lines().find(|line| line.contains("redis://")).unwrap_or_default();
    config.replace(redis, "url = \"memory:\"")
}

/// Returns the rows per second at which a node processes the backlog.
fn follow(servers: &Servers, tier: &str, end: Lsn) -> Result<f64> {
    let mut node = servers.launch(|config| with(config, tier))?;
    node.process.wait_for_line("following the log", DEADLINE)?;
    let began = now();
    node.process.wait_for_http(node.admin, "/healthz", DEADLINE)?;
    loop {
        let applied: Lsn = if tier == "redis" {
            let applied = servers.redis.cli(&["hget", "{tg:0}:state", "applied"])?;
            Lsn(applied.trim().parse().unwrap_or_default())
        } else {
            let status = http::get(node.admin, "/api/v1/status", DEADLINE)?;
            let status: serde_json::Value = serde_json::from_slice(&status.body)?;
            status["applied"].as_str().context("a position")?.parse()?
        };
        if applied >= end {
            break;
        }
        ensure!(
            began.elapsed() < BACKLOG_TIMEOUT,
            "{tier}: {applied} of {end} after {BACKLOG_TIMEOUT:?}"
        );
        thread::sleep(POLL_INTERVAL);
    }
    let rate = f64::from(CHANGES) / began.elapsed().as_secs_f64();
    node.process.terminate(DEADLINE)?;
    Ok(rate)
}

/// Returns the rows per second at which the feed delivers the backlog.
fn commits(servers: &Servers, end: Lsn) -> Result<f64> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let columns = ["id", "category_id", "price_cents", "currency"].map(str::to_owned);
        let table = TrackedTable {
            table: "products".into(),
            columns: columns.to_vec(),
            key_columns: columns[..1].to_vec(),
            old_columns: columns[..2].to_vec(),
            every_column: false,
        };
        let url = servers.postgres.url_as("shop", "shop");
        let clock = Arc::new(SystemClock::start());
        let mut options = PostgresOptions::new("shop", url.parse()?, vec![table], clock);
        options.slot = PARTS[0].into();
        feed::postgres::prepare(&options).await?;
        let mut feed = PostgresFeed::new(options);
        let (mut began, mut rows) = (now(), 0);
        while rows < CHANGES as usize {
            match feed.next().await? {
                FeedEvent::Started(_) if end == Lsn::ZERO => return Ok(0.0),
                FeedEvent::Started(_) => began = now(),
                FeedEvent::Batch(batch) => {
                    rows += batch.commits.iter().map(|commit| commit.changes.len()).sum::<usize>();
                    feed.ack(batch.upto);
                }
                FeedEvent::Standby | FeedEvent::Lost(_) => {}
            }
            ensure!(began.elapsed() < BACKLOG_TIMEOUT, "{rows} rows after {BACKLOG_TIMEOUT:?}");
        }
        let rate = rows as f64 / began.elapsed().as_secs_f64();
        // The feed reports acknowledged positions to the server from time to time, once they are visible.
        let acknowledging = async {
            loop {
                if let Ok(FeedEvent::Batch(batch)) = feed.next().await {
                    feed.ack(batch.upto);
                }
            }
        };
        let _ = tokio::time::timeout(Duration::from_millis(500), acknowledging).await;
        ensure!(rows == CHANGES as usize, "{rows} rows");
        Ok(rate)
    })
}

/// The peer: returns the rows per second at which it decodes the backlog.
fn read(servers: &Servers, end: Lsn) -> Result<f64> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let address = servers.postgres.addr();
        let host = address.ip().to_string();
        let config = ReplicationConfig::new(host, "shop", "", "shop", "bare", "tidegate")
            .with_port(address.port())
            .with_status_interval(Duration::from_millis(100))
            .with_buffer_size(1_024);
        let mut client = ReplicationClient::connect(config).await?;
        let began = now();
        let (mut rows, mut columns) = (0_u32, 0);
        loop {
            match client.recv().await?.context("the stream ended")? {
                ReplicationEvent::XLogData { data, .. } => {
                    if let Some(row) = decode(&data) {
                        rows += 1;
                        columns += std::hint::black_box(row).len();
                    }
                }
                ReplicationEvent::Commit { end_lsn, .. } => client.update_applied_lsn(end_lsn),
                ReplicationEvent::KeepAlive { wal_end, .. } => client.update_applied_lsn(wal_end),
                _ => {}
            }
            if rows == CHANGES {
                break;
            }
        }
        let rate = f64::from(rows) / began.elapsed().as_secs_f64();
        ensure!(columns == 5 * CHANGES as usize, "{columns} columns in {rows} rows");
        // The next run starts after these.
        client.update_applied_lsn(pgwire_replication::Lsn::from_u64(end.0));
        tokio::time::sleep(Duration::from_millis(300)).await;
        Ok(rate)
    })
}

/// Decodes the new row of an update to text: `U`, relation, `N`, columns, each `n`, `u`, or `t`, length,
/// bytes.
fn decode(update: &[u8]) -> Option<Vec<Option<String>>> {
    let (count, mut rest) =
        update.strip_prefix(b"U")?.get(4..)?.strip_prefix(b"N")?.split_first_chunk()?;
    let mut row = Vec::with_capacity(usize::from(u16::from_be_bytes(*count)));
    for _ in 0..row.capacity() {
        let (kind, after) = rest.split_first()?;
        rest = after;
        if *kind != b't' {
            row.push(None);
            continue;
        }
        let (length, after) = rest.split_first_chunk()?;
        let (text, after) = after.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        row.push(Some(String::from_utf8_lossy(text).into_owned()));
        rest = after;
    }
    Some(row)
}
