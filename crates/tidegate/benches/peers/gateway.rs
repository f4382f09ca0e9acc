//! A cached page of 4 KB over keep-alive connections: Tidegate's gateway, nginx, bare hyper.

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
use crate::output::log_line;
use crate::process;
use crate::stack::{DEADLINE, Node, find, on_core};

/// Short, so that other load on the machine affects all servers alike.
const ROUND_S: u32 = 1;
const WARM_UP_S: u32 = 1;
const CONNECTIONS: u32 = 64;
const PATH: &str = "/p/42";

const TIDEGATE: &str = "tidegate";
pub(crate) const NGINX: &str = "nginx";
const NGINX_TUNED: &str = "nginx + open_file_cache";
const BARE: &str = "bare hyper";

/// The cores of the server and of wrk.
#[derive(Clone, Copy)]
pub(crate) struct CoreLayout {
    name: &'static str,
    server: Option<usize>,
    wrk: Option<usize>,
    workers: usize,
    rounds: usize,
}

impl CoreLayout {
    /// All cores for all.
    pub(crate) const FREE: Self =
        Self { name: "all cores for all", server: None, wrk: None, workers: 2, rounds: 9 };
}

/// A server under load.
pub(crate) struct Contender {
    pub(crate) name: &'static str,
    pub(crate) address: SocketAddr,
    pub(crate) pid: u32,
    /// Held because a drop stops it.
    _server: Box<dyn std::any::Any>,
    rounds: Vec<Round>,
}

/// The result of one run of wrk.
#[derive(Clone, Copy)]
struct Round {
    per_second: f64,
    p99_ms: f64,
    cpu_us: f64,
    /// The server's use, in cores.
    busy: f64,
}

