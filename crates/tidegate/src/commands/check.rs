//! `tidegate check`

use std::path::PathBuf;

use contract::Severity;
use serde_json::json;

use crate::config::{Config, ConfigError};
use crate::exit::Exit;
use crate::terminal::{print, print_error};

/// Check a configuration and lint its contracts, without connecting to anything.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:  tidegate check tidegate.toml\n\n`tidegate serve` refuses to start with the same errors.\n\nExit codes: 0 no errors, 1 at least one error, 3 the file can't be used"
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
    let (findings, exit) = match Config::read(&args.config) {
        Ok(config) => (config.findings, Exit::Good),
        Err(ConfigError::Refused(findings)) => (findings, Exit::Bad),
        Err(err) => {
            if args.json {
                print(json!({ "verdict": "unusable", "message": err.to_string(), "findings": [] }));
            } else {
                print_error(format_args!("tidegate: {err}"));
            }
            return Exit::Environment;
        }
    };
    if args.json {
        let verdict = if exit == Exit::Good { "good" } else { "bad" };
        print(json!({
            "verdict": verdict,
            "errors": findings.count(Severity::Error),
            "warnings": findings.count(Severity::Warning),
            "findings": findings.json(),
        }));
    } else {
        print(&findings);
    }
    exit
}
