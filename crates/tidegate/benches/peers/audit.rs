//! C(T) across three nodes, measured by the product's own auditor while commits invalidate entries: without a
//! fault for a given number of checks, the same while definitions are altered, and under each of a list of faults.

mod alterations;
mod cluster;
mod faults;
mod load;
mod window;

use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use anyhow::Result;

use self::alterations::Alterations;
use self::cluster::Cluster;
pub(crate) use self::faults::measure as faults;
use self::load::Load;
use self::window::AuditWindow;
use crate::figure::{Figure, Part};
use crate::options::Options;
use crate::output::{log_line, now};

/// The interval of progress lines.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(10);

/// The interval at which the report is read.
const STEP: Duration = Duration::from_secs(1);

/// The run fails if the report can't be read for this long: beside other work a node may be slow to answer.
const REPORT_PATIENCE: Duration = Duration::from_secs(120);

/// Measures until the given number of checks is made, or the time is over.
pub(crate) fn measure(options: &Options) -> Result<Part> {
    let cluster = Cluster::start()?;
    let load = Load::start(&cluster, options.commits_per_s)?;
    let window = watch(&cluster, options)?;
    Ok(Part {
        title: "C(T) across three nodes, without a fault".into(),
        arguments: options.arguments.clone(),
        how: vec![setting(&load, options), method(), window.losses()],
        figures: window.figures(options.checks, "without a fault"),
        table: window.table(),
    })
}

/// As [`measure`], on a table with partitions whose definitions are altered meanwhile.
pub(crate) fn measure_altered(options: &Options) -> Result<Part> {
    let cluster = Cluster::divided()?;
    let load = Load::start(&cluster, options.commits_per_s)?;
    let alterations = Alterations::start(&cluster);
    let window = watch(&cluster, options)?;
    let [made, failed] = alterations.counts();
    let altered = format!(
        "Every {} s the table is altered, which the log has no event for: a column is added, a partition is \
         swapped for a table with other prices, the column is dropped, the whole table is swapped for another \
         one with other prices, and a column's type is changed: {made} alterations, {failed} more failed. Nothing \
         is proven from an alteration until the leader has invalidated what depends on it: then answers are loaded. \
         Until then, and while other programs use the machine, answers may be old within the bounds that they show.",
        alterations::INTERVAL.as_secs(),
    );
    let mut figures = window.guarantees(options.checks, "with alterations");
    figures.push(Figure {
        what: "alterations of the table".into(),
        measured: made.to_string(),
        target: "at least 1".into(),
        met: made >= 1,
    });
    Ok(Part {
        title: "C(T) across three nodes while definitions are altered".into(),
        arguments: options.arguments.clone(),
        how: vec![setting(&load, options), altered, method(), window.losses()],
        figures,
        table: window.table(),
    })
}

/// Returns the auditor's counts once they are enough, or the time is over.
fn watch(cluster: &Cluster, options: &Options) -> Result<AuditWindow> {
    let before = cluster.report()?;
    let (began, mut reported, mut answered) = (now(), now(), now());
    let window = loop {
        thread::sleep(STEP);
        let report = match cluster.report() {
            Ok(report) => report,
            Err(err) if answered.elapsed() >= REPORT_PATIENCE => return Err(err),
            Err(_) => continue,
        };
        answered = now();
        let window = AuditWindow { report: report.since(&before), took: began.elapsed() };
        if window.effective() >= options.checks || window.took >= options.within {
            break window;
        }
        if reported.elapsed() >= PROGRESS_INTERVAL {
            reported = now();
            log_line(&format!("  {}", window.progress()));
        }
    };
    log_line(&format!("  {}", window.progress()));
    window.violations().iter().for_each(|finding| log_line(finding));
    Ok(window)
}

fn setting(load: &Load, options: &Options) -> String {
    let counts = load.counts();
    format!(
        "PostgreSQL, Redis and three `tidegate serve`: one follows the log and applies it to Redis \
         (*leader*), one receives the node stream (*follower*), and so does the one whose auditor \
         asks all three (*auditor*, `audit.peers`). {} updates/s of {} rows, one in ten of \
         them on twenty hot rows; each row is in two contracts, of which one is renewed by the \
         commit itself (write-through) and one has to be loaded. Every row is read on every node \
         when its commit is sent and once more {} ms later, so that commits invalidate entries, and \
         loads in flight, in every tier: {} commits and {} reads, {} of both without an answer. Contracts \
         allow 5 s of staleness; PostgreSQL, Redis and the load share the machine.",
        options.commits_per_s,
        cluster::ROWS,
        load::AGAIN.as_millis(),
        counts.commits.load(Ordering::Relaxed),
        counts.reads.load(Ordering::Relaxed),
        counts.failed.load(Ordering::Relaxed),
    )
}

fn method() -> String {
    "How it is counted: an *invalidation* is a commit and a key, and counts only if an entry was in \
     the auditing node's tier or in Redis, or was being loaded, when its event arrived. Each is \
     checked T = 0.1, 1 and 10 s after the commit, in both tiers of all three nodes, as a reader \
     there would be answered but without filling anything; afterwards the database itself is read. \
     A check is *effective* only if the tier had an answer; the others can't be stale. *Stale* is an answer that is shown to have been older than the database for T. The \
     shared tier is one Redis, but each node answers from it by its own proof, so each node's checks \
     of it count. Bounds are Clopper–Pearson, one-sided, 95 %."
        .into()
}
