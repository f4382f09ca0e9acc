//! The configuration as it is written.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use cache::shared::{RedisLogin, RedisOptions};
use serde::Deserialize;

use super::events::Events;
use super::pools::Pools;
use super::url::SharedUrl;
use super::{ConfigError, SourceUrl, suggest};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
pub(super) struct Config {
    pub(super) node: Node,
    pub(super) listen: Listen,
    pub(super) source: std::collections::BTreeMap<String, Source>,
    pub(super) shared: Shared,
    pub(super) local: Local,
    pub(super) governor: Governor,
    pub(super) upstream: Option<Upstream>,
    pub(super) edge: Edge,
    pub(super) log: Log,
    pub(super) audit: Audit,
    pub(super) contracts: Option<String>,
    pub(super) data: toml::Table,
}

/// `[node]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Node {
    pub(super) region: Option<String>,
}

/// `[listen]`
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Listen {
    /// The public gateway.
    pub(crate) gateway: SocketAddr,
    /// The data face; private.
    pub(crate) data: SocketAddr,
    /// Admin, metrics and health; private.
    pub(crate) admin: SocketAddr,
}

impl Default for Listen {
    fn default() -> Self {
        let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Self { gateway: local(8080), data: local(9170), admin: local(9180) }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Source {
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
    events: Option<Events>,
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

impl Source {
    pub(super) fn check(self) -> Result<super::Source, String> {
        identifier("publication", &self.publication)?;
        identifier("slot", &self.slot)?;
        if !(1..=1_000).contains(&self.connections) {
            return Err(format!("connections = {}: use 1 to 1000", self.connections));
        }
        let url: SourceUrl = self.url.parse()?;
        let own_names = [&self.publication, &self.slot].iter().any(|name| **name != tidegate());
        let events = self.events.map(|events| events.check(&url, own_names)).transpose();
        Ok(super::Source {
            events: events.map_err(|err| format!("events: {err}"))?,
            replicas: replicas(&url, &self.replicas)?,
            url,
            publication: self.publication,
            slot: self.slot,
            connections: self.connections,
            load_timeout: duration("load_timeout", &self.load_timeout)?,
        })
    }
}

/// A name of something in the database.
pub(super) fn identifier(name: &str, text: &str) -> Result<(), String> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if !text.is_empty() && text.len() <= 63 && text.chars().all(plain) {
        return Ok(());
    }
    Err(format!("{name} = {text:?}: use 1 to 63 of a-z, 0-9 and _"))
}

/// Standbys are PostgreSQL's, of a PostgreSQL primary.
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

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Shared {
    pub(super) url: String,
    pub(super) region: Option<String>,
    timeout: String,
    prefix: String,
    ca: Option<PathBuf>,
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
    sentinel_user: Option<String>,
    sentinel_password: Option<Secret>,
}

/// A text that is not printed.
#[derive(Deserialize)]
pub(super) struct Secret(pub(super) String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            url: "memory:".into(),
            region: None,
            timeout: "50ms".into(),
            prefix: "tg".into(),
            ca: None,
            cert: None,
            key: None,
            sentinel_user: None,
            sentinel_password: None,
        }
    }
}

