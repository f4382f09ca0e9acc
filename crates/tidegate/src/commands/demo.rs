//! `tidegate demo`

use std::fmt::Display;
use std::io::IsTerminal;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use contract::config::{MAX_DURATION, ValueError, parse_duration, parse_listen_address};
use drill::plan::Pace;
use drill::{Link, LiveView, RunReport, Running};

use crate::config::{Listen, LogFormat};
use crate::demo::{Source, Stage, StormStage, bearable_rate, inventory, rush};
use crate::exit::Exit;
use crate::runtime::{block_on, stop_requested};
use crate::terminal::{log_to_stderr, print, print_error};

/// Traffic of a shorter time shows nothing; preparation does not shorten it further.
const SHORTEST: Duration = Duration::from_secs(5);

/// Planned requests per second in a storm: more than the shops there can serve.
const STORM_RATE: f64 = 800.0;

/// The default duration of a storm.
const STORM: Duration = Duration::from_secs(30);

/// Run a shop with shoppers, and compare Tidegate with common caches.
///
/// One process, nothing to install: an ordinary shop on SQLite behind Tidegate's gateway, and the same
/// traffic sent to no cache, a TTL-only cache and a delete-on-write cache. Prices and stock change all the
/// time; every answer is compared with the database.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  tidegate demo\n  tidegate demo --for 30s --json report.json\n  tidegate demo --storm --for 30s\n  tidegate demo --sale\n  tidegate demo --orders online-retail.csv.zst --for 60s\n\nExit codes: 0 no answer staler than its contract (in a storm the shop not overloaded, in a sale each unit sold and paid once), 1 the contrary, or the machine was overloaded, 2 usage, 3 environment"
)]
pub(crate) struct Args {
    /// The duration of the whole run, comparison and summary included; at least 5s of traffic follow the
    /// preparation. Without it the run ends with the recorded traffic, or with q or Ctrl-C.
    #[arg(long = "for", value_name = "TIME", value_parser = run_time)]
    span: Option<Duration>,
    /// Replay the order lines of a real shop (CSV, also .zst): each is a purchase after about 100
    /// page views.
    #[arg(long, value_name = "FILE", conflicts_with = "reads")]
    orders: Option<PathBuf>,
    /// Replay recorded reads (.u32 or .u32.zst).
    #[arg(long, value_name = "FILE")]
    reads: Option<PathBuf>,
    /// Replay orders at their own times, this many times faster. Without it, as fast as the rate allows.
    #[arg(long, value_name = "FACTOR", requires = "orders", value_parser = positive)]
    speed: Option<f64>,
    /// Run a storm instead: stock changes all the time, each change invalidates hundreds of recommendations,
    /// and the shop serves few requests. The same traffic with and without the governor.
    #[arg(long, conflicts_with_all = ["orders", "reads"])]
    storm: bool,
    /// Run a flash sale instead: 10,000 buyers for 100 units at one instant, through Tidegate and in a shop that
    /// reads its stock, takes the payment and then lowers the stock.
    #[arg(long, conflicts_with_all = ["orders", "reads", "storm", "span", "rate", "picture", "gateway"])]
    sale: bool,
    /// Requests per second at each system, on average [default: half of the capacity that is measured
    /// first, at most 2000; in a storm 800].
    #[arg(long, value_name = "N", value_parser = positive)]
    rate: Option<f64>,
    /// The same seed gives the same traffic.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Write the figures as JSON; `-` is standard output.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write a picture (SVG) of the view's last state.
    #[arg(long, value_name = "FILE")]
    picture: Option<PathBuf>,
    /// The gateway's address; another free port if it is taken.
    #[arg(long, value_name = "ADDRESS", value_parser = parse_listen_address, default_value_t = SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)))]
    gateway: SocketAddr,
}

fn run_time(text: &str) -> Result<Duration, ValueError> {
    parse_duration(text, Duration::from_secs(5)..=MAX_DURATION)
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() && number > 0.0 => Ok(number),
        _ => Err("write a number above 0".into()),
    }
}

pub(crate) fn run(args: Args) -> Exit {
    #[expect(clippy::disallowed_methods, reason = "the run's length counts from here")]
    let begun = Instant::now();
    log_to_stderr(LogFormat::Text, if std::io::stderr().is_terminal() { "off" } else { "warn" });
    block_on(async {
        let verdict = if args.sale {
            Box::pin(sale(&args)).await
        } else if args.storm {
            Box::pin(storm(&args, begun + args.span.unwrap_or(STORM))).await
        } else {
            Box::pin(demo(&args, args.span.map(|span| begun + span))).await
        };
        match verdict {
            Ok(true) => Exit::Good,
            Ok(false) => Exit::Bad,
            Err(err) => {
                print_error(format_args!("tidegate: {err:#}"));
                Exit::Environment
            }
        }
    })
}

