//! `tidegate.toml`: read raw, then checked into types that can't be wrong.

mod events;
mod pools;
mod raw;
mod region;
mod size;
mod suggest;
pub(crate) mod url;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cache::Assured;
use cache::shared::RedisLogin;
use contract::{Contract, Contracts, Finding};
use edge::Routes;
use thiserror::Error;

pub(crate) use raw::{GovernorMode, Listen, LogFormat};
pub(crate) use region::Regions;
pub(crate) use url::{SharedUrl, SourceUrl};

/// A checked configuration.
#[derive(Debug)]
pub(crate) struct Config {
    /// Where to listen.
    pub(crate) listen: Listen,
    /// The databases, by name.
    pub(crate) sources: BTreeMap<String, Source>,
    /// The tier that all nodes share.
    pub(crate) shared: Shared,
    /// The hard byte bound of the in-process tier.
    pub(crate) local_bytes: u64,
    /// What each pool of it is assured of.
    pub(crate) assured: Assured,
    /// Where this process and its shared tier run.
    pub(crate) regions: Regions,
    /// Whether budgets may be spent while an origin is hard pressed.
    pub(crate) governor: GovernorMode,
    /// The application behind the gateway.
    pub(crate) upstream: Option<Upstream>,
    /// What is said about pages.
    pub(crate) routes: Routes,
    /// How answers are audited.
    pub(crate) audit: Audit,
    /// What whoever starts it should know about where its data is kept.
    pub(crate) warnings: Vec<Finding>,
    /// How logs are written.
    pub(crate) log: LogFormat,
    /// Who may be how stale, as far as it may be kept where this runs.
    pub(crate) contracts: Contracts,
}

/// A database and how its log is followed.
#[derive(Debug)]
pub(crate) struct Source {
    /// Where it is.
    pub(crate) url: SourceUrl,
    /// Where its standbys are; PostgreSQL's, as the source is.
    pub(crate) replicas: Vec<SourceUrl>,
    /// The publication that names the contracted tables.
    pub(crate) publication: String,
    /// The replication slot; all nodes of one configuration share it.
    pub(crate) slot: String,
    /// Most connections for loads.
    pub(crate) connections: usize,
    /// How long one load may take.
    pub(crate) load_timeout: Duration,
    /// Its changes are posted, in place of a log that is read.
    pub(crate) events: Option<SourceEvents>,
}

/// How Debezium reads the source's log, and who may post its events.
#[derive(Clone, Debug)]
pub(crate) struct SourceEvents {
    /// What whoever posts them has to know.
    pub(crate) secret: control::Secret,
    /// Debezium's replication slot.
    pub(crate) slot: String,
    /// Debezium's publication.
    pub(crate) publication: String,
    /// How often something is written into the log that has to come back.
    pub(crate) beat: Duration,
}

/// The shared tier's settings.
#[derive(Debug)]
pub(crate) struct Shared {
    /// Where it is.
    pub(crate) url: SharedUrl,
    /// How long one call may take.
    pub(crate) timeout: Duration,
    /// The prefix of every key in it.
    pub(crate) prefix: String,
    /// PEM file: who is trusted to sign its certificate; `None`: whom this system trusts.
    pub(crate) ca: Option<PathBuf>,
    /// PEM file: the certificate that is shown to it.
    pub(crate) cert: Option<PathBuf>,
    /// PEM file: the key of that certificate.
    pub(crate) key: Option<PathBuf>,
    /// How to log into sentinels.
    pub(crate) sentinel: RedisLogin,
}

/// The auditor's settings.
#[derive(Clone, Debug)]
pub(crate) struct Audit {
    /// Reads of the database per second, on average; 0: no audit.
    pub(crate) reads_per_second: f64,
    /// The share of the data face's answers that is compared with the database.
    pub(crate) sample: f64,
    /// The other nodes' admin listeners, host and port.
    pub(crate) peers: Vec<String>,
}

/// The application's settings.
#[derive(Debug)]
pub(crate) struct Upstream {
    /// Scheme and authority.
    pub(crate) url: http::Uri,
    /// How long it may take to begin its answer.
    pub(crate) timeout: Duration,
}

/// A configuration that can't be used: what, where, and how to mend it.
#[derive(Debug, Error)]
pub(crate) enum ConfigError {
    /// The file could not be read.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is no TOML, or a key or value is wrong.
    #[error("{}: {message}", path.display())]
    Content {
        /// In which file.
        path: PathBuf,
        /// What is wrong, and how to mend it.
        message: String,
    },
}

