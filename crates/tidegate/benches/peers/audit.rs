//! C(T) across three nodes, measured by the product's own auditor while commits meet copies: without
//! a fault for as many checks as are asked for, and under each of a list of faults.

mod cluster;
mod faults;
mod load;
mod seen;

use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use anyhow::Result;

use self::cluster::Cluster;
pub(crate) use self::faults::measure as faults;
use self::load::Load;
use self::seen::Seen;
use crate::figure::Part;
use crate::options::Options;
use crate::{now, say};

/// How often the user is told how far it is.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// Between two looks at how far it is.
const STEP: Duration = Duration::from_secs(1);

/// Until so many checks have been made, or the time is up.
pub(crate) fn measure(options: &Options) -> Result<Part> {
    let cluster = Cluster::start()?;
    let load = Load::start(&cluster, options.commits_per_s)?;
    let before = cluster.report()?;
    let (began, mut told) = (now(), now());
    let seen = loop {
        thread::sleep(STEP);
        let seen = Seen { report: cluster.report()?.since(&before), took: began.elapsed() };
        if seen.effective() >= options.checks || seen.took >= options.within {
            break seen;
        }
        if told.elapsed() >= TELL_EVERY {
            told = now();
            say(&format!("  {}", seen.progress()));
        }
    };
    say(&format!("  {}", seen.progress()));
    seen.stories().iter().for_each(|story| say(story));
    Ok(Part {
        title: "C(T) across three nodes, without a fault".into(),
        arguments: options.said.clone(),
        how: vec![setting(&load, options), counting(), seen.losses()],
        figures: seen.figures(options.checks),
        table: seen.table(),
    })
}

fn setting(load: &Load, options: &Options) -> String {
    let counts = load.counts();
    format!(
        "PostgreSQL, Redis and three `tidegate serve`: one follows the log and applies it to Redis \
         (*leader*), one hears of it by the node stream (*follower*), and so does the one whose \
         auditor asks all three (*auditor*, `audit.peers`). {} updates/s of {} rows, one in ten of \
         them on twenty hot rows; each row is in two contracts, of which one is renewed by the \
         commit itself (write-through) and one has to be loaded. Every row is read on every node \
         when its commit is sent and once more {} ms later, so that commits meet copies, and loads \
         under way, in every tier: {} commits and {} reads, {} of both without an answer. Contracts \
         allow 5 s of staleness; PostgreSQL, Redis and the load share the machine.",
        options.commits_per_s,
        cluster::ROWS,
        load::AGAIN.as_millis(),
        counts.commits.load(Ordering::Relaxed),
        counts.reads.load(Ordering::Relaxed),
        counts.failed.load(Ordering::Relaxed),
    )
}

fn counting() -> String {
    "How it is counted: an *invalidation* is a commit and a key, and counts only if a copy of it was \
     in the auditing node's tier or in Redis, or was being loaded, when its event came. Each is \
     looked at T = 0.1, 1 and 10 s after the commit, in both tiers of all three nodes, as a reader \
     there would be answered but without filling anything; afterwards the database itself is asked. \
     A look is an *effective check* only if the tier had something to answer with; the others can't \
     be stale. *Stale* is an answer that is shown to have been older than the database for T. The \
     shared tier is one Redis, but each node answers from it by its own proof, so each node's looks \
     at it count. Bounds are Clopper–Pearson, one-sided, 95 %."
        .into()
}
