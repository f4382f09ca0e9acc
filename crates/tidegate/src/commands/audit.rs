//! `tidegate audit`

use std::time::Duration;

use access::AccessToken;
use cache::audit::{AuditReport, Consistency, Finding, PageFinding, PeerReport};
use contract::config::{MAX_DURATION, ValueError, parse_duration};

use super::admin::{AdminArgs, unusable_token};
use super::audit_log;
use crate::exit::Exit;
use crate::http_client::Target;
use crate::runtime::block_on;
use crate::terminal::{print, print_error};

/// The time limit of one request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest report, in bytes.
const REPORT_BYTES_MAX: usize = 16 << 20;

/// Show the findings of a running node's auditor; exits with 1 where a promise was broken.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:  tidegate audit --for 30s\n\nEvery node compares its tiers with the database, 0.1, 1 and 10 s after each commit that\ninvalidated an entry, and its stored entries in turn; it asks the nodes in `audit.peers` for their tiers. Exits with 1 when an\nentry was older than its contract or its shown bound allows.",
    args_conflicts_with_subcommands = true
)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    admin: AdminArgs,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
    /// Watch for this long, and show only the findings of that time.
    #[arg(long = "for", value_name = "TIME", value_parser = time)]
    watch: Option<Duration>,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Log(audit_log::Args),
}

fn time(text: &str) -> Result<Duration, ValueError> {
    parse_duration(text, Duration::ZERO..=MAX_DURATION)
}

pub(crate) fn run(args: &Args) -> Exit {
    if let Some(Command::Log(args)) = &args.command {
        return audit_log::run(args);
    }
    let token = match args.admin.token() {
        Ok(token) => token,
        Err(err) => return unusable_token(&err),
    };
    block_on(async {
        match report(args, token.as_ref()).await {
            Ok(report) => print_report(args, &report),
            Err(err) => args.admin.failed(&err),
        }
    })
}

async fn report(args: &Args, token: Option<&AccessToken>) -> anyhow::Result<AuditReport> {
    let admin = args.admin.target()?;
    let first = fetch(&admin, token).await?;
    let Some(watch) = args.watch else { return Ok(first) };
    tokio::time::sleep(watch).await;
    Ok(fetch(&admin, token).await?.since(&first))
}

async fn fetch(admin: &Target, token: Option<&AccessToken>) -> anyhow::Result<AuditReport> {
    let request = admin.get("/api/v1/audit", token, REPORT_BYTES_MAX);
    Ok(serde_json::from_slice(&tokio::time::timeout(REQUEST_TIMEOUT, request).await??)?)
}

fn print_report(args: &Args, report: &AuditReport) -> Exit {
    if args.json {
        match serde_json::to_string_pretty(report) {
            Ok(text) => print(text),
            Err(err) => print_error(format_args!("tidegate: {err}")),
        }
    } else {
        print_text(report);
    }
    if report.all_broken() > 0 { Exit::Bad } else { Exit::Good }
}

fn print_text(report: &AuditReport) {
    print_source(report);
    for (name, report) in &report.sources {
        print(format_args!("\nsource {name}"));
        print_source(report);
    }
}

fn print_source(report: &AuditReport) {
    print("after a commit   checked     stale   C(T), 95 % bound");
    report.consistency.iter().for_each(print_consistency);
    let AuditReport {
        samples, stored, met, paced, late, unread, undecided, dropped, sticky, ..
    } = report;
    print(format_args!(
        "answers          {} compared, {} agreed, {} stale",
        samples.compared, samples.agreed, samples.stale
    ));
    print(format_args!(
        "stored entries   {} compared in turn, {} agreed, {} stale",
        stored.compared, stored.agreed, stored.stale
    ));
    print(format_args!(
        "invalidations    {met} of an entry; not checked: {paced} by the budget of reads, {late} late, \
         {unread} without an answer; {undecided} undecided, {dropped} events lost"
    ));
    print(format_args!(
        "findings         {} stale, {} of them beyond contract or bound, {sticky} sticky",
        report.found, report.broken
    ));
    let pages = &report.pages;
    print(format_args!(
        "pages            {} compared with the upstream, {} agreed, {} changed, {} volatile, {} undecided, \
         {} unread",
        pages.compared, pages.agreed, pages.changed, pages.volatile, pages.undecided, pages.unread
    ));
    for (name, refusals) in
        [("Redis", &report.refused_values), ("the log", &report.refused_messages)]
    {
        if let Some(last) = &refusals.last {
            let refused = refusals.refused;
            print(format_args!(
                "signatures       {refused} refused in {name}; the last one: {last}"
            ));
        }
    }
    report.peers.iter().for_each(print_peer);
    pages.findings.iter().for_each(print_page);
    report.findings.iter().for_each(print_finding);
}

fn print_consistency(consistency: &Consistency) {
    let share = match consistency.consistent {
        Some(share) => {
            format!("{:.4} %, at least {:.4} %", share * 100.0, consistency.at_least * 100.0)
        }
        None => "no commit has invalidated an entry yet".into(),
    };
    let t = format!("{} s", consistency.seconds);
    print(format_args!("{t:>14} {:>9} {:>9}   {share}", consistency.checked, consistency.stale));
}

fn print_peer(peer: &PeerReport) {
    let PeerReport { node, requests, samples, .. } = peer;
    print(format_args!("\nas {node} would answer"));
    peer.consistency.iter().for_each(print_consistency);
    print(format_args!(
        "answers          {} compared, {} agreed, {} stale",
        samples.compared, samples.agreed, samples.stale
    ));
    print(format_args!(
        "requests         {} answered, {} not in time, {} malformed; {} skipped after failures",
        requests.answered, requests.unreachable, requests.malformed, requests.skipped
    ));
}

fn print_page(finding: &PageFinding) {
    let verdict = if finding.broken { "BROKEN" } else { "within its bound" };
    print(format_args!(
        "\npage #{} {} of the route {}, proof={}: {verdict}",
        finding.number, finding.url, finding.route, finding.proof
    ));
    print(format_args!("  tags: {}", finding.tags.join(" ")));
    if !finding.unproven_tags.is_empty() {
        print(format_args!("  tags that prove nothing: {}", finding.unproven_tags.join(" ")));
    }
    print(format_args!("  line {} stored:   {}", finding.line, finding.stored));
    print(format_args!("  line {} upstream: {}", finding.line, finding.upstream));
    print(format_args!("  {}", finding.advice()));
}

fn print_finding(finding: &Finding) {
    let verdict = if finding.violates_guarantee() { "BROKEN" } else { "within its contract" };
    let node = finding.node.as_ref().map_or(String::new(), |node| format!(" of {node}"));
    print(format_args!(
        "\n#{} {} in the {} tier{node}, contract {}: {verdict}",
        finding.number, finding.key, finding.tier, finding.contract
    ));
    let bound = finding.bound_ms.map_or("none".into(), |bound| format!("{bound:.0} ms"));
    print(format_args!(
        "  older than the database for {:.0} ms; bound shown {bound}, contract {:.0} ms",
        finding.behind_ms, finding.budget_ms
    ));
    if let Some(event) = &finding.event {
        print(format_args!("  event: {} at {}", event.cause, event.position));
    }
    if !finding.fields.is_empty() {
        print(format_args!("  differs in: {}", finding.fields.join(", ")));
    }
    print(format_args!("  rule: {}", finding.rule));
    for entry in &finding.timeline {
        print(format_args!("  {} {}", entry.at_ms, entry.text));
    }
}
