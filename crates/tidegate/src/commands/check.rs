//! `tidegate check`

use contract::Severity;
use serde_json::{Value, json};

use super::config_args::ConfigArgs;
use crate::config::{Config, ConfigError, Findings, Source};
use crate::exit::Exit;
use crate::node::{Probe, check_sources, probe};
use crate::runtime::block_on;
use crate::terminal::{log_to_stderr, print, print_error};

/// Check a configuration and lint its contracts. Connects to nothing without --connect.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:  tidegate check tidegate.toml\n           tidegate check --connect --json\n\n`tidegate serve` refuses to start with the same errors. With --connect, databases, Redis, the\nupstream and the sale's ledger are connected to as at a start. Nothing is altered; listeners are not\nopened, so it runs beside a node too.\n\nExit codes: 0 no errors, 1 the contracts have an error, 3 the file can't be used, or with --connect\na part can't"
)]
pub(crate) struct Args {
    #[command(flatten)]
    config: ConfigArgs,
    /// Connect to databases, Redis and the upstream too, and check all that a start checks.
    #[arg(long)]
    connect: bool,
    /// Print the findings as JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Exit {
    let config = match Config::read(args.config.path()) {
        Ok(config) => match check_sources(&config) {
            Ok(()) => config,
            Err(err) => return unusable(args, &err.to_string(), &json!([])),
        },
        Err(ConfigError::Refused(findings)) => {
            report(args, Exit::Bad, &findings, &[], None);
            return Exit::Bad;
        }
        Err(err) => return unusable(args, &err.to_string(), &err.json()),
    };
    let notes = notes(&config);
    if !args.connect {
        report(args, Exit::Good, &config.findings, &notes, None);
        return Exit::Good;
    }
    // Warnings about the setup are logged, as at a start.
    log_to_stderr(config.log, "warn");
    block_on(async {
        let probes = probe(&config).await;
        let all_good = probes.iter().all(|probe| probe.result.is_ok());
        let exit = if all_good { Exit::Good } else { Exit::Environment };
        report(args, exit, &config.findings, &notes, Some(&probes));
        exit
    })
}

/// Prints the problems of a file with which no node starts.
fn unusable(args: &Args, message: &str, problems: &Value) -> Exit {
    if args.json {
        print(json!({
            "verdict": "unusable", "message": message, "problems": problems, "findings": [],
        }));
    } else {
        print_error(format_args!("tidegate: {message}"));
    }
    Exit::Environment
}

fn report(
    args: &Args,
    exit: Exit,
    findings: &Findings,
    notes: &[String],
    probes: Option<&[Probe]>,
) {
    if args.json {
        let verdict = if exit == Exit::Good { "good" } else { "bad" };
        print(json!({
            "verdict": verdict,
            "errors": findings.count(Severity::Error),
            "warnings": findings.count(Severity::Warning),
            "findings": findings.json(),
            "notes": notes,
            "connections": probes.map(|probes| probes.iter().map(probe_json).collect::<Vec<_>>()),
        }));
        return;
    }
    print(findings);
    probes.into_iter().flatten().for_each(print_probe);
    notes.iter().for_each(|note| print(format_args!("\nnote  {note}")));
}

fn probe_json(probe: &Probe) -> Value {
    json!({
        "part": probe.part,
        "address": probe.address,
        "ok": probe.result.is_ok(),
        "message": probe.result.as_ref().err().map(ToString::to_string),
        "planned": probe.planned,
    })
}

/// Prints a line for a part that a start can use, or the error of another.
pub(super) fn print_probe(probe: &Probe) {
    match &probe.result {
        Ok(()) => print(format_args!("ok      [{}] {}", probe.part, probe.address)),
        Err(err) => print(format_args!("FAILED  {err}")),
    }
    for statement in &probe.planned {
        print(format_args!("        a start runs: {statement}"));
    }
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
