//! `tidegate init`

use std::fs::OpenOptions;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use cache::SystemClock;
use coherence::Clock as _;
use contract::config::nearest_name;
use database::{DatabaseUrl, redacted};
use feed::{FeedError, SurveyedTable};
use thiserror::Error;

use super::check::print_probe;
use super::config_args::DEFAULT_FILE;
use crate::config::{Config, ConfigError, LogFormat};
use crate::exit::Exit;
use crate::init::{Answers, Engine, Proposal, propose, render};
use crate::node::probe;
use crate::runtime::block_on;
use crate::terminal::{log_to_stderr, print, print_error};

/// The variable with the database's address, and its name in the file.
const DATABASE_URL: &str = "DATABASE_URL";

/// The variable with the address of Redis, and its name in the file.
const REDIS_URL: &str = "REDIS_URL";

/// Read a database and write a first configuration, with a contract for each table that suits one.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:  tidegate init\n           tidegate init --database sqlite:shop.db --upstream http://127.0.0.1:3000\n           DATABASE_URL=postgres://shop:secret@db/shop tidegate init shop.toml\n\nWithout --database, it reads the variable DATABASE_URL, or asks on a terminal. A password does not get\ninto the file: the file names the variable. An existing file is left as it is, and nothing in the\ndatabase is altered. Then all that a start needs is checked, as by `tidegate check --connect`.\n\nExit codes: 0 written, and a node can start; 2 usage, or the file exists; 3 nothing could be proposed,\nor a start lacks something that is printed"
)]
pub(crate) struct Args {
    /// The configuration to write.
    #[arg(value_name = "FILE", default_value = DEFAULT_FILE)]
    file: PathBuf,
    /// The database: postgres://…, mysql://… (MariaDB) or sqlite:PATH. Other users of the machine see the
    /// arguments of a process: give a password in DATABASE_URL.
    #[arg(long, value_name = "URL")]
    database: Option<String>,
    /// A table to propose, also one that looks personal (without the columns that do); may be repeated.
    #[arg(long = "table", value_name = "NAME")]
    tables: Vec<String>,
    /// The application, for a gateway in front of it.
    #[arg(long, value_name = "URL")]
    upstream: Option<String>,
    /// Redis, for several processes; one with a password in REDIS_URL.
    #[arg(long, value_name = "URL")]
    shared: Option<String>,
    /// The owner of the contracts, who accepts their budget [default: the user].
    #[arg(long, value_name = "NAME")]
    owner: Option<String>,
    /// Print the configuration and write nothing.
    #[arg(long)]
    print: bool,
}

#[derive(Debug, Error)]
enum InitError {
    #[error("{0} exists and is left as it is; name another file, or remove it")]
    Exists(PathBuf),
    #[error("there is no database: give --database URL, or set {DATABASE_URL}")]
    NoDatabase,
    #[error("--database: `{0}` {1}")]
    Address(String, String),
    #[error("there is no table `{0}`; {1}")]
    NoTable(String, String),
    #[error("{0}: {1}")]
    Database(DatabaseUrl, FeedError),
    #[error("{url} has no table that suits a contract{omitted}")]
    NothingToPropose { url: DatabaseUrl, omitted: String },
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("{0}: {1}")]
    Write(PathBuf, std::io::Error),
}

impl InitError {
    fn exit(&self) -> Exit {
        match self {
            Self::Exists(_) | Self::NoDatabase | Self::Address(..) | Self::NoTable(..) => {
                Exit::Usage
            }
            _ => Exit::Environment,
        }
    }
}

pub(crate) fn run(args: &Args) -> Exit {
    log_to_stderr(LogFormat::Text, "warn");
    block_on(async {
        match Box::pin(init(args)).await {
            Ok(exit) => exit,
            Err(err) => {
                print_error(format_args!("tidegate: {err}"));
                err.exit()
            }
        }
    })
}

async fn init(args: &Args) -> Result<Exit, InitError> {
    if !args.print && args.file.exists() {
        return Err(InitError::Exists(args.file.clone()));
    }
    let text = database_text(args).ok_or(InitError::NoDatabase)?;
    let url: DatabaseUrl = text.parse().map_err(|err: database::UrlError| {
        InitError::Address(redacted(&text), format!("{}; {}", err.problem, err.remedy))
    })?;
    let (engine, tables) =
        survey(&url).await.map_err(|err| InitError::Database(url.clone(), err))?;
    check_names(&args.tables, &tables)?;
    let proposal = propose(engine, &tables, &args.tables);
    if proposal.contracts.is_empty() {
        let omitted = omitted_text(&proposal);
        return Err(InitError::NothingToPropose { url, omitted });
    }
    let shared = args.shared.clone().or_else(|| variable(REDIS_URL));
    let owner = owner(args);
    let day = today();
    let render = |database: &str, shared: Option<&str>| {
        let upstream = args.upstream.as_deref();
        render(&proposal, &url, &Answers { database, shared, upstream, owner: &owner, day: &day })
    };
    let (in_file, shared_in_file) = (
        without_secret(&text, &redacted(&text), "$DATABASE_URL"),
        shared.as_deref().map(|shared| without_secret(shared, &redacted(shared), "$REDIS_URL")),
    );
    let config = Config::parse(&args.file, &render(&text, shared.as_deref()))?;
    let file = render(in_file, shared_in_file);
    if args.print {
        print(file.trim_end());
        return Ok(Exit::Good);
    }
    write_new(&args.file, &file)?;
    print_summary(&args.file, &proposal, &owner);
    let probes = probe(&config).await;
    print("");
    probes.iter().for_each(print_probe);
    let all_good = probes.iter().all(|probe| probe.result.is_ok());
    print_next_steps(args, in_file, shared_in_file, all_good, &proposal);
    Ok(if all_good { Exit::Good } else { Exit::Environment })
}