/// Runs the comparison; returns whether its verdict is good.
async fn demo(args: &Args, ends: Option<Instant>) -> Result<bool> {
    let listen = Listen { gateway: args.gateway, ..Listen::default() };
    print_error("tidegate demo: starting a shop and four systems in front of it");
    let source = match (&args.orders, &args.reads) {
        (Some(path), _) => Source::orders(path, args.speed)?,
        (None, Some(path)) => Source::reads(path, args.seed)?,
        (None, None) => Source::generated(args.seed),
    };
    let stage = Stage::start(&source.catalogue, listen).await?;
    let (rate, note) = match args.rate {
        Some(rate) => (rate, None),
        None => bearable_rate(&stage, &source.catalogue, args.seed).await?,
    };
    if let Some(note) = &note {
        print_error(note);
    }
    let mut traffic = source.traffic(Pace::of(rate), args.seed);
    traffic.notes.extend(note);
    let ends = ends.map(|ends| ends.max(soon()));
    let links = links(&stage);
    if !std::io::stderr().is_terminal() {
        for link in &links {
            print_error(format_args!("  {}  {}", link.url, link.description));
        }
    }
    let running = stage.drill(traffic, ends)?.start().context("the shoppers can't start")?;
    let report = watch(args, &format!("tidegate demo, {rate:.0}/s"), running, links).await?;
    finish(args, &report, &report.json())?;
    stage.stop().await?;
    Ok(report.passed())
}

/// Runs the storm; returns whether its verdict is good.
async fn storm(args: &Args, ends: Instant) -> Result<bool> {
    let listen = Listen { gateway: args.gateway, ..Listen::default() };
    print_error("tidegate demo: starting two shops of low capacity, and warming both caches");
    let stage = Box::pin(StormStage::start(listen, args.seed)).await?;
    let inventory = inventory(stage.catalogue());
    let drill = stage.drill(inventory, args.rate.unwrap_or(STORM_RATE), args.seed, ends)?;
    let running = drill.start().context("the shoppers can't start")?;
    let links = vec![
        link(stage.at.gateway, "/recommended/1", "recommendations, with the governor"),
        link(stage.at.admin, "/metrics", "metrics"),
    ];
    let report = watch(args, "tidegate demo --storm", running, links).await?;
    let report = stage.report(report);
    finish(args, &report, &report.json())?;
    stage.stop().await?;
    Ok(report.passed())
}

/// Runs the flash sale; returns whether its verdict is good.
async fn sale(args: &Args) -> Result<bool> {
    print_error(
        "tidegate demo: 10,000 buyers of 100 units, first through Tidegate, then in a usual shop",
    );
    let report = Box::pin(rush()).await?;
    finish(args, &report, &report.json())?;
    Ok(report.passed())
}

async fn watch(args: &Args, title: &str, running: Running, links: Vec<Link>) -> Result<RunReport> {
    let mut view = LiveView::start(title, running.live(), links)?;
    let cancelled = async {
        tokio::select! {
            () = stop_requested() => {}
            () = view.quit() => {}
        }
    };
    let report = running.finish(cancelled).await;
    let frame = view.close();
    let report = report?;
    if let Some(path) = &args.picture {
        write(path, frame.svg().as_bytes())?;
    }
    Ok(report)
}

/// Prints the figures as text to standard output, unless the JSON goes there.
fn finish(args: &Args, report: &impl Display, json: &serde_json::Value) -> Result<()> {
    let json = serde_json::to_string_pretty(json)?;
    match args.json.as_deref() {
        Some(path) if path == Path::new("-") => {
            print_error(report);
            print(json);
        }
        Some(path) => {
            write(path, format!("{json}\n").as_bytes())?;
            print(report);
        }
        None => print(report),
    }
    Ok(())
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    std::fs::write(path, bytes).with_context(|| format!("{} can't be written", path.display()))
}

fn links(stage: &Stage) -> Vec<Link> {
    vec![
        link(stage.at.gateway, "/", "the shop, through Tidegate"),
        link(stage.shop_at, "/", "the shop itself"),
        link(stage.at.data, "/data/product_price/1", "one price, with its proof"),
        link(stage.at.admin, "/metrics", "metrics"),
    ]
}

fn link(at: SocketAddr, path: &str, description: &str) -> Link {
    Link { url: format!("http://{at}{path}"), description: description.into() }
}

#[expect(clippy::disallowed_methods, reason = "the run's length counts from here")]
fn soon() -> Instant {
    Instant::now() + SHORTEST
}
