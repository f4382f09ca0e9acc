//! The time from a commit to its value in an answer, compared with a bare reader of the same log.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc as blocking;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use pgwire_replication::{ReplicationClient, ReplicationConfig, ReplicationEvent};
use tokio::sync::mpsc;
use tokio_postgres::NoTls;

use crate::figure::{Figure, Part, Table, median, quantile};
use crate::http1::Connection;
use crate::output::{log_line, now};
use crate::stack::{DEADLINE, Servers};

const RUN: Duration = Duration::from_secs(30);
const WARM_UP: Duration = Duration::from_secs(3);

/// Rows whose updates are watched, one after another, each about once a second.
const WATCHED_ROWS: u32 = 100;
const WATCH_EVERY: Duration = Duration::from_millis(10);
/// The pause between an answer with the old price and the next request.
const PAUSE: Duration = Duration::from_micros(50);
/// Further rows that are updated, by this many connections.
const OTHER_ROWS: u32 = 10_000;
const WRITERS: u32 = 2;
const WRITE_EVERY: Duration = Duration::from_millis(5);

/// The first price of watched updates, which are all different; other updates stay below it.
const FIRST_WATCHED_PRICE: u32 = 1_000_000;

/// A watched update to make.
struct UpdateRequest {
    row: u32,
    price: u32,
}

/// The times of a watched update.
#[derive(Clone, Copy)]
struct Commit {
    price: u32,
    /// Just before COMMIT was sent.
    sent: Instant,
    /// When its answer arrived.
    acknowledged: Instant,
}

/// The times at which prices were first seen.
type FirstSeen = HashMap<u32, Instant>;

/// The observations of the data API's reader.
#[derive(Default)]
struct Watch {
    seen: FirstSeen,
    /// The durations of the answers with the new price, in ms.
    answers: Vec<f64>,
    polls: u64,
    polling: Duration,
    /// Watches that began with an entry in the in-process tier.
    cached: u64,
}

pub(crate) fn measure() -> Result<Part> {
    let lasting = run(&[], "default")?;
    let instant = run(&[("fsync", "off")], "fsync off")?;
    let mut table = Table::new(["PostgreSQL", "what", "p50 ms", "p90 ms", "p99 ms", "most ms"]);
    lasting.rows(&mut table);
    instant.rows(&mut table);
    Ok(Part {
        title: "Commit → new value served".into(),
        arguments: String::new(),
        how: vec![
            format!(
                "PostgreSQL, Redis and one `tidegate serve` on loopback, 500 updates/s for {} s \
                 ({:.0} and {:.0} were reached). A fifth of the updates is watched: each sets \
                 another price on a row whose value is in the in-process tier. Time runs from just \
                 before COMMIT is sent until (Tidegate) a `GET` on the data API has returned the \
                 new price, and (the peer) a bare `pgwire-replication` reader with a slot of its \
                 own, in the same run, has received the row. So the commit itself is in both; the \
                 rows *from acknowledgement* leave it out.",
                RUN.as_secs(),
                lasting.updates_per_s,
                instant.updates_per_s,
            ),
            format!(
                "One reader polls the value {} µs after each answer (a round every {:.0} µs with \
                 the answer itself), from COMMIT until it sees the new price; without the pause it \
                 would take a core from the measured processes. Half a \
                 round is counted against Tidegate on average. The contract's value is its row, so \
                 the commit renews it in both tiers (write-through) and nothing is loaded. All \
                 processes share {} cores.",
                PAUSE.as_micros(),
                lasting.poll_us,
                thread::available_parallelism()?,
            ),
            format!(
                "*Default* is PostgreSQL's own configuration on this machine's disk, from which the \
                 figures above are. *fsync off* leaves out the time of the disk, which is the same \
                 for both and hides Tidegate's share: there the ratio is {:.2}× (p50) \
                 and {:.2}× (p99).",
                instant.ratio(0.5),
                instant.ratio(0.99),
            ),
        ],
        figures: vec![
            Figure::at_most("commit → served against bare reader, p50", lasting.ratio(0.5), 2.0),
            Figure::at_most("commit → served against bare reader, p99", lasting.ratio(0.99), 2.0),
        ],
        table,
    })
}

/// One run's times, in ms.
struct Run {
    name: &'static str,
    served: Vec<f64>,
    received: Vec<f64>,
    acknowledged: Vec<f64>,
    served_after: Vec<f64>,
    received_after: Vec<f64>,
    answers: Vec<f64>,
    updates_per_s: f64,
    poll_us: f64,
}

impl Run {
    fn ratio(&self, q: f64) -> f64 {
        quantile(&self.served, q) / quantile(&self.received, q)
    }

