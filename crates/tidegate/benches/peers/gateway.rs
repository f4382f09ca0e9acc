//! A cached page of 4 KB, over connections that stay open: Tidegate's gateway, nginx, bare hyper.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use harness::{Nginx, Port, Process, http};
use rand::seq::SliceRandom;

use crate::bare::PAGE_BYTES;
use crate::figure::{Figure, Part, Table, median};
use crate::stack::{Node, SOON, find, on_core};
use crate::{process, say};

/// Short, so that whatever else the machine does falls on all servers alike.
const ROUND_S: u32 = 1;
const WARM_UP_S: u32 = 1;
const CONNECTIONS: u32 = 64;
const PATH: &str = "/p/42";

const TIDEGATE: &str = "tidegate";
const NGINX: &str = "nginx";
const NGINX_TUNED: &str = "nginx + open_file_cache";
const BARE: &str = "bare hyper";

/// Who may use which cores.
#[derive(Clone, Copy)]
struct Place {
    name: &'static str,
    server: Option<usize>,
    wrk: Option<usize>,
    workers: usize,
    rounds: usize,
}

/// A server under load.
struct Contestant {
    name: &'static str,
    address: SocketAddr,
    pid: u32,
    /// Keeps it running.
    _server: Box<dyn std::any::Any>,
    rounds: Vec<Round>,
}

/// What one run of wrk brought.
#[derive(Clone, Copy)]
struct Round {
    per_second: f64,
    p99_ms: f64,
    cpu_us: f64,
    /// Of the server, in cores.
    busy: f64,
}

pub(crate) fn measure() -> Result<Part> {
    let cores = std::thread::available_parallelism()?.get();
    ensure!(cores >= 2, "wrk needs a core beside the server's");
    let apart =
        Place { name: "a core each", server: Some(0), wrk: Some(1), workers: 1, rounds: 21 };
    let free =
        Place { name: "all cores for all", server: None, wrk: None, workers: cores, rounds: 9 };
    let mut table = Table::new([
        "cores",
        "server",
        "requests/s",
        "least–most",
        "p99 ms",
        "CPU µs/request",
        "cores busy",
    ]);
    let places = [apart, free];
    let apart = contest(apart, &mut table)?;
    contest(free, &mut table)?;
    // Round by round, since the machine's mood changes between rounds more than within one.
    let against = |peer: &str| {
        let rates = |name: &str| {
            let found = apart.iter().find(|contestant| contestant.name == name);
            found.map(|found| found.each(|round| round.per_second)).unwrap_or_default()
        };
        let pairs = rates(TIDEGATE).into_iter().zip(rates(peer));
        median(&pairs.map(|(ours, theirs)| ours / theirs).collect::<Vec<_>>())
    };
    Ok(Part {
        title: "Gateway: a cached page".into(),
        arguments: String::new(),
        how: vec![
            format!(
                "A page of {PAGE_BYTES} bytes from each server's cache, over {CONNECTIONS} \
                 keep-alive connections of `wrk -t1 -c{CONNECTIONS}`: {} and {} rounds of \
                 {ROUND_S} s per server after a warm-up, in shuffled order within each round. \
                 Ratios are medians of the rounds' ratios; the table has medians of all rounds. \
                 Tidegate is the release binary (`tidegate serve`, SQLite, `memory:`); nginx is \
                 Debian's with `proxy_cache`, access log off, `sendfile`, `tcp_nopush`, \
                 `keepalive_requests` raised (`open_file_cache`, which Debian's configuration \
                 does not have, in a second one); bare hyper answers the same bytes from memory, \
                 without looking at the request. The application behind them used no CPU during \
                 the rounds, which shows that all answers came from the caches.",
                places[0].rounds, places[1].rounds,
            ),
            "With *a core each*, the server has one core (and as many workers) and wrk the other, \
             so requests/s is what one core of the server does, unless wrk's core is full first \
             (then the server's is not: see *cores busy*). The figures above are these. With *all \
             cores for all*, wrk takes its share from the server it measures, and a cheap server \
             feeds a hungrier wrk, which hides differences; CPU µs/request (of the server's \
             processes, from `/proc`) is the better measure there."
                .into(),
        ],
        figures: vec![
            Figure::at_least(
                "cached page, requests/s against nginx proxy_cache",
                against(NGINX),
                1.4,
            ),
            Figure::at_least("cached page, requests/s against bare hyper", against(BARE), 0.85),
        ],
        table,
    })
}

