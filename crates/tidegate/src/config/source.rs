//! `[source.NAME]`

use std::path::Path;
use std::time::Duration;

use contract::SigningKeysSource;
use contract::config::{TIME_LIMITS, TableReader};
use database::DatabaseUrl;

use super::source_events::{self, SourceEvents};
use super::syntax::identifier;
use super::url::database_url;

pub(super) const KEYS: &[&str] = &[
    "url",
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
    /// The addresses of its standbys; PostgreSQL only.
    pub(crate) replicas: Vec<DatabaseUrl>,
    /// The publication of the tables that contracts name.
    pub(crate) publication: String,
    /// The replication slot; all nodes of one configuration share it.
    pub(crate) slot: String,
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
        let slot = name(table, "slot");
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
            check_events(table, url.as_ref(), [("slot", &slot), ("publication", &publication)]);
        }
        Some(Self {
            url: url?,
            replicas,
            publication,
            slot,
            connections,
            load_timeout,
            message_keys,
            events,
        })
    }
}

fn name(table: &mut TableReader<'_>, key: &str) -> String {
    table.text_with(key, identifier).unwrap_or_else(|| DEFAULT_NAME.to_owned())
}

/// Reads the addresses of standbys; both they and the primary have to be PostgreSQL's.
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
        } else if !url.is_postgres() || primary.is_some_and(|primary| !primary.is_postgres()) {
            let message = format!("`{url}`: only a PostgreSQL source has standbys");
            table.problem("conflict", &key, message, "remove it");
        }
        urls.push(url);
    }
    urls
}

/// Checks the source of posted events; `own_names`: the keys and values of Tidegate's own names in a database.
fn check_events(
    table: &mut TableReader<'_>,
    url: Option<&DatabaseUrl>,
    own_names: [(&str, &str); 2],
) {
    if url.is_some_and(|url| !url.is_postgres()) {
        let message = "only a PostgreSQL source can be followed by Debezium's events";
        let help = "remove it: without it the source is followed by its own log";
        table.problem("conflict", "events", message, help);
    }
    for (key, name) in own_names {
        if name != DEFAULT_NAME {
            let help = format!("remove it, and name Debezium's in `events.{key}`");
            table.problem("conflict", key, format!("`{name}` is not used with `events`"), help);
        }
    }
}
