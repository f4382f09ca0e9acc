//! A thousand concurrent reads of one uncached key on two nodes, also while the node that loads it is killed.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::figure::{Figure, Part, Table};
use crate::http1;
use crate::output::{log_line, now};
use crate::stack::{DEADLINE, Node, Servers};

const READERS: usize = 1_000;
const TRIES: usize = 5;
const ORIGIN_MS: u32 = 200;
/// The time after the start of the holder's load; well before its end.
const KILL_AFTER: Duration = Duration::from_millis(100);

/// The results of a burst.
struct Burst {
    loads: usize,
    origin_ms: f64,
    /// The time from the burst's first request to its last answer.
    slowest_ms: f64,
    answered: usize,
    broken: usize,
}

pub(crate) fn measure() -> Result<Part> {
    // The origin's own times: PostgreSQL logs every statement that takes this long.
    let logged = format!("{}ms", ORIGIN_MS - 10);
    let servers = Servers::start(&[("log_min_duration_statement", &logged)], 100)?;
    create_slow_function(&servers)?;
    let mut nodes = [start(&servers)?, start(&servers)?];
    let mut row = 0;
    let mut table =
        Table::new(["holder", "loads", "origin ms", "slowest answer ms", "answered", "cut off"]);
    let mut healthy = Vec::new();
    for _ in 0..TRIES {
        row += 1;
        let burst = burst(&servers, &mut nodes, row, false)?;
        ensure!(burst.answered == READERS, "{} of {READERS} were answered", burst.answered);
        burst.record("alive", &mut table);
        healthy.push(burst);
    }
    let mut killed = Vec::new();
    for _ in 0..TRIES {
        row += 1;
        let burst = burst(&servers, &mut nodes, row, true)?;
        burst.record("killed", &mut table);
        killed.push(burst);
        nodes[0] = start(&servers)?;
    }
    let loads = |bursts: &[Burst]| bursts.iter().map(|burst| burst.loads).collect::<Vec<_>>();
    let worst = healthy.iter().map(|burst| burst.slowest_ms / burst.origin_ms).fold(0.0, f64::max);
    Ok(Part {
        title: "A thousand cold requests for one key".into(),
        arguments: String::new(),
        how: vec![
            format!(
                "Two `tidegate serve` on one PostgreSQL and one Redis; {READERS} open connections, \
                 half to each, request one key at once. The contract's statement has \
                 `pg_sleep({})` in it. Loads are counted in PostgreSQL's log, where each writes a line at its start; *slowest answer* runs from the first request to the \
                 last answer of the burst. The auditor is off: it reads samples of the live answers \
                 from the database too, which would be counted.",
                f64::from(ORIGIN_MS) / 1e3
            ),
            format!(
                "In the second half, one request to the first node starts the load, the others \
                 follow, and {} ms after its start the node is killed with SIGKILL. Its readers \
                 are cut off; all those of the other node are answered, once the lease (2 s \
                 without a heartbeat) has run out.",
                KILL_AFTER.as_millis()
            ),
        ],
        figures: vec![
            Figure::exactly("origin requests", &loads(&healthy), 1),
            Figure::at_most("slowest answer of all tries against origin time", worst, 1.5),
            Figure::exactly("origin requests, holder killed", &loads(&killed), 2),
        ],
        table,
    })
}

impl Burst {
    fn record(&self, holder: &str, table: &mut Table) {
        let Self { loads, origin_ms, slowest_ms, answered, broken } = self;
        log_line(&format!(
            "  holder {holder}: {loads} loads, {answered} answered within {slowest_ms:.0} ms"
        ));
        table.row([
            holder.to_owned(),
            loads.to_string(),
            format!("{origin_ms:.1}"),
            format!("{slowest_ms:.0}"),
            answered.to_string(),
            broken.to_string(),
        ]);
    }
}

fn start(servers: &Servers) -> Result<Node> {
    let value = "select price_cents, currency from products where id = $id";
    let slow = format!(
        "select price_cents, currency from products, {SLOW_FUNCTION}({}) where id = $id",
        f64::from(ORIGIN_MS) / 1e3
    );
    // The auditor's comparisons with the database would count as loads.
    let quiet = "[audit]\nreads_per_second = 0\n";
    servers.node(|config| format!("{}\n{quiet}", config.replace(value, &slow)))
}

