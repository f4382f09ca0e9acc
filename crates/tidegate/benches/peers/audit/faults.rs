//! C(T) under faults: each on its own cluster, so that the leader is known.

use std::thread;
use std::time::Duration;

use anyhow::{Result, bail};

use super::cluster::Cluster;
use super::load::Load;
use super::window::AuditWindow;
use crate::figure::{Figure, Part, Table};
use crate::options::Options;
use crate::output::{log_line, now};

/// The time before the fault, so that there are entries and scheduled checks.
const BEFORE_FAULT: Duration = Duration::from_secs(5);

/// The time after the fault is repaired: until the last check of a commit made meanwhile, and some more.
const AFTER_FAULT: Duration = Duration::from_secs(20);

/// A fault: its name, its description and its injection.
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
        "checks without an answer",
    ]);
    let (mut late, mut unbound, mut beyond, mut checks, mut checks_late) = (0, 0, 0, 0, 0);
    for (name, what, inject) in &chosen {
        let window = measure_fault(options, *inject)?;
        log_line(&format!("  {name}: {}", window.progress()));
        window.violations().iter().for_each(|finding| log_line(finding));
        let (shown, contract) = window.broken();
        let unreachable: u64 =
            window.report.peers.iter().map(|peer| peer.requests.unreachable).sum();
        table.row([
            (*name).into(),
            (*what).into(),
            window.effective().to_string(),
            window.at(0).stale.to_string(),
            window.at(1).stale.to_string(),
            window.at(2).stale.to_string(),
            shown.to_string(),
            contract.to_string(),
            (window.report.unread + window.report.late + unreachable).to_string(),
        ]);
        late += window.at(2).stale;
        unbound += shown as u64;
        beyond += contract as u64;
        checks += window.effective();
        checks_late += window.at(2).answering;
    }
    Ok(Part {
        title: "C(T) under faults".into(),
        arguments: options.arguments.clone(),
        how: vec![format!(
            "The cluster, the load and the counting of `./bench audit`, at {} commits/s; each fault \
             is injected into a fresh cluster after {} s and repaired; the checks continue for {} s \
             after that. Until the repair tiers may be behind, which their bound shows; *older than \
             shown* and *older than contract* count answers that were older than their shown bound, \
             or than the 5 s of their contract, by more than 50 ms, which a check itself may take; \
             counted from the time at which the commit was known to be visible.",
            options.commits_per_s,
            BEFORE_FAULT.as_secs(),
            AFTER_FAULT.as_secs(),
        )],
        figures: vec![
            Figure::none("answers older than their shown bound, under faults", unbound, checks),
            Figure::none("answers older than their contract, under faults", beyond, checks),
            Figure::none("stale answers at T = 10 s, under faults", late, checks_late),
        ],
        table,
    })
}

fn measure_fault(options: &Options, inject: fn(&mut Cluster) -> Result<()>) -> Result<AuditWindow> {
    let mut cluster = Cluster::start()?;
    let _load = Load::start(&cluster, options.commits_per_s)?;
    let before = cluster.report()?;
    let began = now();
    thread::sleep(BEFORE_FAULT);
    inject(&mut cluster)?;
    thread::sleep(AFTER_FAULT);
    Ok(AuditWindow { report: cluster.report()?.since(&before), took: began.elapsed() })
}
