//! `tidegate drill`

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;

use crate::drills::{DrillLedger, PostgresPrograms, Round, RoundResult, SaleStage};
use crate::exit::Exit;
use crate::runtime::{block_on, stop_requested};
use crate::sale_audit::finding_lines;
use crate::terminal::{print, print_error};

/// Run the sale under faults, and audit it.
///
/// Everything is started by the drill, on this machine only, and stopped at its end: a PostgreSQL, two nodes, a
/// payment provider with a ledger of its own, and buyers. No configuration is read, and no other database is used.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:  tidegate drill sale\n           tidegate drill sale --rounds 100 --json\n\nExit codes: 0 no finding, 1 findings, 2 usage, 3 a round shows nothing: it could not be run, or nothing was bought"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Sell under faults: nodes are killed, the database restarts, the provider fails; then check all books.
    #[command(after_help = "Example:  tidegate drill sale --rounds 10 --seconds 20 --seed 7")]
    Sale(SaleArgs),
}

#[derive(Debug, clap::Args)]
struct SaleArgs {
    /// The number of rounds, each with its own seed.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rounds: u32,
    /// The seconds of buyers and faults in each round.
    #[arg(long, value_name = "S", default_value_t = 10, value_parser = clap::value_parser!(u64).range(3..=600))]
    seconds: u64,
    /// The buyers of each round.
    #[arg(long, value_name = "N", default_value_t = 90, value_parser = clap::value_parser!(u32).range(10..=10_000))]
    buyers: u32,
    /// The seed of the first round; the same seed gives the same buyers and faults [default: a random one].
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// The ledger's database [default: an own PostgreSQL, or SQLite where none is installed].
    #[arg(long, value_name = "KIND")]
    ledger: Option<LedgerKind>,
    /// Print a JSON object for each round, and one for all.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum LedgerKind {
    Postgres,
    Sqlite,
}

pub(crate) fn run(args: &Args) -> Exit {
    let Command::Sale(args) = &args.command;
    block_on(async {
        let drilled = tokio::select! {
            drilled = Box::pin(sale(args)) => drilled,
            () = stop_requested() => Err(anyhow::anyhow!("stopped; the servers of the drill are stopped, too")),
        };
        drilled.unwrap_or_else(|err| {
            print_error(format_args!("tidegate: {err:#}"));
            Exit::Environment
        })
    })
}

async fn sale(args: &SaleArgs) -> Result<Exit> {
    let seed = args.seed.unwrap_or_else(|| rand::random_range(1..1_000_000));
    let ledger = ledger(args.ledger)?;
    let kind = if matches!(ledger, DrillLedger::Sqlite) { "SQLite" } else { "PostgreSQL" };
    print_error(format_args!("tidegate drill: {kind}, two nodes, a payment provider; seed {seed}"));
    let mut stage = Box::pin(SaleStage::start(ledger, seed)).await?;
    let mut verdicts = Verdicts::default();
    for number in 0..args.rounds {
        let round = Round {
            seed: seed.wrapping_add(u64::from(number)),
            buyers: args.buyers as usize,
            span: Duration::from_secs(args.seconds),
        };
        let run = Box::pin(round.run(&mut stage)).await;
        let result = run.with_context(|| format!("the round of the seed {}", round.seed))?;
        show(number + 1, &result, args.json);
        verdicts.add(&result);
        if result.verdict() == "bad" {
            // Later audits would report the same again.
            let folder = stage.keep().display().to_string();
            print_error(format_args!(
                "the logs, the ledger and the clients' record are in {folder}"
            ));
            break;
        }
    }
    Ok(verdicts.finish(args.json))
}

fn ledger(wanted: Option<LedgerKind>) -> Result<DrillLedger> {
    match (wanted, PostgresPrograms::find()) {
        (Some(LedgerKind::Sqlite), _) => Ok(DrillLedger::Sqlite),
        (_, Some(programs)) => Ok(DrillLedger::Postgres(programs)),
        (Some(LedgerKind::Postgres), None) => {
            anyhow::bail!(
                "no PostgreSQL is installed; get it with `apt-get install postgresql`, or use --ledger sqlite"
            )
        }
        (None, None) => {
            print_error(
                "tidegate drill: no PostgreSQL is installed, so faults of the database are left out",
            );
            Ok(DrillLedger::Sqlite)
        }
    }
}

fn show(number: u32, result: &RoundResult, json: bool) {
    if json {
        print(result.json());
        return;
    }
    let crowd = result.crowd;
    print(format_args!(
        "round {number}, seed {}: {}; {} orders, {} buyers left, {} requests so far",
        result.seed,
        result.verdict(),
        crowd.bought,
        crowd.left,
        result.requests
    ));
    print(format_args!("  faults: {}", result.faults.join(", ")));
    if !result.unknown.is_empty() {
        print(format_args!("  shows nothing: {}", result.unknown));
    }
    for line in finding_lines(&result.findings) {
        print(format_args!("  {line}"));
    }
}

#[derive(Default)]
struct Verdicts {
    good: u32,
    bad: u32,
    unknown: u32,
}

impl Verdicts {
    fn add(&mut self, result: &RoundResult) {
        match result.verdict() {
            "good" => self.good += 1,
            "bad" => self.bad += 1,
            _ => self.unknown += 1,
        }
    }

    fn finish(&self, json: bool) -> Exit {
        let Self { good, bad, unknown } = self;
        let (verdict, exit) = match (bad, unknown) {
            (0, 0) => ("good", Exit::Good),
            (0, _) => ("unknown", Exit::Environment),
            _ => ("bad", Exit::Bad),
        };
        if json {
            print(json!({ "verdict": verdict, "good": good, "bad": bad, "unknown": unknown }));
        } else {
            print(format_args!(
                "{verdict}: {good} rounds good, {bad} bad, {unknown} without a result"
            ));
        }
        exit
    }
}