impl Config {
    /// Reads a file, and the contract files it names.
    ///
    /// # Errors
    /// [`ConfigError`], with the file, the place and the remedy.
    pub(crate) fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = raw::text(path)?;
        Self::parse(path, &text)
    }

    /// Reads a text as if it stood in the file `path`.
    ///
    /// # Errors
    /// As [`Config::read`].
    pub(crate) fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let raw = raw::Config::parse(path, text)?;
        let content = |message: String| ConfigError::Content { path: path.to_owned(), message };
        let data = data(path, &raw)?;
        let contracts = Contracts::from_toml(&data).map_err(|err| content(err.to_string()))?;
        let regions = Regions::check(&raw).map_err(content)?;
        let warnings = regions.review(contracts.iter());
        let contracts = regions.settle(path, &contracts)?;
        let mut sources = BTreeMap::new();
        for (name, source) in raw.source {
            let source = source.check().map_err(|err| content(format!("[source.{name}] {err}")))?;
            sources.insert(name, source);
        }
        for contract in contracts.iter() {
            let Some(from) = &contract.from else { continue };
            if !sources.contains_key(&from.source) {
                let known: Vec<&str> = sources.keys().map(String::as_str).collect();
                let near = suggest::nearest(&from.source, &known);
                return Err(content(format!(
                    "[data.{}] from.source = {:?}: there is no [source.{}]{near}",
                    contract.name, from.source, from.source
                )));
            }
        }
        let folder = path.parent().unwrap_or(Path::new(""));
        let shared = raw.shared.check(folder).map_err(|err| content(format!("[shared] {err}")))?;
        let upstream = raw
            .upstream
            .map(raw::Upstream::check)
            .transpose()
            .map_err(|err| content(format!("[upstream] {err}")))?;
        let local_bytes = size::parse(&raw.local.memory)
            .map_err(|err| content(format!("[local] memory: {err}")))?;
        let assured = raw.local.pools.check(local_bytes);
        let assured = assured.map_err(|err| content(format!("[local.pools] {err}")))?;
        Ok(Self {
            listen: raw.listen,
            sources,
            shared,
            local_bytes,
            assured,
            regions,
            warnings,
            governor: raw.governor.mode,
            upstream,
            routes: Routes::new(&raw.edge.route).map_err(|err| content(err.to_string()))?,
            audit: raw.audit.check().map_err(|err| content(format!("[audit] {err}")))?,
            log: raw.log.format,
            contracts,
        })
    }

    /// Reviews the contracts of a file and of the contract files it names; a contract that can't
    /// be read is a finding too, beside those of the others.
    ///
    /// # Errors
    /// [`ConfigError`] where the file as a whole can't be read.
    pub(crate) fn review(path: &Path) -> Result<Vec<Finding>, ConfigError> {
        let raw = raw::Config::parse(path, &raw::text(path)?)?;
        let data = data(path, &raw)?;
        let mut findings = contract::lint_toml(&data);
        let regions = Regions::check(&raw);
        let regions =
            regions.map_err(|message| ConfigError::Content { path: path.to_owned(), message })?;
        let read = |(name, value): (&String, &toml::Value)| {
            Contract::from_toml(name, value.as_table()?).ok()
        };
        let contracts: Vec<Contract> = data.iter().filter_map(read).collect();
        findings.extend(regions.review(&contracts));
        Ok(findings)
    }

    /// The longest life that any contract gives an entry.
    #[must_use]
    pub(crate) fn longest_ttl(&self) -> Duration {
        self.contracts.iter().map(|contract| contract.ttl).max().unwrap_or_default()
    }
}

/// The `[data]` table of the file, with those of the contract files it names.
fn data(path: &Path, raw: &raw::Config) -> Result<toml::Table, ConfigError> {
    let mut data = raw.data.clone();
    for file in raw::contract_files(path, raw.contracts.as_deref())? {
        for (name, table) in raw::read_contracts(&file)? {
            if data.insert(name.clone(), table).is_some() {
                let message = format!("[data.{name}] is there twice: rename or remove one");
                return Err(ConfigError::Content { path: file, message });
            }
        }
    }
    Ok(data)
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = |name: &str, addr: &SocketAddr| format!("{name} http://{addr}");
        let parts =
            [part("gateway", &self.gateway), part("data", &self.data), part("admin", &self.admin)];
        f.write_str(&parts.join("  "))
    }
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