/// Returns the address of the database: the argument, the variable, or the answer of the user.
fn database_text(args: &Args) -> Option<String> {
    args.database.clone().or_else(|| variable(DATABASE_URL)).or_else(|| {
        ask("Database (postgres://user:password@host/database, mysql://…, sqlite:PATH): ")
    })
}

fn owner(args: &Args) -> String {
    let user = || variable("USER").or_else(|| variable("LOGNAME"));
    args.owner.clone().or_else(user).unwrap_or_else(|| "owner".to_owned())
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.trim().is_empty())
}

/// Asks on a terminal; `None`: there is none, or no answer.
fn ask(question: &str) -> Option<String> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return None;
    }
    let _ = write!(std::io::stderr(), "{question}");
    let mut line = String::new();
    stdin.read_line(&mut line).ok()?;
    Some(line.trim().to_owned()).filter(|line| !line.is_empty())
}

fn today() -> String {
    let now = UNIX_EPOCH + Duration::from_micros(SystemClock::start().wall_us());
    humantime::format_rfc3339_seconds(now).to_string().chars().take(10).collect()
}

async fn survey(url: &DatabaseUrl) -> Result<(Engine, Vec<SurveyedTable>), FeedError> {
    Ok(match url {
        DatabaseUrl::Postgres(url) => (Engine::Postgres, feed::postgres::survey(url).await?),
        DatabaseUrl::MariaDb(url) => (Engine::MariaDb, feed::mariadb::survey(url).await?),
        DatabaseUrl::Sqlite(path) => (Engine::Sqlite, feed::sqlite::survey(path)?),
    })
}

fn check_names(wanted: &[String], tables: &[SurveyedTable]) -> Result<(), InitError> {
    let known = || tables.iter().map(|table| table.name.as_str());
    match wanted.iter().find(|name| !known().any(|known| known == *name)) {
        None => Ok(()),
        Some(name) => {
            let help = match nearest_name(name, known()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("there are: {}", known().collect::<Vec<_>>().join(", ")),
            };
            Err(InitError::NoTable(name.clone(), help))
        }
    }
}

/// Returns an address as it may stand in a file: itself, or `variable` where it has secrets. `shown`: it without them.
fn without_secret<'t>(text: &'t str, shown: &str, variable: &'static str) -> &'t str {
    if text == shown { text } else { variable }
}

fn write_new(path: &Path, text: &str) -> Result<(), InitError> {
    let failed = |err: std::io::Error| match err.kind() {
        std::io::ErrorKind::AlreadyExists => InitError::Exists(path.to_owned()),
        _ => InitError::Write(path.to_owned(), err),
    };
    let mut file = OpenOptions::new().write(true).create_new(true).open(path).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)
}

fn omitted_text(proposal: &Proposal) -> String {
    proposal.omitted.iter().map(|(table, reason)| format!("\n  {table}: {reason}")).collect()
}

fn print_summary(path: &Path, proposal: &Proposal, owner: &str) {
    let count = proposal.contracts.len();
    let contracts = if count == 1 { "contract" } else { "contracts" };
    print(format_args!("wrote {}: {count} {contracts}", path.display()));
    for contract in &proposal.contracts {
        let hidden = match contract.hidden.is_empty() {
            true => String::new(),
            false => format!(", without {}", contract.hidden.join(", ")),
        };
        print(format_args!(
            "  {}: a row of {} by {}{hidden}",
            contract.name, contract.table, contract.key
        ));
    }
    if !proposal.omitted.is_empty() {
        print(format_args!("\nleft out{}", omitted_text(proposal)));
    }
    print(format_args!(
        "\nEach answer may be 30s old, accepted by {owner}: correct `staleness`, `owner` and `approved`."
    ));
}

fn print_next_steps(
    args: &Args,
    database: &str,
    shared: Option<&str>,
    all_good: bool,
    proposal: &Proposal,
) {
    let file = args.file.display();
    print("\nnext");
    for (text, name) in [(Some(database), DATABASE_URL), (shared, REDIS_URL)] {
        if text.is_some_and(|text| text.starts_with('$')) {
            print(format_args!(
                "  export {name}=…   # the address with its password: the file has none"
            ));
        }
    }
    if !all_good {
        print(format_args!(
            "  tidegate check --connect {file}   # once the failures above are repaired"
        ));
    }
    print(format_args!("  tidegate serve {file}"));
    if let Some(contract) = proposal.contracts.first() {
        print(format_args!("  curl 127.0.0.1:9170/data/{}/ID", contract.name));
    }
}
