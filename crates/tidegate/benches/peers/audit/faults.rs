//! The same under faults: each on a cluster of its own, so that it is known who leads.

use std::thread;
use std::time::Duration;

use anyhow::{Result, bail};

use super::cluster::Cluster;
use super::load::Load;
use super::seen::Seen;
use crate::figure::{Figure, Part, Table};
use crate::options::Options;
use crate::{now, say};

/// Before the fault, so that it meets copies and looks that are planned.
const CALM: Duration = Duration::from_secs(5);

/// After it has been mended: until the last look at what was committed meanwhile, and some more.
const AFTERWARDS: Duration = Duration::from_secs(20);

/// A fault's name, what it does, and how.
type Fault = (&'static str, &'static str, fn(&mut Cluster) -> Result<()>);

const FAULTS: [Fault; 8] = [
    ("redis-restart", "Redis shut down, 2 s later started empty", |cluster| {
        cluster.servers.redis.stop()?;
        thread::sleep(Duration::from_secs(2));
        cluster.servers.redis.start_again()
    }),
    ("redis-pause", "Redis stopped (SIGSTOP) for 3 s", |cluster| {
        cluster.servers.redis.pause()?;
        thread::sleep(Duration::from_secs(3));
        cluster.servers.redis.resume()
    }),
    ("postgres-restart", "PostgreSQL restarted (fast)", |cluster| {
        cluster.servers.postgres.restart()
    }),
    ("postgres-crash", "PostgreSQL killed (SIGKILL), 2 s later started", |cluster| {
        cluster.servers.postgres.crash()?;
        thread::sleep(Duration::from_secs(2));
        cluster.servers.postgres.start_again()
    }),
    ("leader-kill", "the leader killed (SIGKILL), 2 s later started", |cluster| kill(cluster, 0)),
    ("node-kill", "the follower killed (SIGKILL), 2 s later started", |cluster| kill(cluster, 1)),
    ("leader-pause", "the leader stopped (SIGSTOP) for 10 s", |cluster| pause(cluster, 0)),
    ("node-pause", "the follower stopped (SIGSTOP) for 10 s", |cluster| pause(cluster, 1)),
];

fn kill(cluster: &mut Cluster, node: usize) -> Result<()> {
    cluster.nodes[node].process.kill9()?;
    thread::sleep(Duration::from_secs(2));
    cluster.nodes[node].start_again()
}

fn pause(cluster: &mut Cluster, node: usize) -> Result<()> {
    cluster.nodes[node].process.pause()?;
    thread::sleep(Duration::from_secs(10));
    cluster.nodes[node].process.resume()
}

pub(crate) fn measure(options: &Options) -> Result<Part> {
    let wanted = |name: &str| options.fault.as_deref().is_none_or(|only| only == name);
    let chosen: Vec<&Fault> = FAULTS.iter().filter(|(name, ..)| wanted(name)).collect();
    if chosen.is_empty() {
        let known = FAULTS.map(|(name, ..)| name).join(", ");
        bail!("there is no fault {:?}; there are: {known}", options.fault);
    }
    let mut table = Table::new([
        "fault",
        "what",
        "effective checks",
        "stale at 0.1 s",
        "at 1 s",
        "at 10 s",
        "older than shown",
        "older than contract",
        "looks without an answer",
    ]);
    let (mut late, mut unbound, mut beyond, mut checks, mut checks_late) = (0, 0, 0, 0, 0);
    for (name, what, strike) in &chosen {
        let seen = under(options, *strike)?;
        say(&format!("  {name}: {}", seen.progress()));
        seen.stories().iter().for_each(|story| say(story));
        let (shown, contract) = seen.broken();
        let away: u64 = seen.report.peers.iter().map(|peer| peer.asked.unreachable).sum();
        table.row([
            (*name).into(),
            (*what).into(),
            seen.effective().to_string(),
            seen.at(0).stale.to_string(),
            seen.at(1).stale.to_string(),
            seen.at(2).stale.to_string(),
            shown.to_string(),
            contract.to_string(),
            (seen.report.unread + seen.report.late + away).to_string(),
        ]);
        late += seen.at(2).stale;
        unbound += shown as u64;
        beyond += contract as u64;
        checks += seen.effective();
        checks_late += seen.at(2).answering;
    }
    Ok(Part {
        title: "C(T) under faults".into(),
        arguments: options.said.clone(),
        how: vec![format!(
            "The cluster, the load and the counting of `./bench audit`, at {} commits/s; each fault \
             strikes a fresh cluster after {} s and is mended; the looks go on for {} s after that. \
             Between a fault and its mending tiers may be behind, and say so by their bound; \
             *older than shown* and *older than contract* count answers that were older than the \
             bound they showed, or than the 5 s of their contract, by more than 50 ms, which is what \
             a look itself may take; counted from when the commit is known to have been visible.",
            options.commits_per_s,
            CALM.as_secs(),
            AFTERWARDS.as_secs(),
        )],
        figures: vec![
            Figure::none("answers older than their shown bound, under faults", unbound, checks),
            Figure::none("answers older than their contract, under faults", beyond, checks),
            Figure::none("stale answers at T = 10 s, under faults", late, checks_late),
        ],
        table,
    })
}

fn under(options: &Options, strike: fn(&mut Cluster) -> Result<()>) -> Result<Seen> {
    let mut cluster = Cluster::start()?;
    let _load = Load::start(&cluster, options.commits_per_s)?;
    let before = cluster.report()?;
    let began = now();
    thread::sleep(CALM);
    strike(&mut cluster)?;
    thread::sleep(AFTERWARDS);
    Ok(Seen { report: cluster.report()?.since(&before), took: began.elapsed() })
}
