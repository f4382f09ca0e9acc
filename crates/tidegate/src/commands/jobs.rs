//! `tidegate jobs`

use std::path::PathBuf;
use std::time::Duration;

use sale::ledger::{DeadJob, JobStats, Ledger, LedgerError};
use sale::rules::JobRun;
use serde_json::json;

use super::sale::{failed, options};
use crate::exit::Exit;
use crate::runtime::block_on;
use crate::terminal::{print, print_error};

/// Show, pause, resume, replay and drain the jobs behind the sale.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:  tidegate jobs list\n           tidegate jobs pause mail\n           tidegate jobs replay mail --json\n\nThese commands use the database of [sale] themselves: no node needs to run.\n\nExit codes: 0 good, 1 no such kind or job, or jobs are left, 3 the environment lacks something"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Show the kinds with their counts, or the dead letters of one.
    #[command(after_help = "Example:  tidegate jobs list --dead mail --json")]
    List {
        #[command(flatten)]
        common: Common,
        /// Show the oldest dead letters of this kind.
        #[arg(long, value_name = "KIND")]
        dead: Option<String>,
        /// The most dead letters.
        #[arg(long, default_value_t = 100, value_name = "COUNT")]
        limit: u32,
    },
    /// Start no more jobs of a kind, on all nodes, until it is resumed. Running ones end.
    #[command(after_help = "Example:  tidegate jobs pause mail")]
    Pause {
        /// The kind.
        kind: String,
        #[command(flatten)]
        common: Common,
    },
    /// Run a paused kind, or accept jobs of a drained one.
    #[command(after_help = "Example:  tidegate jobs resume mail")]
    Resume {
        /// The kind.
        kind: String,
        #[command(flatten)]
        common: Common,
    },
    /// Run the dead letters of a kind again, those that are there now, with all attempts.
    #[command(after_help = "Example:  tidegate jobs replay mail --job 4711")]
    Replay {
        /// The kind.
        kind: String,
        /// Only this one.
        #[arg(long, value_name = "NUMBER")]
        job: Option<i64>,
        #[command(flatten)]
        common: Common,
    },
    /// Refuse requests for new jobs of a kind, and wait until the others have ended. Events of orders still make jobs.
    #[command(after_help = "Example:  tidegate jobs drain export --timeout 600")]
    Drain {
        /// The kind.
        kind: String,
        /// The longest wait, in seconds; exits with 1 if jobs are left.
        #[arg(long, default_value_t = 60, value_name = "SECONDS")]
        timeout: u64,
        #[command(flatten)]
        common: Common,
    },
}

