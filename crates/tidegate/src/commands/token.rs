//! `tidegate token`

use std::path::{Path, PathBuf};
use std::time::Duration;

use access::{
    Action, AuditLogError, AuditLogOptions, NewToken, Reads, Rights, Role, TokenEntry, TokenFile,
    TokenFileError, append_once,
};
use cache::SystemClock;
use clap::builder::PossibleValuesParser;
use coherence::Clock as _;
use contract::config::{MAX_DURATION, ValueError, format_duration, nearest_name, parse_duration};
use serde_json::{Value, json};
use thiserror::Error;

use crate::config::{Config, ConfigError};
use crate::exit::Exit;
use crate::terminal::{print, print_error};

/// Make, list and revoke the access tokens of the private listeners.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:  tidegate token create deploy --role operator\n           tidegate token create shop --read product_price --read product_stock --expires 90d\n           tidegate token revoke deploy\n\nThe tokens' hashes are in the file that `[access] tokens` names. A running node follows changes\nwithin a second. To rotate a token, make another, hand it out, and revoke the old one."
)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
    /// The configuration.
    #[arg(long, global = true, value_name = "FILE", default_value = "tidegate.toml")]
    config: PathBuf,
    /// Print the result as JSON.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Create(CreateArgs),
    List,
    Revoke(RevokeArgs),
}

/// Make a token and print it, once.
#[derive(Debug, clap::Args)]
struct CreateArgs {
    /// Its name, in lists and in the audit log.
    #[arg(value_name = "NAME")]
    name: String,
    /// Its role on the admin listener: viewer reads, operator also purges, admin also purges everything.
    #[arg(long, value_parser = PossibleValuesParser::new(Role::NAMES.map(|(name, _)| name)))]
    role: Option<String>,
    /// A contract whose values it may read on the data API, or '*' for all; may be repeated.
    #[arg(long = "read", value_name = "CONTRACT")]
    reads: Vec<String>,
    /// The time after which it ends, such as 90d; by default it does not.
    #[arg(long, value_name = "TIME", value_parser = lifetime)]
    expires: Option<Duration>,
}

/// Remove a token. Running nodes refuse it within a second.
#[derive(Debug, clap::Args)]
struct RevokeArgs {
    /// Its name.
    #[arg(value_name = "NAME")]
    name: String,
}

fn lifetime(text: &str) -> Result<Duration, ValueError> {
    parse_duration(text, Duration::from_secs(1)..=MAX_DURATION)
}

