//! `tidegate sale audit`

use std::path::{Path, PathBuf};
use std::time::Duration;

use contract::config::{ValueError, parse_duration};
use sale::{HoldId, SaleOptions};

use crate::exit::Exit;
use crate::sale_audit::{AuditEvidence, Audited, audit, finding_lines};
use crate::terminal::print;

/// The records to compare the ledger with.
#[derive(Debug, clap::Args)]
pub(super) struct Records {
    /// Print the findings, and the checks of each invariant, as JSON.
    #[arg(long)]
    json: bool,
    /// A file with names of holds that clients were told, one on each line: each must exist.
    #[arg(long, value_name = "FILE")]
    acknowledged: Option<PathBuf>,
    /// A file with the requests of clients and their answers, one JSON object on each line; may be repeated.
    #[arg(long, value_name = "FILE")]
    clients: Vec<PathBuf>,
    /// The files have every request since the first: a hold that no client has asked for is a finding.
    #[arg(long, requires = "clients")]
    complete: bool,
    /// The most by which clocks of clients and of the database differ, early refusals included.
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = tolerance)]
    tolerance: Duration,
    /// The payment provider's ledger: a URL, or a file.
    #[arg(long, value_name = "URL|FILE")]
    provider: Option<String>,
}

fn tolerance(text: &str) -> Result<Duration, ValueError> {
    parse_duration(text, Duration::ZERO..=Duration::from_secs(60 * 60))
}

/// Audits the ledger of the sale.
pub(super) async fn run(options: &SaleOptions, records: &Records) -> Result<Exit, String> {
    let told = records.acknowledged.as_deref().map(acknowledged).transpose()?.unwrap_or_default();
    let evidence = AuditEvidence {
        clients: records.clients.clone(),
        is_complete: records.complete,
        tolerance: records.tolerance,
        provider: records.provider.clone(),
        told,
    };
    let named = |err: &dyn std::fmt::Display| format!("[sale] {}: {err}", options.url);
    let ledger = options.open().await.map_err(|err| named(&err))?;
    let audited = audit(&*ledger, &evidence).await.map_err(|err| named(&err))?;
    show(&audited, records.json);
    Ok(if audited.is_good() { Exit::Good } else { Exit::Bad })
}

fn show(audited: &Audited, json: bool) {
    if json {
        print(audited.json());
        return;
    }
    for line in finding_lines(&audited.findings) {
        print(line);
    }
    print(audited.coverage());
    print(format_args!("{} findings", audited.findings.len()));
}

fn acknowledged(path: &Path) -> Result<Vec<HoldId>, String> {
    let text = std::fs::read_to_string(path).map_err(|err| format!("{}: {err}", path.display()))?;
    let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
    let parse = |(number, line): (usize, &str)| {
        let named = |err| format!("{}: line {number}: {err}", path.display());
        line.trim().parse().map_err(named)
    };
    lines.map(parse).collect()
}