#[derive(Debug, clap::Args)]
struct Common {
    /// The configuration.
    #[arg(long, value_name = "FILE", default_value = "tidegate.toml")]
    config: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Exit {
    block_on(async {
        execute(&args.command).await.unwrap_or_else(|problem| {
            print_error(format_args!("tidegate: {problem}"));
            Exit::Environment
        })
    })
}

async fn execute(command: &Command) -> Result<Exit, String> {
    let (Command::List { common, .. }
    | Command::Pause { common, .. }
    | Command::Resume { common, .. }
    | Command::Replay { common, .. }
    | Command::Drain { common, .. }) = command;
    let options = options(&common.config)?;
    let ledger = options.open().await.map_err(failed(&options))?;
    let done = match command {
        Command::List { dead: None, .. } => list(&*ledger, common.json).await,
        Command::List { dead: Some(kind), limit, .. } => {
            dead_letters(&*ledger, kind, *limit, common.json).await
        }
        Command::Pause { kind, .. } => set(&*ledger, kind, JobRun::Paused, common.json).await,
        Command::Resume { kind, .. } => set(&*ledger, kind, JobRun::Running, common.json).await,
        Command::Replay { kind, job, .. } => replay(&*ledger, kind, *job, common.json).await,
        Command::Drain { kind, timeout, .. } => {
            drain(&*ledger, kind, Duration::from_secs(*timeout), common.json).await
        }
    };
    done.map_err(failed::<LedgerError>(&options))
}

async fn list(ledger: &dyn Ledger, json: bool) -> Result<Exit, LedgerError> {
    let kinds = ledger.job_stats().await?;
    if json {
        print(json!({ "kinds": kinds }));
        return Ok(Exit::Good);
    }
    if kinds.is_empty() {
        print("no kinds of jobs: add [jobs.KIND] to the configuration, and start a node");
    }
    for kind in &kinds {
        let JobStats { kind, class, run, waiting, delayed, leased, dead, .. } = kind;
        let (class, run) = (class.word(), run.word());
        print(format_args!(
            "{kind:<24} {class:<6} {run:<8} {waiting} waiting, {delayed} delayed, {leased} leased, {dead} dead"
        ));
    }
    for JobStats { kind, class, oldest_ms, .. } in &kinds {
        let oldest = Duration::from_millis(oldest_ms.max(&0).unsigned_abs());
        if oldest > class.goal() {
            let goal = class.goal();
            print(format_args!(
                "{kind}: the oldest has been due for {oldest:?}; the goal is {goal:?}"
            ));
        }
    }
    Ok(Exit::Good)
}

async fn dead_letters(
    ledger: &dyn Ledger,
    kind: &str,
    limit: u32,
    json: bool,
) -> Result<Exit, LedgerError> {
    let dead = ledger.dead_jobs(kind, limit).await?;
    if dead.is_empty() && !is_known(ledger, kind).await? {
        return Ok(unknown(kind));
    }
    if json {
        print(json!({ "kind": kind, "dead": dead }));
        return Ok(Exit::Good);
    }
    for DeadJob { id, attempts, reason, .. } in &dead {
        let reason = reason.as_deref().unwrap_or("no reason");
        print(format_args!("{id:<12} {attempts} attempts: {reason}"));
    }
    print(format_args!("{} dead letters", dead.len()));
    Ok(Exit::Good)
}

async fn is_known(ledger: &dyn Ledger, kind: &str) -> Result<bool, LedgerError> {
    Ok(ledger.job_stats().await?.iter().any(|stats| stats.kind == kind))
}

fn unknown(kind: &str) -> Exit {
    print_error(format_args!(
        "tidegate: there is no kind of jobs {kind:?}; `tidegate jobs list` shows them"
    ));
    Exit::Bad
}

async fn set(
    ledger: &dyn Ledger,
    kind: &str,
    run: JobRun,
    json: bool,
) -> Result<Exit, LedgerError> {
    if !ledger.set_job_run(kind, run).await? {
        return Ok(unknown(kind));
    }
    match json {
        true => print(json!({ "kind": kind, "run": run.word() })),
        false => print(format_args!("{kind} is {}", run.word())),
    }
    Ok(Exit::Good)
}

async fn replay(
    ledger: &dyn Ledger,
    kind: &str,
    job: Option<i64>,
    json: bool,
) -> Result<Exit, LedgerError> {
    let replayed = ledger.replay_jobs(kind, job).await?;
    if replayed == 0 && !is_known(ledger, kind).await? {
        return Ok(unknown(kind));
    }
    match json {
        true => print(json!({ "kind": kind, "replayed": replayed })),
        false => print(format_args!("{replayed} dead letters of {kind} run again")),
    }
    Ok(if replayed == 0 && job.is_some() { Exit::Bad } else { Exit::Good })
}

async fn drain(
    ledger: &dyn Ledger,
    kind: &str,
    timeout: Duration,
    json: bool,
) -> Result<Exit, LedgerError> {
    if !ledger.set_job_run(kind, JobRun::Draining).await? {
        return Ok(unknown(kind));
    }
    let open = || async {
        let stats = ledger.job_stats().await?;
        Ok::<i64, LedgerError>(
            stats.iter().find(|stats| stats.kind == kind).map_or(0, JobStats::open),
        )
    };
    let drained = async {
        loop {
            if open().await? == 0 {
                return Ok::<_, LedgerError>(());
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let left = match tokio::time::timeout(timeout, drained).await {
        Ok(drained) => drained.map(|()| 0)?,
        Err(_) => open().await?,
    };
    match json {
        true => print(json!({ "kind": kind, "run": "draining", "open": left })),
        false => print(format_args!(
            "{left} jobs of {kind} are open; `tidegate jobs resume {kind}` accepts new ones"
        )),
    }
    Ok(if left == 0 { Exit::Good } else { Exit::Bad })
}
