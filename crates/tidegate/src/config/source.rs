//! `[source.NAME]`

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use coherence::CausalTokens;
use contract::config::{TIME_LIMITS, TableReader, ValueError};
use contract::{Problem, SigningKeysSource};
use database::DatabaseUrl;

use super::source_events::{self, SourceEvents};
use super::syntax::identifier;
use super::url::database_url;

pub(super) const KEYS: &[&str] = &[
    "url",
    "main",
    "password_file",
    "replicas",
    "publication",
    "slot",
    "connections",
    "load_timeout",
    "message_keys",
    "message_keys_file",
    "events",
];

/// The default name of the slot and of the publication.
const DEFAULT_NAME: &str = "tidegate";

/// A database and how its log is followed.
#[derive(Debug)]
pub(crate) struct Source {
    /// Its address.
    pub(crate) url: DatabaseUrl,
    /// Its tiers store the pages, and the values of contracts without a source.
    pub(crate) main: bool,
    /// The addresses of its standbys; PostgreSQL and MariaDB only.
    pub(crate) replicas: Vec<DatabaseUrl>,
    /// The publication of the tables that contracts name.
    pub(crate) publication: String,
    /// The replication slot; all nodes of one configuration share it.
    pub(crate) slot: String,
    /// Whether the configuration names the slot.
    names_slot: bool,
    /// The most connections for loads.
    pub(crate) connections: usize,
    /// The time limit of one load.
    pub(crate) load_timeout: Duration,
    /// The keys that sign and verify the requests in its log. `None`: each writer of the log is trusted.
    pub(crate) message_keys: Option<SigningKeysSource>,
    /// Posted change events, in place of a log that is read.
    pub(crate) events: Option<SourceEvents>,
}

impl Source {
    /// `folder`: the base of relative file names.
    pub(super) fn read(table: &mut TableReader<'_>, folder: &Path) -> Option<Self> {
        let publication = name(table, "publication");
        let names_slot = table.has("slot");
        let slot = name(table, "slot");
        let main = table.flag("main").unwrap_or(false);
        let connections = table.whole_number("connections", 1..=1_000).unwrap_or(8) as usize;
        let load_timeout =
            table.duration("load_timeout", TIME_LIMITS).unwrap_or(Duration::from_secs(5));
        let events = table.nested("events", source_events::KEYS, SourceEvents::read);
        let password_file = table.file("password_file", folder);
        let url = table.required_text_with("url", DatabaseUrl::FORMS, |text| {
            database_url(text, password_file.as_deref())
        });
        let message_keys =
            SigningKeysSource::read(table, ["message_keys", "message_keys_file"], folder);
        let replicas = replicas(table, url.as_ref(), password_file.as_deref());
        if table.has("events") {
            let own_names = [("slot", &*slot), ("publication", &*publication)];
            check_events(table, url.as_ref(), events.as_ref(), own_names);
        }
        Some(Self {
            url: url?,
            main,
            replicas,
            publication,
            slot,
            names_slot,
            connections,
            load_timeout,
            message_keys,
            events,
        })
    }
}

/// Checks sources against each other, and completes them: with one source, it is the main one; with several, the slot
/// of each other one has the source's name in it, since the databases of one server share its slots.
pub(super) fn complete(sources: &mut BTreeMap<String, Source>) -> Vec<Problem> {
    if let [source] = &mut *sources.values_mut().collect::<Vec<_>>() {
        source.main = true;
    }
    let mut problems = Vec::new();
    let mut problem = |rule, path: String, message: String, help: &str| {
        problems.push(ValueError { rule, message, help: help.to_owned() }.at(path));
    };
    let names: Vec<String> = sources.keys().cloned().collect();
    let mains = sources.iter().filter(|(_, source)| source.main).map(|(name, _)| name.as_str());
    match mains.collect::<Vec<_>>()[..] {
        [_] => {}
        [] if sources.is_empty() => {}
        [] => {
            let message = format!("none of the sources {} is the main one", names.join(", "));
            let help =
                "set `main = true` in the source that was there first: its tiers store the pages";
            problem("missing", "source".to_owned(), message, help);
        }
        [one, other, ..] => {
            let message = format!("`{one}` and `{other}` are both the main one");
            problem("conflict", format!("source.{other}.main"), message, "remove one of them");
        }
    }
    if names.len() > CausalTokens::MOST {
        let message = format!("there are {} sources", names.len());
        let help = format!("use at most {}", CausalTokens::MOST);
        problem("out-of-range", "source".to_owned(), message, &help);
    }
    for name in names.iter().filter(|_| names.len() > 1) {
        if let Err(err) = source_name(name) {
            problem(err.rule, format!("source.{name}"), err.message, &err.help);
        }
    }
    for (at, name) in names.iter().enumerate() {
        let same = names[..at].iter().find(|other| sources[*other].url == sources[name].url);
        if let Some(other) = same {
            let message = format!("is the database of [source.{other}]");
            let help = "name it once: all contracts of a database have one source";
            problem("conflict", format!("source.{name}.url"), message, help);
        }
    }
    for (name, source) in sources.iter_mut() {
        if !source.main && !source.names_slot {
            source.slot = format!("{DEFAULT_NAME}_{name}");
        }
    }
    problems
}