    fn rows(&self, table: &mut Table) {
        for (what, times) in [
            ("served by Tidegate", &self.served),
            ("received by the bare reader", &self.received),
            ("commit acknowledged", &self.acknowledged),
            ("of served: the answer with the new price", &self.answers),
            ("served, from acknowledgement", &self.served_after),
            ("received, from acknowledgement", &self.received_after),
        ] {
            let at = |q| format!("{:.2}", quantile(times, q));
            let (name, what) = (self.name.to_owned(), what.to_owned());
            table.row([name, what, at(0.5), at(0.9), at(0.99), at(1.0)]);
        }
    }
}

fn run(settings: &[(&str, &str)], name: &'static str) -> Result<Run> {
    let servers = Servers::start(settings, WATCHED_ROWS + OTHER_ROWS)?;
    let node = servers.node(|config| config)?;
    servers.postgres.psql_in("shop", "create publication bare for table products")?;
    let make = "select pg_create_logical_replication_slot('bare', 'pgoutput')";
    servers.postgres.psql_in("shop", make)?;

    let [stop_reader, stop_writers] = [(); 2].map(|()| Arc::new(AtomicBool::new(false)));
    let updates = Arc::new(AtomicU64::new(0));
    let (requests, inbox) = mpsc::channel(1);
    let (go, gone) = blocking::sync_channel(1);
    let url = servers.postgres.url_as("shop", "shop");
    let bare = thread::spawn({
        let (at, stop) = (servers.postgres.addr(), Arc::clone(&stop_reader));
        move || receive(at, &stop)
    });
    let writers = thread::spawn({
        let (stop, updates) = (Arc::clone(&stop_writers), Arc::clone(&updates));
        move || write(&url, inbox, &go, &stop, &updates)
    });
    thread::sleep(WARM_UP);
    let (began, before) = (now(), updates.load(Ordering::Relaxed));
    let watch = watch(node.data, &requests, &gone);
    let updates_per_s =
        (updates.load(Ordering::Relaxed) - before) as f64 / began.elapsed().as_secs_f64();
    // The last rows are in flight to the bare reader, which checks for the stop at the next one.
    thread::sleep(Duration::from_millis(500));
    stop_reader.store(true, Ordering::Relaxed);
    let received = bare.join().expect("the reader does not panic")?;
    stop_writers.store(true, Ordering::Relaxed);
    drop(requests);
    let made = writers.join().expect("the writers do not panic")?;
    let watch = watch?;
    ensure!(watch.cached * 10 >= watch.seen.len() as u64 * 9, "values were not in the tier");

    let mut run = Run {
        name,
        served: Vec::new(),
        received: Vec::new(),
        acknowledged: Vec::new(),
        served_after: Vec::new(),
        received_after: Vec::new(),
        answers: watch.answers,
        updates_per_s,
        poll_us: watch.polling.as_secs_f64() * 1e6 / watch.polls as f64,
    };
    for Commit { price, sent, acknowledged } in made {
        let (served, received) = (watch.seen.get(&price), received.get(&price));
        let served = *served.with_context(|| format!("{price} was never served"))?;
        let received = *received.with_context(|| format!("{price} was never received"))?;
        run.served.push(ms(sent, served));
        run.received.push(ms(sent, received));
        run.acknowledged.push(ms(sent, acknowledged));
        run.served_after.push(ms(acknowledged, served));
        run.received_after.push(ms(acknowledged, received));
    }
    log_line(&format!(
        "  {name}: {} watched of {updates_per_s:.0} updates/s: served after {:.2} ms ({:.2} of it \
         the last answer), received after {:.2} ms (p50)",
        run.served.len(),
        median(&run.served),
        median(&run.answers),
        median(&run.received),
    ));
    Ok(run)
}

/// Returns the time from `from` to `to`, negative where `to` is earlier: a row can be received before its
/// commit is acknowledged.
fn ms(from: Instant, to: Instant) -> f64 {
    let after = to.saturating_duration_since(from).as_secs_f64();
    let before = from.saturating_duration_since(to).as_secs_f64();
    (after - before) * 1e3
}