#[derive(Debug, Error)]
enum TokenError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("{}: there is no `tokens` in `[access]`; add tokens = \"tokens.toml\"", .0.display())]
    NoFile(PathBuf),
    #[error("no contract {name:?} is in {}; {help}", config.display())]
    UnknownContract { name: String, config: PathBuf, help: String },
    #[error(transparent)]
    File(#[from] TokenFileError),
    #[error("nothing has changed, because it could not be recorded: {0}")]
    NotRecorded(#[from] AuditLogError),
}

impl TokenError {
    fn exit(&self) -> Exit {
        match self {
            Self::UnknownContract { .. } | Self::File(TokenFileError::Change(_)) => Exit::Usage,
            _ => Exit::Environment,
        }
    }
}

pub(crate) fn run(args: &Args) -> Exit {
    match apply(args) {
        Ok(()) => Exit::Good,
        Err(err) => {
            print_error(format_args!("tidegate: {err}"));
            err.exit()
        }
    }
}

fn apply(args: &Args) -> Result<(), TokenError> {
    let config = Config::read(&args.config)?;
    let file = config.access.tokens.clone();
    let file = file.ok_or_else(|| TokenError::NoFile(args.config.clone()))?;
    let clock = SystemClock::start();
    let recorder = Recorder { log: config.access.audit_log.as_ref(), time_us: clock.wall_us() };
    match &args.command {
        Command::Create(create) => {
            check_contracts(&config, &args.config, &create.reads)?;
            self::create(&file, create, &recorder, args.json)
        }
        Command::List => list(&file, recorder.now_s(), args.json),
        Command::Revoke(RevokeArgs { name }) => {
            let detail = json!({ "token": name });
            file.update(|tokens| tokens.remove(name), |_| recorder.record("token.revoke", detail))?;
            let text = format!("{name} is revoked; running nodes refuse it within a second");
            print(if args.json { json!({ "revoked": name }).to_string() } else { text });
            Ok(())
        }
    }
}

fn create(
    file: &TokenFile,
    args: &CreateArgs,
    recorder: &Recorder<'_>,
    json: bool,
) -> Result<(), TokenError> {
    let role = args
        .role
        .as_deref()
        .and_then(|role| Role::NAMES.iter().find(|(name, _)| *name == role).map(|(_, role)| *role));
    let rights = Rights { role, reads: Reads::of_names(args.reads.iter().cloned()) };
    let text = rights.to_string();
    let detail = json!({ "token": args.name, "rights": text });
    let new = NewToken { name: args.name.clone(), rights, lifetime: args.expires };
    let token = file.update(
        |tokens| tokens.add(new, recorder.now_s()),
        |_| recorder.record("token.create", detail),
    )?;
    if json {
        print(json!({ "name": args.name, "rights": text, "token": token.expose() }));
        return Ok(());
    }
    print(token.expose());
    let lifetime = args
        .expires
        .map_or_else(String::new, |lifetime| format!(", for {}", format_duration(lifetime)));
    print_error(format_args!(
        "{}: {text}{lifetime}; the token is shown only now, keep it in a file that only its user reads",
        args.name
    ));
    Ok(())
}

fn list(file: &TokenFile, now_s: u64, as_json: bool) -> Result<(), TokenError> {
    let tokens = file.read()?;
    if as_json {
        let entry = |token: &TokenEntry| {
            json!({
                "name": &*token.name,
                "role": token.rights.role.map(Role::as_str),
                "reads": token.rights.reads.names(),
                "created_s": token.created_s,
                "expires_s": token.expires_s,
                "expired": token.has_expired(now_s),
            })
        };
        print(Value::from_iter(tokens.iter().map(entry)));
        return Ok(());
    }
    for token in tokens.iter() {
        let end = match token.expires_s {
            None => "does not end".to_owned(),
            Some(_) if token.has_expired(now_s) => "has expired".to_owned(),
            Some(end) => {
                format!("ends in {}", format_duration(Duration::from_secs(end - now_s)))
            }
        };
        print(format_args!("{:<24} {}; {end}", token.name, token.rights));
    }
    Ok(())
}

/// A misspelt contract would make a token that reads nothing.
fn check_contracts(config: &Config, path: &Path, names: &[String]) -> Result<(), TokenError> {
    let known = || config.contracts.iter().map(|contract| contract.name.as_str());
    let is_known = |name: &&String| *name == Reads::ALL || known().any(|known| known == *name);
    match names.iter().find(|name| !is_known(name)) {
        None => Ok(()),
        Some(name) => {
            let help = match nearest_name(name, known()) {
                Some(near) => format!("did you mean {near:?}?"),
                None => format!("there are: {}", known().collect::<Vec<_>>().join(", ")),
            };
            let (name, config) = (name.clone(), path.to_owned());
            Err(TokenError::UnknownContract { name, config, help })
        }
    }
}

/// Records the changes of tokens in the audit log, if there is one.
struct Recorder<'a> {
    log: Option<&'a AuditLogOptions>,
    time_us: u64,
}

impl Recorder<'_> {
    fn now_s(&self) -> u64 {
        self.time_us / 1_000_000
    }

    fn record(&self, name: &'static str, detail: Value) -> Result<(), TokenError> {
        let Some(log) = self.log else { return Ok(()) };
        let by = format!("uid {}", rustix::process::getuid().as_raw());
        append_once(log, Action { by, from: None, name, detail }, self.time_us)?;
        Ok(())
    }
}