/// Checks the name of one of several sources: it is a part of names in the shared tier and in the database.
fn source_name(name: &str) -> Result<(), ValueError> {
    const LONGEST: usize = 32;
    match identifier(name) {
        Ok(_) if name.len() <= LONGEST => Ok(()),
        Ok(_) | Err(_) => {
            let help = format!("use 1 to {LONGEST} of a-z, 0-9 and _");
            Err(ValueError::wrong_value(format!("`{name}` is not a name of a source"), &help))
        }
    }
}

fn name(table: &mut TableReader<'_>, key: &str) -> String {
    table.text_with(key, identifier).unwrap_or_else(|| DEFAULT_NAME.to_owned())
}

/// Reads the addresses of standbys, which have the primary's engine.
fn replicas(
    table: &mut TableReader<'_>,
    primary: Option<&DatabaseUrl>,
    password_file: Option<&Path>,
) -> Vec<DatabaseUrl> {
    let mut urls = Vec::new();
    for (key, url) in table.list_with("replicas", |text| database_url(text, password_file)) {
        if primary == Some(&url) {
            let message = format!("`{url}` is the source itself");
            table.problem("conflict", &key, message, "name its standbys");
        } else if !primary.is_none_or(|primary| may_follow(&url, primary)) {
            let message = format!("`{url}` can't be a standby of the source's database");
            let help = "name standbys of a PostgreSQL source, or replicas of a MariaDB source";
            table.problem("conflict", &key, message, help);
        }
        urls.push(url);
    }
    urls
}

fn may_follow(standby: &DatabaseUrl, primary: &DatabaseUrl) -> bool {
    use DatabaseUrl::{MariaDb, Postgres};
    matches!((standby, primary), (Postgres(_), Postgres(_)) | (MariaDb(_), MariaDb(_)))
}

/// Checks the source of posted events; `own_names`: the keys and values of Tidegate's own names in a database.
fn check_events(
    table: &mut TableReader<'_>,
    url: Option<&DatabaseUrl>,
    events: Option<&SourceEvents>,
    own_names: [(&str, &str); 2],
) {
    let is_postgres = match url {
        Some(DatabaseUrl::Sqlite(_)) => {
            let message =
                "only a PostgreSQL or MariaDB source can be followed by Debezium's events";
            let help = "remove it: without it the source is followed by its own log";
            return table.problem("conflict", "events", message, help);
        }
        Some(DatabaseUrl::MariaDb(_)) => false,
        Some(DatabaseUrl::Postgres(_)) | None => true,
    };
    for key in events.filter(|_| !is_postgres).iter().flat_map(|events| &events.names) {
        let message = format!("a MariaDB has no {key}");
        table.problem("conflict", &format!("events.{key}"), message, "remove it");
    }
    for (key, name) in own_names {
        // On MariaDB, `slot` names the lock of the node that takes events.
        if name != DEFAULT_NAME && (is_postgres || key == "publication") {
            let help = format!("remove it, and name Debezium's in `events.{key}`");
            table.problem("conflict", key, format!("`{name}` is not used with `events`"), help);
        }
    }
}