fn burst(servers: &Servers, nodes: &mut [Node; 2], row: u32, kill: bool) -> Result<Burst> {
    let (started_before, ended) = (loads_started(servers), slow_statements(servers).len());
    let path = format!("/data/product_price/{row}");
    let targets = [nodes[0].data, nodes[1].data];
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(1).enable_all().build()?;
    let first = if kill { 1 } else { 0 };
    let (start, started) = watch::channel(false);
    let ready = runtime.block_on(async {
        let mut ready = Vec::new();
        for reader in first..READERS {
            ready.push(TcpStream::connect(targets[reader % 2]).await?);
        }
        anyhow::Ok(ready)
    })?;
    let readers: Vec<_> = ready
        .into_iter()
        .map(|stream| runtime.spawn(read(stream, path.clone(), started.clone())))
        .collect();
    let began = now();
    if kill {
        let holder = runtime.spawn({
            let (target, path, go) = (targets[0], path.clone(), watch::channel(true).1);
            async move { read(TcpStream::connect(target).await?, path, go).await }
        });
        // Time to acquire the lease.
        thread::sleep(KILL_AFTER / 3);
        start.send_replace(true);
        thread::sleep((began + KILL_AFTER).saturating_duration_since(now()));
        nodes[0].process.kill9()?;
        let cut = runtime.block_on(holder)?;
        ensure!(cut.is_err(), "the holder had answered before it was killed");
    } else {
        start.send_replace(true);
    }
    let (mut answered, mut last) = (0, began);
    let mut broken = usize::from(kill);
    for reader in readers {
        match runtime.block_on(reader)? {
            Ok(at) => {
                answered += 1;
                last = last.max(at);
            }
            Err(_) if kill => broken += 1,
            Err(err) => return Err(err),
        }
    }
    ensure!(!kill || answered >= READERS / 2, "{answered} readers of the other node were answered");
    // The killed node's statement runs in PostgreSQL until its end.
    thread::sleep(Duration::from_millis(2 * u64::from(ORIGIN_MS)));
    Ok(Burst {
        loads: loads_started(servers) - started_before,
        origin_ms: slow_statements(servers)[ended..].iter().copied().fold(f64::NAN, f64::max),
        slowest_ms: (last - began).as_secs_f64() * 1e3,
        answered,
        broken,
    })
}

/// Sends the request once `go` is true; returns when the complete response had arrived.
async fn read(
    mut stream: TcpStream,
    path: String,
    mut go: watch::Receiver<bool>,
) -> Result<Instant> {
    stream.set_nodelay(true)?;
    let host: SocketAddr = stream.peer_addr()?;
    go.wait_for(|go| *go).await?;
    stream.write_all(http1::request(host, &path).as_bytes()).await?;
    let mut answer = Vec::new();
    let whole = async {
        while !http1::is_complete(&answer)? {
            ensure!(stream.read_buf(&mut answer).await? > 0, "the connection was cut");
        }
        Ok(now())
    };
    let at = tokio::time::timeout(DEADLINE, whole).await.context("no answer")??;
    let answer = http1::parse(&answer)?;
    ensure!(answer.status == 200, "{}: {}", answer.status, String::from_utf8_lossy(answer.body));
    Ok(at)
}

/// A function that sleeps and writes a line to the server's log: a statement whose client is gone may end
/// without one.
const SLOW_FUNCTION: &str = "slowly";

fn create_slow_function(servers: &Servers) -> Result<()> {
    servers.sql(&format!(
        "create function {SLOW_FUNCTION}(seconds float8) returns void language plpgsql as \
         $$ begin raise log '{LOAD_STARTED}'; perform pg_sleep(seconds); end $$"
    ))?;
    Ok(())
}

const LOAD_STARTED: &str = "a load started";

/// Returns the number of started loads, by the server's log.
fn loads_started(servers: &Servers) -> usize {
    servers
        .postgres
        .log()
        .iter()
        .filter(|line| line.contains(&format!("LOG:  {LOAD_STARTED}")))
        .count()
}

/// Returns the durations of the ended loads, in ms, by the server's log.
fn slow_statements(servers: &Servers) -> Vec<f64> {
    let lines = servers.postgres.log();
    let loads = lines.iter().filter(|line| line.contains(SLOW_FUNCTION));
    loads
        .filter_map(|line| {
            let (_, rest) = line.split_once("duration: ")?;
            rest.split_once(" ms")?.0.parse().ok()
        })
        .collect()
}