fn contest(place: Place, table: &mut Table) -> Result<Vec<Contestant>> {
    let folder = tempfile::tempdir()?;
    let application = bare(None)?;
    let upstream = application.address;
    let mut contestants = vec![
        tidegate(place, folder.path(), upstream)?,
        nginx(NGINX, place, upstream, "")?,
        nginx(NGINX_TUNED, place, upstream, "open_file_cache max=1000 inactive=1h;")?,
        Contestant { name: BARE, ..bare(place.server)? },
    ];
    for contestant in &contestants {
        contestant.check()?;
        wrk(contestant.address, place, WARM_UP_S)?;
    }
    let before = process::cpu_seconds(application.pid)?;
    for round in 1..=place.rounds {
        contestants.shuffle(&mut rand::rng());
        for contestant in &mut contestants {
            let measured = contestant.round(place)?;
            contestant.rounds.push(measured);
        }
        let rates = contestants.iter().filter_map(|contestant| {
            let last = contestant.rounds.last()?;
            Some(format!("{} {:.0}/s", contestant.name, last.per_second))
        });
        let rates = rates.collect::<Vec<_>>().join(", ");
        say(&format!("  {}, round {round}: {rates}", place.name));
    }
    let used = process::cpu_seconds(application.pid)? - before;
    ensure!(used < 0.1, "the application was busy for {used} s: not all answers were cached");
    contestants.sort_by_key(|contestant| contestant.name != TIDEGATE);
    for contestant in &contestants {
        let rates = contestant.each(|round| round.per_second);
        let (least, most) = rates
            .iter()
            .fold((f64::INFINITY, 0.0), |(least, most), rate| (rate.min(least), rate.max(most)));
        table.row([
            place.name.into(),
            contestant.name.into(),
            format!("{:.0}", median(&rates)),
            format!("{least:.0}–{most:.0}"),
            format!("{:.2}", median(&contestant.each(|round| round.p99_ms))),
            format!("{:.1}", median(&contestant.each(|round| round.cpu_us))),
            format!("{:.2}", median(&contestant.each(|round| round.busy))),
        ]);
    }
    Ok(contestants)
}

impl Contestant {
    fn check(&self) -> Result<()> {
        for _ in 0..3 {
            let answer = http::get(self.address, PATH, SOON)?;
            let right = answer.status == 200 && answer.body.len() == PAGE_BYTES;
            ensure!(right, "{} answers {} with {}", self.name, answer.status, answer.body.len());
        }
        Ok(())
    }

    fn round(&self, place: Place) -> Result<Round> {
        let before = process::cpu_seconds(self.pid)?;
        let Load { requests, seconds, p99_ms } = wrk(self.address, place, ROUND_S)?;
        let cpu = process::cpu_seconds(self.pid)? - before;
        Ok(Round {
            per_second: requests / seconds,
            p99_ms,
            cpu_us: cpu * 1e6 / requests,
            busy: cpu / seconds,
        })
    }

    fn each(&self, figure: impl Fn(&Round) -> f64) -> Vec<f64> {
        self.rounds.iter().map(figure).collect()
    }
}

fn tidegate(place: Place, folder: &Path, upstream: SocketAddr) -> Result<Contestant> {
    let database = rusqlite::Connection::open(folder.join("shop.db"))?;
    database.execute_batch(
        "create table products(id integer primary key, price_cents integer, currency text);
         insert into products values (42, 999, 'GBP');",
    )?;
    let config = format!(
        r#"[listen]
gateway = "127.0.0.1:8080"
data    = "127.0.0.1:9170"
admin   = "127.0.0.1:9180"

[source.shop]
url = "sqlite:{}"

[upstream]
url = "http://{upstream}"

[data.product_price]
key       = "v1:shop:price:{{id}}"
value     = "select price_cents, currency from products where id = $id"
from      = {{ source = "shop", table = "products", key = "id", columns = ["price_cents", "currency"] }}
tags      = ["product-{{id}}"]
staleness = "1s"
unproven  = "read-origin"
owner     = "pricing"
approved  = {{ by = ["product"], on = 2026-11-02 }}
"#,
        folder.join("shop.db").display()
    );
    let node = Node::start(folder, &config, place.server)?;
    let (address, pid) = (node.gateway, node.process.id());
    Ok(Contestant { name: TIDEGATE, address, pid, _server: Box::new(node), rounds: Vec::new() })
}

