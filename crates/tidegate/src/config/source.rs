//! `[source.NAME]`

use std::time::Duration;

use serde::Deserialize;

use super::duration;
use super::identifier;
use super::source_events::{EventsSection, SourceEvents};
use super::url::SourceUrl;

/// A database and how its log is followed.
#[derive(Debug)]
pub(crate) struct Source {
    /// Its address.
    pub(crate) url: SourceUrl,
    /// The addresses of its standbys; PostgreSQL only.
    pub(crate) replicas: Vec<SourceUrl>,
    /// The publication of the tables that contracts name.
    pub(crate) publication: String,
    /// The replication slot; all nodes of one configuration share it.
    pub(crate) slot: String,
    /// The most connections for loads.
    pub(crate) connections: usize,
    /// The time limit of one load.
    pub(crate) load_timeout: Duration,
    /// Posted change events, in place of a log that is read.
    pub(crate) events: Option<SourceEvents>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SourceSection {
    url: String,
    #[serde(default)]
    replicas: Vec<String>,
    #[serde(default = "tidegate")]
    publication: String,
    #[serde(default = "tidegate")]
    slot: String,
    #[serde(default = "eight")]
    connections: usize,
    #[serde(default = "five_seconds")]
    load_timeout: String,
    events: Option<EventsSection>,
}

fn tidegate() -> String {
    "tidegate".into()
}

fn eight() -> usize {
    8
}

fn five_seconds() -> String {
    "5s".into()
}

impl SourceSection {
    pub(super) fn check(self) -> Result<Source, String> {
        identifier::check("publication", &self.publication)?;
        identifier::check("slot", &self.slot)?;
        if !(1..=1_000).contains(&self.connections) {
            return Err(format!("connections = {}: use 1 to 1000", self.connections));
        }
        let url: SourceUrl = self.url.parse()?;
        let own_names = [&self.publication, &self.slot].iter().any(|name| **name != tidegate());
        let events = self.events.map(|events| events.check(&url, own_names)).transpose();
        Ok(Source {
            events: events.map_err(|err| format!("events: {err}"))?,
            replicas: replicas(&url, &self.replicas)?,
            url,
            publication: self.publication,
            slot: self.slot,
            connections: self.connections,
            load_timeout: duration::parse("load_timeout", &self.load_timeout)?,
        })
    }
}

/// Parses the addresses of standbys; both they and the primary have to be PostgreSQL's.
fn replicas(primary: &SourceUrl, texts: &[String]) -> Result<Vec<SourceUrl>, String> {
    let parse = |text: &String| {
        let url: SourceUrl =
            text.parse().map_err(|err: String| err.replacen("url", "replicas", 1))?;
        let postgres = |url: &SourceUrl| matches!(url, SourceUrl::Postgres(_));
        if !postgres(primary) || !postgres(&url) {
            return Err(format!("replicas = {url:?}: only a PostgreSQL source has standbys"));
        }
        if url == *primary {
            return Err(format!(
                "replicas = {url:?}: this is the source itself; name its standbys"
            ));
        }
        Ok(url)
    };
    texts.iter().map(parse).collect()
}