pub(crate) fn measure() -> Result<Part> {
    let cores = std::thread::available_parallelism()?.get();
    ensure!(cores >= 2, "wrk needs a second core");
    let apart =
        CoreLayout { name: "a core each", server: Some(0), wrk: Some(1), workers: 1, rounds: 21 };
    let free = CoreLayout { workers: cores, ..CoreLayout::FREE };
    let mut table = Table::new([
        "cores",
        "server",
        "requests/s",
        "least–most",
        "p99 ms",
        "CPU µs/request",
        "cores busy",
    ]);
    let layouts = [apart, free];
    let apart = compare(apart, &mut table)?;
    compare(free, &mut table)?;
    // Ratios within each round, since the machine's speed varies more between rounds than within one.
    let against = |peer: &str| {
        let rates = |name: &str| {
            let found = apart.iter().find(|contender| contender.name == name);
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
                 Tidegate has the profile of the packages (`tidegate serve`, SQLite, `memory:`); nginx is \
                 Debian's with `proxy_cache`, access log off, `sendfile`, `tcp_nopush`, \
                 `keepalive_requests` raised (`open_file_cache`, which Debian's configuration \
                 does not have, in a second one); bare hyper answers the same bytes from memory, \
                 without parsing the request further. The application behind them used no CPU \
                 during the rounds, which shows that all answers came from the caches.",
                layouts[0].rounds, layouts[1].rounds,
            ),
            "With *a core each*, the server has one core (and as many workers) and wrk the other, \
             so requests/s is the throughput of one core of the server, unless wrk's core is full first \
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

fn compare(layout: CoreLayout, table: &mut Table) -> Result<Vec<Contender>> {
    let folder = tempfile::tempdir()?;
    let application = bare(None)?;
    let upstream = application.address;
    let mut contenders = vec![
        tidegate(layout, folder.path(), upstream)?.0,
        nginx(NGINX, layout, upstream, "")?,
        nginx(NGINX_TUNED, layout, upstream, "open_file_cache max=1000 inactive=1h;")?,
        Contender { name: BARE, ..bare(layout.server)? },
    ];
    for contender in &contenders {
        contender.check()?;
        wrk(contender.address, layout, WARM_UP_S)?;
    }
    let before = process::cpu_seconds(application.pid)?;
    for round in 1..=layout.rounds {
        contenders.shuffle(&mut rand::rng());
        for contender in &mut contenders {
            let measured = contender.round(layout)?;
            contender.rounds.push(measured);
        }
        let rates = contenders.iter().filter_map(|contender| {
            let last = contender.rounds.last()?;
            Some(format!("{} {:.0}/s", contender.name, last.per_second))
        });
        let rates = rates.collect::<Vec<_>>().join(", ");
        log_line(&format!("  {}, round {round}: {rates}", layout.name));
    }
    let used = process::cpu_seconds(application.pid)? - before;
    ensure!(used < 0.1, "the application was busy for {used} s: not all answers were cached");
    contenders.sort_by_key(|contender| contender.name != TIDEGATE);
    for contender in &contenders {
        let rates = contender.each(|round| round.per_second);
        let (least, most) = rates
            .iter()
            .fold((f64::INFINITY, 0.0), |(least, most), rate| (rate.min(least), rate.max(most)));
        table.row([
            layout.name.into(),
            contender.name.into(),
            format!("{:.0}", median(&rates)),
            format!("{least:.0}–{most:.0}"),
            format!("{:.2}", median(&contender.each(|round| round.p99_ms))),
            format!("{:.1}", median(&contender.each(|round| round.cpu_us))),
            format!("{:.2}", median(&contender.each(|round| round.busy))),
        ]);
    }
    Ok(contenders)
}

impl Contender {
    pub(crate) fn check(&self) -> Result<()> {
        for _ in 0..3 {
            let answer = http::get(self.address, PATH, DEADLINE)?;
            let valid = answer.status == 200 && answer.body.len() == PAGE_BYTES;
            ensure!(valid, "{} answers {} with {}", self.name, answer.status, answer.body.len());
        }
        Ok(())
    }

    fn round(&self, layout: CoreLayout) -> Result<Round> {
        let before = process::cpu_seconds(self.pid)?;
        let Load { requests, seconds, p99_ms } = wrk(self.address, layout, ROUND_S)?;
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

/// Starts Tidegate. Returns it with the address of its admin listener.
pub(crate) fn tidegate(
    layout: CoreLayout,
    folder: &Path,
    upstream: SocketAddr,
) -> Result<(Contender, SocketAddr)> {
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
gateway_connections_per_client = 32768

[edge]
head_timeout = "120s"

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
    let node = Node::start(folder, &config, layout.server)?;
    let (address, admin, pid) = (node.gateway, node.admin, node.process.id());
    let _server = Box::new(node);
    Ok((Contender { name: TIDEGATE, address, pid, _server, rounds: Vec::new() }, admin))
}

pub(crate) fn nginx(
    name: &'static str,
    layout: CoreLayout,
    upstream: SocketAddr,
    more: &str,
) -> Result<Contender> {
    let folder = RefCell::new(PathBuf::new());
    let server = Nginx::start(layout.workers, |site| {
        site.folder.clone_into(&mut folder.borrow_mut());
        format!(
            "sendfile on; tcp_nopush on; tcp_nodelay on;
             keepalive_timeout 120; keepalive_requests 1000000; {more}
             proxy_cache_path {}/cache levels=1:2 keys_zone=pages:10m max_size=1g inactive=1h;
             upstream application {{ server {upstream}; keepalive 16; }}
             server {{
               listen {} backlog=4096;
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
    // nginx listens before it writes its pid file.
    let pid = harness::until("nginx's process number", DEADLINE, || {
        Ok(process::pid_from_file(&pid_file))
    })?;
    if let Some(core) = layout.server {
        process::move_to_core(pid, core)?;
    }
    let address = server.addr();
    Ok(Contender { name, address, pid, _server: Box::new(server), rounds: Vec::new() })
}

/// Starts this program as [`crate::bare`].
pub(crate) fn bare(core: Option<usize>) -> Result<Contender> {
    let port = Port::reserve()?;
    let mut server = start_bare(core, &port)?;
    server.wait_for_http(port.addr(), PATH, DEADLINE)?;
    let (address, pid) = (port.addr(), server.id());
    Ok(Contender { name: "", address, pid, _server: Box::new(server), rounds: Vec::new() })
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

fn wrk(address: SocketAddr, layout: CoreLayout, seconds: u32) -> Result<Load> {
    let mut command = match layout.wrk {
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
    parse(&text).with_context(|| format!("output of wrk: {text}"))
}

/// Parses `  99%    1.23ms` and `  123456 requests in 4.00s, 500MB read`.
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
