//! `tidegate check`

use std::path::{Path, PathBuf};

use contract::{Finding, Severity};
use serde_json::json;

use crate::config::{Config, ConfigError};
use crate::exit::Exit;
use crate::terminal::{print, print_error};

/// Check a configuration and lint its contracts, without connecting to anything.
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
                print(json!({ "verdict": "unusable", "message": err.to_string(), "findings": [] }));
            } else {
                print_error(format_args!("tidegate: {err}"));
            }
            return Exit::Environment;
        }
    };
    let count = |severity| findings.iter().filter(|f| f.severity == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    if args.json {
        let verdict = if errors == 0 { "good" } else { "bad" };
        print(json!({
            "verdict": verdict, "errors": errors, "warnings": warnings, "findings": findings,
        }));
    } else {
        for finding in &findings {
            print_finding(finding);
        }
        print(format_args!("{errors} errors, {warnings} warnings"));
    }
    if errors == 0 { Exit::Good } else { Exit::Bad }
}

/// Lints the contracts first: the rest can only be read where they have no errors.
fn findings(path: &Path) -> Result<Vec<Finding>, ConfigError> {
    let findings = Config::review(path)?;
    if findings.iter().all(|finding| finding.severity != Severity::Error) {
        Config::read(path)?;
    }
    Ok(findings)
}

fn print_finding(finding: &Finding) {
    let severity = match finding.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Info => "note",
    };
    print(format_args!("{severity}[{}] {}: {}", finding.rule, finding.path, finding.message));
    print(format_args!("    why  {}", finding.reason));
    print(format_args!("    fix  {}\n", finding.fix));
}
