//! `tidegate check`

use std::path::{Path, PathBuf};

use contract::{Finding, Severity};
use serde_json::json;

use crate::Exit;
use crate::config::{Config, ConfigError};
use crate::terminal::{complain, say};

/// Check a configuration and lint its contracts; nothing is connected to.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:  tidegate check tidegate.toml\n\nExit codes: 0 no errors, 1 at least one error, 3 the file can't be used"
)]
pub(crate) struct Args {
    /// The configuration.
    #[arg(value_name = "FILE", default_value = "tidegate.toml")]
    config: PathBuf,
    /// Print the findings as JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Exit {
    let findings = match findings(&args.config) {
        Ok(findings) => findings,
        Err(err) => {
            if args.json {
                say(json!({ "verdict": "unusable", "message": err.to_string(), "findings": [] }));
            } else {
                complain(format_args!("tidegate: {err}"));
            }
            return Exit::Environment;
        }
    };
    let count = |severity| findings.iter().filter(|f| f.severity == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    if args.json {
        let verdict = if errors == 0 { "good" } else { "bad" };
        say(json!({
            "verdict": verdict, "errors": errors, "warnings": warnings, "findings": findings,
        }));
    } else {
        for finding in &findings {
            print(finding);
        }
        say(format_args!("{errors} errors, {warnings} warnings"));
    }
    if errors == 0 { Exit::Good } else { Exit::Bad }
}

/// The contracts first; only where they are free of errors can the rest be read with them.
fn findings(path: &Path) -> Result<Vec<Finding>, ConfigError> {
    let findings = Config::review(path)?;
    if findings.iter().all(|finding| finding.severity != Severity::Error) {
        Config::read(path)?;
    }
    Ok(findings)
}

fn print(finding: &Finding) {
    let severity = match finding.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Info => "note",
    };
    say(format_args!("{severity}[{}] {}: {}", finding.rule, finding.path, finding.message));
    say(format_args!("    why  {}", finding.reason));
    say(format_args!("    fix  {}\n", finding.fix));
}