/// Requests an update every [`WATCH_EVERY`] and polls the row until the new price is served.
fn watch(
    data: SocketAddr,
    requests: &mpsc::Sender<UpdateRequest>,
    gone: &blocking::Receiver<Instant>,
) -> Result<Watch> {
    let mut connection = Connection::open(data)?;
    let mut watch = Watch::default();
    let began = now();
    let mut due = began;
    for step in 0.. {
        if began.elapsed() >= RUN {
            break;
        }
        thread::sleep(due.saturating_duration_since(now()));
        due = (due + WATCH_EVERY).max(now());
        let (row, price) = (1 + step % WATCHED_ROWS, FIRST_WATCHED_PRICE + step);
        let path = format!("/data/product_price/{row}");
        for _ in 0..3 {
            if connection.get(&path)?.head.contains("tier=local") {
                watch.cached += 1;
                break;
            }
        }
        requests.blocking_send(UpdateRequest { row, price }).context("the writer has ended")?;
        let sent = gone.recv_timeout(DEADLINE).context("no commit")?;
        let new = format!("\"price_cents\":{price},");
        loop {
            let asked = now();
            let answer = connection.get(&path)?;
            ensure!(answer.status == 200, "{} {}", answer.status, answer.head);
            let is_new = answer.body.windows(new.len()).any(|part| part == new.as_bytes());
            let at = now();
            if is_new {
                watch.answers.push(ms(asked, at));
                watch.seen.insert(price, at);
                break;
            }
            thread::sleep(PAUSE);
            watch.polls += 1;
            watch.polling += asked.elapsed();
            ensure!(at - sent < DEADLINE, "{path} does not change to {price}");
        }
    }
    Ok(watch)
}

/// Makes all updates; returns the times of the watched ones.
fn write(
    url: &str,
    requests: mpsc::Receiver<UpdateRequest>,
    go: &blocking::SyncSender<Instant>,
    stop: &Arc<AtomicBool>,
    updates: &Arc<AtomicU64>,
) -> Result<Vec<Commit>> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        for writer in 0..WRITERS {
            let (stop, updates) = (Arc::clone(stop), Arc::clone(updates));
            let client = connect(url).await?;
            let sql = "update products set price_cents = $1 where id = $2";
            let update = client.prepare(sql).await?;
            tokio::spawn(async move {
                let mut ticks = tokio::time::interval(WRITE_EVERY);
                let mut step = writer;
                while !stop.load(Ordering::Relaxed) {
                    ticks.tick().await;
                    step += WRITERS;
                    let row = i32::try_from(WATCHED_ROWS + 1 + step % OTHER_ROWS)?;
                    let price = i32::try_from(step % FIRST_WATCHED_PRICE)?;
                    client.execute(&update, &[&price, &row]).await?;
                    updates.fetch_add(1, Ordering::Relaxed);
                }
                anyhow::Ok(())
            });
        }
        make(url, requests, go, updates).await
    })
}

async fn make(
    url: &str,
    mut requests: mpsc::Receiver<UpdateRequest>,
    go: &blocking::SyncSender<Instant>,
    updates: &AtomicU64,
) -> Result<Vec<Commit>> {
    let client = connect(url).await?;
    let update = client.prepare("update products set price_cents = $1 where id = $2").await?;
    let mut all = Vec::new();
    while let Some(UpdateRequest { row, price }) = requests.recv().await {
        client.batch_execute("begin").await?;
        client.execute(&update, &[&i32::try_from(price)?, &i32::try_from(row)?]).await?;
        let sent = now();
        go.send(sent)?;
        client.batch_execute("commit").await?;
        all.push(Commit { price, sent, acknowledged: now() });
        updates.fetch_add(1, Ordering::Relaxed);
    }
    Ok(all)
}

async fn connect(url: &str) -> Result<tokio_postgres::Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// The peer: records when a watched row arrives, and does nothing else.
fn receive(postgres: SocketAddr, stop: &AtomicBool) -> Result<FirstSeen> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let host = postgres.ip().to_string();
        let config = ReplicationConfig::new(host, "shop", "", "shop", "bare", "bare")
            .with_port(postgres.port())
            .with_status_interval(Duration::from_millis(100));
        let mut client = ReplicationClient::connect(config).await?;
        let mut seen = FirstSeen::new();
        while !stop.load(Ordering::Relaxed) {
            match client.recv().await?.context("the stream ended")? {
                ReplicationEvent::XLogData { wal_end, data, .. } => {
                    let price = price(&data).filter(|price| *price >= FIRST_WATCHED_PRICE);
                    if let Some(price) = price {
                        seen.insert(price, now());
                    }
                    client.update_applied_lsn(wal_end);
                }
                ReplicationEvent::Commit { end_lsn, .. } => client.update_applied_lsn(end_lsn),
                _ => {}
            }
        }
        Ok(seen)
    })
}

/// Returns the fourth column of an update's new row in `pgoutput`: `U`, relation, `N`, columns, each `t`,
/// length, text. Rows without an old version only, by the table's replica identity.
fn price(update: &[u8]) -> Option<u32> {
    let mut rest = update.strip_prefix(b"U")?.get(4..)?.strip_prefix(b"N")?.get(2..)?;
    let mut text = "";
    for _ in 0..4 {
        let (length, after) = rest.strip_prefix(b"t")?.split_first_chunk()?;
        let (column, after) = after.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        text = std::str::from_utf8(column).ok()?;
        rest = after;
    }
    text.parse().ok()
}
