//! `tidegate sale`

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use sale::ledger::LedgerStatus;
use sale::{Pending, SaleOptions, SchemaError};
use serde_json::json;

use super::{sale_audit, sale_provider};
use crate::config::Config;
use crate::exit::Exit;
use crate::runtime::block_on;
use crate::terminal::{print, print_error};

/// Prepare, show and check the ledger of the sale.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:  tidegate sale migrate --dry-run\n           tidegate sale audit --json\n\nThese commands use the database of [sale] themselves: no node needs to run.\n\nExit codes: 0 good, 1 the audit has findings or the books differ, 3 the environment lacks something"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Show the migrations that the database lacks, and apply them, while nodes serve.
    #[command(after_help = "Example:  tidegate sale migrate --config tidegate.toml")]
    Migrate {
        #[command(flatten)]
        file: File,
        /// Show the statements and apply nothing.
        #[arg(long)]
        dry_run: bool,
    },
    /// Show counts of the ledger.
    #[command(after_help = "Example:  tidegate sale status --json")]
    Status {
        #[command(flatten)]
        file: File,
        /// Print the counts as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Check the invariants of stock, holds, checkouts and jobs; exits with 1 where one is broken.
    #[command(
        after_help = "Examples:  tidegate sale audit --json\n           tidegate sale audit --clients clients.jsonl --complete --provider http://127.0.0.1:4242"
    )]
    Audit {
        #[command(flatten)]
        file: File,
        #[command(flatten)]
        records: sale_audit::Records,
    },
    /// Compare checkouts with the payment providers' records; exits with 1 where they differ.
    #[command(after_help = "Example:  tidegate sale reconcile --json --hours 48")]
    Reconcile {
        #[command(flatten)]
        file: File,
        /// Print the differences as JSON.
        #[arg(long)]
        json: bool,
        /// Compare the checkouts of this many hours, and open ones.
        #[arg(long, value_name = "HOURS", default_value_t = 48, value_parser = clap::value_parser!(u32).range(1..=8760))]
        hours: u32,
    },
    /// Serve a payment provider for rehearsals: it moves no money, and fails on request.
    #[command(after_help = "Example:  tidegate sale provider --listen 127.0.0.1:4242")]
    Provider {
        /// The address to listen on.
        #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:4242")]
        listen: SocketAddr,
    },
}

#[derive(Debug, clap::Args)]
struct File {
    /// The configuration.
    #[arg(long, value_name = "FILE", default_value = "tidegate.toml")]
    config: PathBuf,
}

pub(crate) fn run(args: &Args) -> Exit {
    block_on(async {
        let done = match &args.command {
            Command::Migrate { file, dry_run } => migrate(&file.config, *dry_run).await,
            Command::Status { file, json } => status(&file.config, *json).await,
            Command::Reconcile { file, json, hours } => match options(&file.config) {
                Ok(options) => sale_provider::compare(&options, *hours, *json).await,
                Err(problem) => Err(problem),
            },
            Command::Provider { listen } => sale_provider::provider(*listen).await,
            Command::Audit { file, records } => match options(&file.config) {
                Ok(options) => sale_audit::run(&options, records).await,
                Err(problem) => Err(problem),
            },
        };
        done.unwrap_or_else(|problem| {
            print_error(format_args!("tidegate: {problem}"));
            Exit::Environment
        })
    })
}

/// Reads `[sale]`; the error is a sentence.
pub(super) fn options(config: &Path) -> Result<SaleOptions, String> {
    let config = Config::read(config).map_err(|err| err.to_string())?;
    config.sale.ok_or_else(|| {
        "there is no [sale]: add it with url = \"postgres://…\" or \"sqlite:…\"".to_owned()
    })
}

/// Returns a function that names the database in an error.
pub(super) fn failed<E: std::fmt::Display>(options: &SaleOptions) -> impl Fn(E) -> String {
    let url = options.url.to_string();
    move |err| format!("[sale] {url}: {err}")
}

async fn migrate(config: &Path, dry_run: bool) -> Result<Exit, String> {
    let options = options(config)?;
    let failed = failed::<SchemaError>(&options);
    if dry_run {
        let Pending { present, migrations } = options.pending().await.map_err(failed)?;
        print(format_args!("-- version {present}; {} migrations are missing", migrations.len()));
        for migration in migrations {
            print(format_args!("\n-- {migration}\n{}", migration.sql));
        }
        return Ok(Exit::Good);
    }
    let Pending { present, migrations } = options.migrate().await.map_err(failed)?;
    for migration in &migrations {
        print(format_args!("applied {migration}"));
    }
    if migrations.is_empty() {
        print(format_args!("version {present} is up to date"));
    }
    Ok(Exit::Good)
}

async fn status(config: &Path, json: bool) -> Result<Exit, String> {
    let options = options(config)?;
    let ledger = options.open().await.map_err(failed(&options))?;
    let status = ledger.status().await.map_err(failed(&options))?;
    if json {
        print(json!(status));
        return Ok(Exit::Good);
    }
    let LedgerStatus { schema, skus, on_hand, held, sold, active_holds, .. } = status;
    let LedgerStatus { due_holds, oldest_due_ms, keys, .. } = status;
    let LedgerStatus { open_checkouts, oldest_checkout_ms, orders, .. } = status;
    print(format_args!("ledger   {}, schema {schema}", options.url));
    print(format_args!("stock    {skus} SKUs, {on_hand} on hand, {held} held, {sold} sold"));
    print(format_args!("holds    {active_holds} active, {due_holds} of them past the deadline"));
    if due_holds > 0 {
        print(format_args!(
            "         the oldest for {oldest_due_ms} ms; a running node expires them"
        ));
    }
    print(format_args!("orders   {orders}, and {open_checkouts} checkouts under way"));
    if open_checkouts > 0 {
        print(format_args!("         the oldest for {oldest_checkout_ms} ms"));
    }
    print(format_args!("keys     {keys} idempotency keys"));
    Ok(Exit::Good)
}
