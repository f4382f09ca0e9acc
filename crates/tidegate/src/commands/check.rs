//! `tidegate check`

use std::path::PathBuf;

use contract::Severity;
use serde_json::json;

use crate::config::{Config, ConfigError, Source};
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
    let (findings, notes, exit) = match Config::read(&args.config) {
        Ok(config) => {
            let notes = notes(&config);
            (config.findings, notes, Exit::Good)
        }
        Err(ConfigError::Refused(findings)) => (findings, Vec::new(), Exit::Bad),
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
            "notes": notes,
        }));
    } else {
        print(&findings);
        notes.iter().for_each(|note| print(format_args!("\nnote  {note}")));
    }
    exit
}

/// Returns the risks outside of the configuration, with their remedies.
fn notes(config: &Config) -> Vec<String> {
    // With keys only signed messages count.
    let is_open = |source: &Source| source.url.is_postgres() && source.message_keys.is_none();
    let postgres = config.sources.iter().filter(|(_, source)| is_open(source));
    let notes = postgres.map(|(name, source)| {
        let url = source.url.to_string();
        format!(
            "every role of the database of [source.{name}] can purge by `pg_logical_emit_message`. Have purge \
             requests signed (message_keys, docs/purges.md); or allow it to {role} only: add the roles of applications \
             that send purge requests, and run as a superuser:\n{statement}",
            role = role(&url),
            statement = REVOKE.replace("ROLE", &format!("\"{}\"", role(&url).replace('"', "\"\""))),
        )
    });
    notes.collect()
}

/// The function has another signature in PostgreSQL 17 and later.
const REVOKE: &str = "\
  do $$ declare f regprocedure; begin
    for f in select oid from pg_proc where proname = 'pg_logical_emit_message' loop
      execute format('revoke execute on function %s from public', f);
      execute format('grant execute on function %s to ROLE', f);
    end loop;
  end $$;";

/// Returns the role in an address.
fn role(url: &str) -> &str {
    let login = url.split_once("://").and_then(|(_, rest)| rest.split_once('@'));
    login.and_then(|(login, _)| login.split(':').next()).unwrap_or("tidegate")
}