fn nginx(name: &'static str, place: Place, upstream: SocketAddr, more: &str) -> Result<Contestant> {
    let folder = RefCell::new(PathBuf::new());
    let server = Nginx::start(place.workers, |site| {
        site.folder.clone_into(&mut folder.borrow_mut());
        format!(
            "sendfile on; tcp_nopush on; tcp_nodelay on;
             keepalive_timeout 65; keepalive_requests 1000000; {more}
             proxy_cache_path {}/cache levels=1:2 keys_zone=pages:10m max_size=1g inactive=1h;
             upstream application {{ server {upstream}; keepalive 16; }}
             server {{
               listen {} backlog=1024;
               location / {{
                 proxy_pass http://application;
                 proxy_http_version 1.1;
                 proxy_set_header Connection '';
                 proxy_cache pages;
                 proxy_cache_lock on;
                 proxy_cache_valid 200 1h;
               }}
             }}",
            site.folder.display(),
            site.listen,
        )
    })?;
    let pid_file = folder.into_inner().join("nginx.pid");
    // It listens before it writes that.
    let pid = harness::until("nginx's process number", SOON, || Ok(process::in_file(&pid_file)))?;
    if let Some(core) = place.server {
        process::move_to_core(pid, core)?;
    }
    let address = server.addr();
    Ok(Contestant { name, address, pid, _server: Box::new(server), rounds: Vec::new() })
}

/// This program as [`crate::bare`].
fn bare(core: Option<usize>) -> Result<Contestant> {
    let port = Port::reserve()?;
    let mut server = start_bare(core, &port)?;
    server.wait_for_http(port.addr(), PATH, SOON)?;
    let (address, pid) = (port.addr(), server.id());
    Ok(Contestant { name: "", address, pid, _server: Box::new(server), rounds: Vec::new() })
}

fn start_bare(core: Option<usize>, port: &Port) -> Result<Process> {
    let this = std::env::current_exe()?;
    on_core(core, &this)?.arg("bare").arg(port.number().to_string()).start()
}

struct Load {
    requests: f64,
    seconds: f64,
    p99_ms: f64,
}

fn wrk(address: SocketAddr, place: Place, seconds: u32) -> Result<Load> {
    let mut command = match place.wrk {
        Some(core) => {
            let mut taskset = Command::new(find("taskset")?);
            taskset.arg("--cpu-list").arg(core.to_string()).arg("wrk");
            taskset
        }
        None => Command::new("wrk"),
    };
    command.args(["--threads", "1", "--latency"]);
    command.arg("--connections").arg(CONNECTIONS.to_string());
    command.arg("--duration").arg(format!("{seconds}s"));
    let output = command.arg(format!("http://{address}{PATH}")).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() || text.contains("Non-2xx") || text.contains("Socket errors") {
        bail!("wrk: {text}{}", String::from_utf8_lossy(&output.stderr));
    }
    parse(&text).with_context(|| format!("wrk said {text}"))
}

/// `  99%    1.23ms` and `  123456 requests in 4.00s, 500MB read`.
fn parse(text: &str) -> Option<Load> {
    let lines = || text.lines().map(str::trim);
    let total = lines().find(|line| line.contains(" requests in "))?;
    let (requests, rest) = total.split_once(" requests in ")?;
    let p99 = lines().find_map(|line| line.strip_prefix("99%"))?;
    Some(Load {
        requests: requests.parse().ok()?,
        seconds: time(rest.split(',').next()?)?.as_secs_f64(),
        p99_ms: time(p99.trim())?.as_secs_f64() * 1e3,
    })
}

fn time(text: &str) -> Option<Duration> {
    let unit = text.find(|c: char| c.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at(unit);
    let unit = match unit {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        _ => return None,
    };
    Some(Duration::from_secs_f64(number.parse::<f64>().ok()? * unit))
}
