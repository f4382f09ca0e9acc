//! Invalidations of a tag with many entries: hits of another contract meanwhile, by a benchmark of the crate
//! `cache`; and a purge through the gateway beside Varnish's xkey.

use std::net::SocketAddr;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use harness::{Port, Process, http};

use crate::figure::{Figure, Part, Table, median};
use crate::gateway::{self, CoreLayout};
use crate::http1::Connection;
use crate::options::Options;
use crate::output::{log_line, now};
use crate::stack::{DEADLINE, find};
use crate::tier::{number_after, run};

/// Entries on one tag, in the benchmark of the crate `cache`.
const ENTRIES: [u64; 3] = [20_000, 100_000, 1_000_000];

/// Pages with one tag, in the comparison.
const PAGES: u32 = 20_000;
const ROUNDS: usize = 7;

/// The tag of every page of [`crate::bare`].
const TAG: &str = "product-42";

pub(crate) fn measure(options: &Options) -> Result<Part> {
    let mut table = Table::new([
        "what",
        "entries",
        "none served after ms",
        "memory free after ms",
        "hits p50 ms",
        "hits p99 ms",
        "slowest hit ms",
        "p99 before ms",
        "p99 beside a thread that computes ms",
    ]);
    let mut figures = Vec::new();
    for entries in ENTRIES.into_iter().chain(options.entries) {
        let output = run("tags", &[&entries.to_string()])?;
        for way in ["commit", "purge"] {
            let line = output.lines().find(|line| line.trim().starts_with(way));
            let line = line.with_context(|| format!("nothing was output about a {way}"))?;
            let (before, meanwhile) = line.split_once("meanwhile:").context("hits meanwhile")?;
            let (meanwhile, beside) = meanwhile.split_once("beside").context("hits beside")?;
            let number =
                |text, name| number_after(text, name).with_context(|| format!("{name}? {line}"));
            let still = line.contains("(0 of");
            ensure!(still, "entries were served after the {way}: {line}");
            let unserved = number(before, "none served after ")?;
            let p99 = number(meanwhile, "p99 ")?;
            table.row([
                format!("{way} of a tag"),
                entries.to_string(),
                format!("{unserved:.3}"),
                format!("{:.0}", number(before, "memory free after ")?),
                format!("{:.3}", number(meanwhile, "p50 ")?),
                format!("{p99:.3}"),
                format!("{:.3}", number(meanwhile, "most ")?),
                format!("{:.3}", number(before, "p99 ")?),
                format!("{:.3}", number(beside, "p99 ")?),
            ]);
            let limit = if entries <= 20_000 { 2.0 } else { 5.0 };
            figures.push(at_most(
                &format!("{way} of {entries} entries until none is served"),
                unserved,
                limit,
            ));
            figures.push(at_most(
                &format!("p99 of other hits meanwhile, {way} of {entries} entries"),
                p99,
                1.0,
            ));
            // A shared machine's scheduler delays hits too; this ratio is the sweep's own part.
            let what =
                format!("the same against hits beside a thread that computes, {way} of {entries}");
            figures.push(Figure::at_most(&what, p99 / number(beside, "p99 ")?.max(0.05), 2.0));
        }
    }
    let [ours, varnish] = purges()?;
    let mut row = |server: &str, ms: f64| {
        let none = || String::from("–");
        let (what, ms) = (format!("purge of pages, {server}"), format!("{ms:.2}"));
        table.row([what, PAGES.to_string(), ms, none(), none(), none(), none(), none(), none()]);
    };
    row("tidegate", ours.context("Tidegate was not measured")?);
    if let (Some(ours), Some(varnish)) = (ours, varnish) {
        row("Varnish xkey", varnish);
        let what = format!("purge of {PAGES} pages until none is served, against Varnish's xkey");
        figures.push(Figure::at_most(&what, ours / varnish, 1.0));
    }
    Ok(Part {
        title: "A tag with many entries".into(),
        arguments: options.arguments.clone(),
        how: vec![
            "One commit, or one purge, invalidates all entries of a tag in the in-process tier. Meanwhile 5,000 \
             entries a second of another contract are read, each in a task of its own, from the time at which \
             the task is sent to the runtime (two workers) until its answer; *before* is the same without an \
             invalidation, and *beside a thread that computes* with one that works for as long as the sweep does between \
             its pauses, on nothing that hits use. *None served after* is the time until the commit is applied, or the purge has \
             returned; then one of a thousand entries each was read, and none was found. *Memory free after* \
             is the end of the sweep (`cargo bench -p cache --bench tags`)."
                .into(),
            format!(
                "Purge of pages: {PAGES} pages of 4 KB with one tag, through the gateway (profile of the packages, SQLite, \
                 `memory:`) and through Debian's Varnish with `xkey.purge`, from the request's being sent until a \
                 client that asks for one of the pages all the time gets a new one; then a sample of the others is read, \
                 and none is a hit. Medians of {ROUNDS} rounds. Without Varnish installed its row is missing."
            ),
        ],
        figures,
        table,
    })
}

