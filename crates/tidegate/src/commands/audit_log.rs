//! `tidegate audit log`

use std::path::{Path, PathBuf};

use access::{Anchor, AuditLogError, ChainReport, verify_chain};
use serde_json::json;

use crate::config::Config;
use crate::exit::Exit;
use crate::terminal::{print, print_error};

/// Check the audit log.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Verify(VerifyArgs),
}

/// Check that no record of the audit log was changed, removed or inserted.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:  tidegate audit log verify --anchor 57:9f86d0…\n\nThe log is a chain: each record has the hash of the one before it. A user who may write the file can\nmake a new chain, so note anchors elsewhere: every record's is in the node's log, the last one in\n/api/v1/status.\n\nExit codes: 0 sound, 1 evidence of a change, 3 it could not be checked"
)]
struct VerifyArgs {
    /// The log; by default the one that the configuration names.
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// The configuration.
    #[arg(long, value_name = "FILE", default_value = "tidegate.toml")]
    config: PathBuf,
    /// A record that was noted elsewhere, NUMBER:HASH; may be repeated.
    #[arg(long, value_name = "ANCHOR")]
    anchor: Vec<Anchor>,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Exit {
    let Command::Verify(args) = &args.command;
    let report = match args.file.clone().map_or_else(|| configured(&args.config), Ok) {
        Ok(file) => verify_chain(&file, &args.anchor).map_err(|err: AuditLogError| err.to_string()),
        Err(err) => Err(err),
    };
    match report {
        Ok(report) => {
            if args.json {
                print_json(&report)
            } else {
                print_text(&report)
            }
            if report.is_sound() { Exit::Good } else { Exit::Bad }
        }
        Err(err) => {
            if args.json {
                print(json!({ "verdict": "unchecked", "message": err }));
            } else {
                print_error(format_args!("tidegate: {err}"));
            }
            Exit::Environment
        }
    }
}

/// Returns the file that a configuration names.
fn configured(config: &Path) -> Result<PathBuf, String> {
    let options = Config::read(config).map_err(|err| err.to_string())?.access;
    options.audit_log.map(|log| log.file).ok_or_else(|| {
        format!("{}: there is no `audit_log` in `[access]`; name the file", config.display())
    })
}

fn print_json(report: &ChainReport) {
    let damages = report
        .damages
        .iter()
        .map(|damage| json!({ "file": damage.file, "line": damage.line, "text": damage.text }));
    print(json!({
        "verdict": if report.is_sound() { "sound" } else { "damaged" },
        "records": report.records,
        "first": report.first,
        "last": report.last.map(|last| last.to_string()),
        "repairs": report.repairs,
        "damages": damages.collect::<Vec<_>>(),
        "notes": report.notes,
    }));
}

fn print_text(report: &ChainReport) {
    for damage in &report.damages {
        let line = damage.line.map_or(String::new(), |line| format!(": line {line}"));
        print(format_args!("DAMAGED {}{line}: {}", damage.file.display(), damage.text));
    }
    for note in &report.notes {
        print(format_args!("note: {note}"));
    }
    if report.repairs > 0 {
        print(format_args!(
            "{} records were cut by a crash and named at the next start",
            report.repairs
        ));
    }
    let (first, last) =
        (report.first.unwrap_or_default(), report.last.map(|last| last.to_string()));
    print(format_args!(
        "{} records from number {first}, the last is {}",
        report.records,
        last.unwrap_or_else(|| "none".to_owned())
    ));
    print(if report.is_sound() { "the chain is sound" } else { "THE CHAIN IS DAMAGED" });
}