impl Shared {
    /// `folder`: what names of files are relative to.
    pub(super) fn check(self, folder: &Path) -> Result<super::Shared, String> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if self.prefix.is_empty() || self.prefix.len() > 32 || !self.prefix.chars().all(plain) {
            return Err(format!("prefix = {:?}: use 1 to 32 of a-z, 0-9 and -", self.prefix));
        }
        let url: SharedUrl = self.url.parse()?;
        let sentinel = RedisLogin {
            user: self.sentinel_user,
            password: self.sentinel_password.map(|Secret(password)| password),
        };
        match &url {
            SharedUrl::Redis(text) => {
                let options =
                    RedisOptions { sentinel: sentinel.clone(), ..RedisOptions::new(text) };
                options.check().map_err(|err| format!("url = {:?}: {err}", url.to_string()))?;
            }
            SharedUrl::Memory => {
                let files = [&self.ca, &self.cert, &self.key].iter().any(|file| file.is_some());
                if files || sentinel.user.is_some() || sentinel.password.is_some() {
                    return Err(
                        "ca, cert, key, sentinel_user and sentinel_password are for Redis, \
                                and url is memory:"
                            .into(),
                    );
                }
            }
        }
        let file = |file: Option<PathBuf>| file.map(|file| folder.join(file));
        Ok(super::Shared {
            url,
            timeout: duration("timeout", &self.timeout)?,
            prefix: self.prefix,
            ca: file(self.ca),
            cert: file(self.cert),
            key: file(self.key),
            sentinel,
        })
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Local {
    pub(super) memory: String,
    pub(super) pools: Pools,
}

impl Default for Local {
    fn default() -> Self {
        Self { memory: "256MiB".into(), pools: Pools::default() }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Governor {
    pub(super) mode: GovernorMode,
}

/// `[governor] mode`
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum GovernorMode {
    /// Contracts may spend their budgets while their origin is hard pressed.
    #[default]
    On,
    /// Every commit costs what it makes old, whatever the origin can bear.
    Off,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Upstream {
    url: String,
    #[serde(default = "ten_seconds")]
    timeout: String,
}

fn ten_seconds() -> String {
    "10s".into()
}

impl Upstream {
    pub(super) fn check(self) -> Result<super::Upstream, String> {
        let url = plain_http("url", &self.url)?;
        Ok(super::Upstream { url, timeout: duration("timeout", &self.timeout)? })
    }
}

/// `http://host:port` and nothing more.
fn plain_http(name: &str, text: &str) -> Result<http::Uri, String> {
    let url = http::Uri::from_str(text).map_err(|err| format!("{name}: {err}"))?;
    let plain_path = matches!(url.path(), "" | "/") && url.query().is_none();
    if url.scheme_str() != Some("http") || url.authority().is_none() || !plain_path {
        return Err(format!(
            "{name} = {text:?}: write http://host:port without a path, such as http://127.0.0.1:3000"
        ));
    }
    Ok(url)
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Edge {
    pub(super) route: Vec<edge::RouteConfig>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Log {
    pub(super) format: LogFormat,
}

/// `[log] format`
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Audit {
    reads_per_second: f64,
    sample: f64,
    peers: Vec<String>,
}

impl Default for Audit {
    fn default() -> Self {
        Self { reads_per_second: 20.0, sample: 0.001, peers: Vec::new() }
    }
}

/// Nodes that one auditor asks.
const PEERS_MAX: usize = 31;

impl Audit {
    pub(super) fn check(&self) -> Result<super::Audit, String> {
        let &Self { reads_per_second, sample, ref peers } = self;
        if !(0.0..=10_000.0).contains(&reads_per_second) {
            return Err(format!(
                "reads_per_second = {reads_per_second}: use 0 (no audit) to 10000"
            ));
        }
        if !(0.0..=1.0).contains(&sample) {
            return Err(format!("sample = {sample}: use a share from 0 to 1, such as 0.001"));
        }
        if peers.len() > PEERS_MAX {
            return Err(format!("peers: use at most {PEERS_MAX} of the other nodes"));
        }
        let mut names: Vec<String> = Vec::new();
        for peer in peers {
            let url = plain_http("peers", peer)?;
            let port = url.port_u16().unwrap_or(80);
            let name = format!("{}:{port}", url.host().unwrap_or_default());
            if names.contains(&name) {
                return Err(format!("peers: {peer:?} is there twice"));
            }
            names.push(name);
        }
        Ok(super::Audit { reads_per_second, sample, peers: names })
    }
}

/// Times such as `50ms`, `10s`, `5m`; more than nothing, at most a day.
pub(super) fn duration(name: &str, text: &str) -> Result<Duration, String> {
    let parsed = humantime::parse_duration(text).map_err(|err| {
        format!("{name} = {text:?}: {err}; write a time such as \"50ms\" or \"10s\"")
    })?;
    if parsed.is_zero() || parsed > Duration::from_secs(24 * 3600) {
        return Err(format!("{name} = {text:?}: must be more than nothing and at most a day"));
    }
    Ok(parsed)
}

impl Config {
    pub(super) fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        toml::from_str(text).map_err(|err| content(path, &err))
    }
}

pub(super) fn text(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path)
        .map_err(|source| ConfigError::File { path: path.to_owned(), source })
}

fn content(path: &Path, err: &toml::de::Error) -> ConfigError {
    let mut message = err.to_string();
    if let Some(near) = suggest::for_message(err.message()) {
        message = format!("{}{near}", message.trim_end());
    }
    ConfigError::Content { path: path.to_owned(), message }
}

/// The files that `contracts = "contracts/*.toml"` (or one file's name) stands for, sorted.
pub(super) fn contract_files(
    config: &Path,
    pattern: Option<&str>,
) -> Result<Vec<PathBuf>, ConfigError> {
    let Some(pattern) = pattern else { return Ok(Vec::new()) };
    let path = config.parent().unwrap_or(Path::new("")).join(pattern);
    if path.file_name().is_none_or(|name| name != "*.toml") {
        return Ok(vec![path]);
    }
    let folder = path.parent().unwrap_or(Path::new("")).to_owned();
    let failed = |source| ConfigError::File { path: folder.clone(), source };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(&folder).map_err(failed)? {
        let file = entry.map_err(failed)?.path();
        if file.extension().is_some_and(|extension| extension == "toml") {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ContractFile {
    data: toml::Table,
}

/// A file that holds `[data.…]` tables only.
pub(super) fn read_contracts(path: &Path) -> Result<toml::Table, ConfigError> {
    let text = text(path)?;
    let file: ContractFile = toml::from_str(&text).map_err(|err| content(path, &err))?;
    Ok(file.data)
}