fn at_most(what: &str, ms: f64, limit: f64) -> Figure {
    Figure {
        what: what.to_owned(),
        measured: format!("{ms:.3} ms"),
        target: format!("at most {limit} ms"),
        met: ms <= limit,
    }
}

/// A cache before the application.
struct Cache {
    address: SocketAddr,
    /// In the head of a response that is a hit.
    hit: &'static str,
    purge: Box<dyn Fn() -> Result<http::Response> + Send + Sync>,
}

/// Returns the median time of a purge in ms, of Tidegate and of Varnish.
fn purges() -> Result<[Option<f64>; 2]> {
    let folder = tempfile::tempdir()?;
    let application = gateway::bare(None)?;
    let layout = CoreLayout::FREE;
    let (node, admin) = gateway::tidegate(layout, folder.path(), application.address)?;
    let tidegate = Cache {
        address: node.address,
        hit: "tidegate; hit",
        purge: Box::new(move || {
            let body = format!("{{\"tags\":[\"{TAG}\"]}}");
            let json = [("content-type", "application/json")];
            http::request(admin, "POST", "/api/v1/purge", &json, body.as_bytes(), DEADLINE)
        }),
    };
    let port = Port::reserve()?;
    let varnish = start_varnish(folder.path(), &port, application.address);
    if let Err(err) = &varnish {
        log_line(&format!("  without Varnish: {err:#}"));
    }
    let address = port.addr();
    let xkey = Cache {
        address,
        hit: "x-cache: hit",
        purge: Box::new(move || {
            http::request(address, "PURGE", "/", &[("xkey-purge", TAG)], b"", DEADLINE)
        }),
    };
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        times[0].push(round(&tidegate)?);
        if varnish.is_ok() {
            times[1].push(round(&xkey)?);
        }
    }
    Ok(times.map(|times| (!times.is_empty()).then(|| median(&times))))
}

/// Fills the cache and purges it. Returns the time until none is served, in ms.
fn round(cache: &Cache) -> Result<f64> {
    let mut connection = Connection::open(cache.address)?;
    let mut is_hit = |page: u32| -> Result<bool> {
        let answer = connection.get(&format!("/p/{page}"))?;
        ensure!(answer.status == 200, "page {page}: {}", answer.status);
        Ok(answer.head.to_ascii_lowercase().contains(cache.hit))
    };
    for page in 0..PAGES {
        is_hit(page)?;
    }
    for page in (0..PAGES).step_by(97) {
        ensure!(is_hit(page)?, "page {page} is not cached");
    }
    let took = thread::scope(|scope| -> Result<Duration> {
        let began: Instant = now();
        let purging = scope.spawn(|| (cache.purge)());
        while is_hit(1)? {}
        let took = began.elapsed();
        let answer = purging.join().map_err(|_| anyhow::anyhow!("the purge panicked"))??;
        ensure!(answer.status == 200, "purge: {} {}", answer.status, answer.text());
        Ok(took)
    })?;
    for page in (2..PAGES).step_by(97) {
        ensure!(!is_hit(page)?, "page {page} was served after the purge");
    }
    Ok(took.as_secs_f64() * 1e3)
}

/// Starts Varnish before the application, with its module for tags.
fn start_varnish(folder: &Path, port: &Port, application: SocketAddr) -> Result<Process> {
    let program = find("varnishd").or_else(|_| {
        let sbin = Path::new("/usr/sbin/varnishd");
        sbin.is_file().then(|| sbin.into()).context("varnishd not found")
    })?;
    let vcl = format!(
        r#"vcl 4.1;
import xkey;
backend default {{ .host = "{}"; .port = "{}"; }}
sub vcl_recv {{
  if (req.method == "PURGE") {{
    set req.http.n = xkey.purge(req.http.xkey-purge);
    return (synth(200, req.http.n));
  }}
  return (hash);
}}
sub vcl_backend_response {{ set beresp.http.xkey = beresp.http.surrogate-key; }}
sub vcl_deliver {{
  if (obj.hits > 0) {{ set resp.http.x-cache = "hit"; }} else {{ set resp.http.x-cache = "miss"; }}
}}
"#,
        application.ip(),
        application.port()
    );
    let file = folder.join("tags.vcl");
    std::fs::write(&file, vcl)?;
    let mut varnish = Process::builder(&program);
    for arg in ["-F", "-j", "none", "-s", "malloc,1G", "-a", &port.addr().to_string()] {
        varnish = varnish.arg(arg);
    }
    let mut varnish = varnish.arg("-n").arg(folder.join("varnish")).arg("-f").arg(&file).start()?;
    varnish.wait_for_http(port.addr(), "/p/42", DEADLINE)?;
    Ok(varnish)
}
