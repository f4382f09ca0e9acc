//! The checked configuration.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use cache::Assured;
use contract::{Contract, Contracts, Finding};
use edge::Routes;

use super::audit::Audit;
use super::error::ConfigError;
use super::governor::GovernorMode;
use super::listen::Listen;
use super::log::LogFormat;
use super::raw::{RawConfig, read_text};
use super::region::Regions;
use super::shared::Shared;
use super::size;
use super::source::Source;
use super::suggest;
use super::upstream::Upstream;

/// A checked configuration.
#[derive(Debug)]
pub(crate) struct Config {
    /// The listeners' addresses.
    pub(crate) listen: Listen,
    /// The databases by name.
    pub(crate) sources: BTreeMap<String, Source>,
    /// The tier that all nodes share.
    pub(crate) shared: Shared,
    /// The size limit of the in-process tier, in bytes.
    pub(crate) local_bytes: u64,
    /// The bytes that each pool of the in-process tier is assured of.
    pub(crate) assured: Assured,
    /// The regions of this process and of the shared tier.
    pub(crate) regions: Regions,
    /// Whether budgets may be spent while an origin is under pressure.
    pub(crate) governor: GovernorMode,
    /// The application behind the gateway.
    pub(crate) upstream: Option<Upstream>,
    /// The rules for pages.
    pub(crate) routes: Routes,
    /// The auditor's settings.
    pub(crate) audit: Audit,
    /// Warnings about where data with a residency is stored.
    pub(crate) warnings: Vec<Finding>,
    /// The format of logs.
    pub(crate) log: LogFormat,
    /// The contracts, restricted to the tiers in their regions.
    pub(crate) contracts: Contracts,
}

impl Config {
    /// Reads a file and the contract files that it names.
    ///
    /// # Errors
    /// [`ConfigError`], with the file, the place and the remedy.
    pub(crate) fn read(path: &Path) -> Result<Self, ConfigError> {
        Self::parse(path, &read_text(path)?)
    }

    /// Parses a text as the content of the file `path`.
    ///
    /// # Errors
    /// As [`Config::read`].
    pub(crate) fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let raw = RawConfig::parse(path, text)?;
        let content = |message: String| ConfigError::content(path, message);
        let data = raw.contract_tables(path)?;
        let contracts = Contracts::from_toml(&data).map_err(|err| content(err.to_string()))?;
        let regions = Regions::check(&raw.node, &raw.shared).map_err(content)?;
        let warnings = regions.review(contracts.iter());
        let contracts = regions.restrict(path, &contracts)?;
        let mut sources = BTreeMap::new();
        for (name, source) in raw.source {
            let source = source.check().map_err(|err| content(format!("[source.{name}] {err}")))?;
            sources.insert(name, source);
        }
        check_sources(&contracts, &sources).map_err(content)?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let shared = raw.shared.check(folder).map_err(|err| content(format!("[shared] {err}")))?;
        let upstream = raw.upstream.map(|upstream| upstream.check()).transpose();
        let upstream = upstream.map_err(|err| content(format!("[upstream] {err}")))?;
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

    /// Lints the contracts of a file and of the contract files that it names. A contract that can't be parsed
    /// is a finding beside those of the others.
    ///
    /// # Errors
    /// [`ConfigError`]: the file as a whole can't be read.
    pub(crate) fn review(path: &Path) -> Result<Vec<Finding>, ConfigError> {
        let raw = RawConfig::parse(path, &read_text(path)?)?;
        let data = raw.contract_tables(path)?;
        let mut findings = contract::lint_toml(&data);
        let regions = Regions::check(&raw.node, &raw.shared)
            .map_err(|message| ConfigError::content(path, message))?;
        let parse = |(name, value): (&String, &toml::Value)| {
            Contract::from_toml(name, value.as_table()?).ok()
        };
        let contracts: Vec<Contract> = data.iter().filter_map(parse).collect();
        findings.extend(regions.review(&contracts));
        Ok(findings)
    }

    /// Returns the longest TTL that a contract gives an entry.
    #[must_use]
    pub(crate) fn longest_ttl(&self) -> Duration {
        self.contracts.iter().map(|contract| contract.ttl).max().unwrap_or_default()
    }
}

/// Checks that every contract names a source that exists.
fn check_sources(contracts: &Contracts, sources: &BTreeMap<String, Source>) -> Result<(), String> {
    for contract in contracts.iter() {
        let Some(from) = &contract.from else { continue };
        if !sources.contains_key(&from.source) {
            let known: Vec<&str> = sources.keys().map(String::as_str).collect();
            let near = suggest::nearest(&from.source, &known);
            return Err(format!(
                "[data.{}] from.source = {:?}: there is no [source.{}]{near}",
                contract.name, from.source, from.source
            ));
        }
    }
    Ok(())
}
