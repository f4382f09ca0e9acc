//! The checked configuration.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use ::node::AuditOptions;
use cache::{GovernorMode, LocalMemory};
use contract::config::{ValueError, nearest_name};
use contract::{Contract, Contracts, Finding, Problem};
use edge::GatewayOptions;

use super::error::{ConfigError, FileProblem};
use super::file::{ConfigFile, table_at};
use super::listen::Listen;
use super::log::LogFormat;
use super::raw::RawConfig;
use super::region::Regions;
use super::shared::Shared;
use super::source::Source;

/// A checked configuration.
#[derive(Debug)]
pub(crate) struct Config {
    /// The listeners' addresses.
    pub(crate) listen: Listen,
    /// The databases by name.
    pub(crate) sources: BTreeMap<String, Source>,
    /// The tier that all nodes share.
    pub(crate) shared: Shared,
    /// The memory of the in-process tier.
    pub(crate) local: LocalMemory,
    /// The regions of this process and of the shared tier.
    pub(crate) regions: Regions,
    /// Whether budgets may be spent while an origin is under pressure.
    pub(crate) governor: GovernorMode,
    /// The gateway's options; `None`: there is no application behind it.
    pub(crate) gateway: Option<GatewayOptions>,
    /// The auditor's settings.
    pub(crate) audit: AuditOptions,
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
    /// [`ConfigError`], with all problems, and the file, the place and the remedy of each.
    pub(crate) fn read(path: &Path) -> Result<Self, ConfigError> {
        Self::check(ConfigFile::read(path)?)
    }

    /// Parses a text as the content of the file `path`.
    ///
    /// # Errors
    /// As [`Config::read`].
    pub(crate) fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        Self::check(ConfigFile::parse(path, text)?)
    }

    fn check(file: ConfigFile) -> Result<Self, ConfigError> {
        let files = Files::read(file)?;
        let (raw, mut problems) = files.sections();
        let (data, more) = files.contract_tables();
        problems.extend(more);
        let contracts = Contracts::from_toml(&data).map_err(|err| err.problems);
        let contracts = contracts.and_then(|contracts| {
            let unknown = unknown_sources(&contracts, &files.main.table);
            if unknown.is_empty() { Ok(contracts) } else { Err(unknown) }
        });
        let contracts = contracts.unwrap_or_else(|more| {
            problems.extend(files.locate(more));
            Contracts::default()
        });
        // The regions are not known where a section has a problem.
        let regions = Regions::of(&raw.node, &raw.shared).unwrap_or_default();
        let warnings = regions.review(contracts.iter());
        let contracts = match regions.restrict(&contracts) {
            Err(more) if problems.is_empty() => {
                problems.extend(files.locate(more));
                contracts
            }
            restricted => restricted.unwrap_or_default(),
        };
        if !problems.is_empty() {
            return Err(ConfigError::invalid(problems));
        }
        Ok(Self {
            listen: raw.listen,
            sources: raw.sources,
            shared: raw.shared,
            local: raw.local,
            regions,
            warnings,
            governor: raw.governor,
            gateway: raw.gateway,
            audit: raw.audit,
            log: raw.log,
            contracts,
        })
    }

    /// Lints the contracts of a file and of the contract files that it names. A contract that can't be parsed
    /// is a finding beside those of the others.
    ///
    /// # Errors
    /// [`ConfigError`]: a file can't be parsed, or a section other than the contracts has a problem.
    pub(crate) fn review(path: &Path) -> Result<Vec<Finding>, ConfigError> {
        let files = Files::read(ConfigFile::read(path)?)?;
        let (raw, mut problems) = files.sections();
        let (data, more) = files.contract_tables();
        problems.extend(more);
        if !problems.is_empty() {
            let more = Contracts::from_toml(&data).err();
            problems.extend(files.locate(more.map(|err| err.problems).unwrap_or_default()));
            return Err(ConfigError::invalid(problems));
        }
        let mut findings = contract::lint_toml(&data);
        let parse = |(name, value): (&String, &toml::Value)| {
            Contract::from_toml(name, value.as_table()?).ok()
        };
        let contracts: Vec<Contract> = data.iter().filter_map(parse).collect();
        let regions = Regions::of(&raw.node, &raw.shared).unwrap_or_default();
        findings.extend(regions.review(&contracts));
        Ok(findings)
    }

    /// Returns the longest TTL that a contract gives an entry.
    #[must_use]
    pub(crate) fn longest_ttl(&self) -> Duration {
        self.contracts.iter().map(|contract| contract.ttl).max().unwrap_or_default()
    }
}

/// `tidegate.toml` and the contract files that it names.
struct Files {
    main: ConfigFile,
    contracts: Vec<ConfigFile>,
}

impl Files {
    fn read(main: ConfigFile) -> Result<Self, ConfigError> {
        let contracts = main.contract_files()?;
        Ok(Self { main, contracts })
    }

    /// Reads the sections, with all of their problems.
    fn sections(&self) -> (RawConfig, Vec<FileProblem>) {
        let (raw, mut problems) = RawConfig::read(&self.main.table, self.main.folder());
        problems.extend(Regions::of(&raw.node, &raw.shared).err());
        (raw, self.main.locate(problems))
    }

    /// Returns the `[data]` table of all files.
    fn contract_tables(&self) -> (toml::Table, Vec<FileProblem>) {
        let (mut data, mut problems) = (toml::Table::new(), Vec::new());
        for file in self.all() {
            if !std::ptr::eq(file, &self.main) {
                problems.extend(file.locate(file.contract_file_problems()));
            }
            let tables = file.data().unwrap_or_else(|problem| {
                problems.extend(file.locate([problem]));
                None
            });
            for (name, table) in tables.into_iter().flatten() {
                if data.insert(name.clone(), table.clone()).is_some() {
                    let (message, help) = ("is there twice".to_owned(), "rename or remove one");
                    let err = ValueError { rule: "duplicate", message, help: help.to_owned() };
                    problems.extend(file.locate([err.at(format!("data.{name}"))]));
                }
            }
        }
        (data, problems)
    }

    fn all(&self) -> impl Iterator<Item = &ConfigFile> {
        std::iter::once(&self.main).chain(&self.contracts)
    }

    /// Finds the files of contracts' problems.
    fn locate(&self, problems: Vec<Problem>) -> Vec<FileProblem> {
        let locate = |problem: Problem| {
            let name = problem.path.split('.').nth(1).unwrap_or_default();
            let file = self.all().find(|file| file.has_contract(name)).unwrap_or(&self.main);
            file.locate([problem])
        };
        problems.into_iter().flat_map(locate).collect()
    }
}

/// Returns the contracts that name a source that does not exist.
fn unknown_sources(contracts: &Contracts, root: &toml::Table) -> Vec<Problem> {
    let sources = table_at(root, "source").ok().flatten();
    let known: Vec<&str> =
        sources.into_iter().flat_map(toml::Table::keys).map(String::as_str).collect();
    let unknown = contracts.iter().filter_map(|contract| {
        let source = &contract.from.as_ref()?.source;
        let help = match nearest_name(source, known.iter().copied()) {
            _ if known.contains(&source.as_str()) => return None,
            Some(near) => format!("did you mean \"{near}\"?"),
            None if known.is_empty() => format!("add the table `[source.{source}]`"),
            None => format!("the sources are: {}", known.join(", ")),
        };
        let message = format!("there is no `[source.{source}]`");
        let path = format!("data.{}.from.source", contract.name);
        Some(ValueError { rule: "unknown-source", message, help }.at(path))
    });
    unknown.collect()
}
