//! The checked configuration.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use ::node::AuditOptions;
use access::AccessOptions;
use cache::shared::SharedOptions;
use cache::{GovernorMode, LocalMemory};
use contract::config::{ValueError, nearest_name};
use contract::{Contract, Contracts, Problem};
use edge::{GatewayOptions, TlsFiles};
use sale::SaleOptions;
use sale::jobs::JobOptions;

use super::error::{ConfigError, FileProblem};
use super::file::{ConfigFile, table_at};
use super::finding::{FileFinding, Findings};
use super::listen::Listen;
use super::log::LogFormat;
use super::name_lines::NameLines;
use super::raw::RawConfig;
use super::region::Regions;
use super::settings::Settings;
use super::source::Source;

/// A checked configuration.
#[derive(Debug)]
pub(crate) struct Config {
    /// The listeners' addresses.
    pub(crate) listen: Listen,
    /// How long `/readyz` says that the process stops before its listeners close.
    pub(crate) stop_delay: Duration,
    /// The access rules of the private listeners.
    pub(crate) access: AccessOptions,
    /// The databases by name.
    pub(crate) sources: BTreeMap<String, Source>,
    /// The tier that all nodes share.
    pub(crate) shared: SharedOptions,
    /// The memory of the in-process tier.
    pub(crate) local: LocalMemory,
    /// The regions of this process and of the shared tier.
    pub(crate) regions: Regions,
    /// Whether budgets may be spent while an origin is under pressure.
    pub(crate) governor: GovernorMode,
    /// The gateway's options; `None`: there is no application behind it.
    pub(crate) gateway: Option<GatewayOptions>,
    /// The files of encrypted connections to services and to other nodes.
    pub(crate) client_tls: TlsFiles,
    /// The auditor's settings.
    pub(crate) audit: AuditOptions,
    /// The sale's options; `None`: no sale.
    pub(crate) sale: Option<SaleOptions>,
    /// The kinds of jobs by name.
    pub(crate) jobs: BTreeMap<String, JobOptions>,
    /// The linter's warnings and notes.
    pub(crate) findings: Findings,
    /// The format of logs.
    pub(crate) log: LogFormat,
    /// The contracts, restricted to the tiers in their regions.
    pub(crate) contracts: Contracts,
    /// The places of the contracts' names in the files.
    pub(crate) name_lines: NameLines,
    /// The values by key.
    pub(crate) settings: Settings,
}

impl Config {
    /// Reads and lints a file and the contract files that it names.
    ///
    /// # Errors
    /// [`ConfigError`], with all problems, and the file, the place and the remedy of each.
    /// [`ConfigError::Refused`]: the linter has found an error in a contract.
    pub(crate) fn read(path: &Path) -> Result<Self, ConfigError> {
        Self::check(ConfigFile::read_main(path)?)
    }

    /// Parses a text as the content of the file `path`.
    ///
    /// # Errors
    /// As [`Config::read`].
    pub(crate) fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        Self::check(ConfigFile::parse(path, text)?)
    }

    /// Parses the sections, lints the contracts, and checks both against each other. `tidegate check` and
    /// every command that starts a node use this one function, so their verdicts are the same.
    fn check(file: ConfigFile) -> Result<Self, ConfigError> {
        let files = Files::read(file)?;
        let (raw, mut problems) = files.sections();
        let (data, more) = files.contract_tables();
        problems.extend(more);
        let references = files.unknown_references(&data);
        if !problems.is_empty() || !references.is_empty() {
            let more = Contracts::from_toml(&data).err();
            problems.extend(references);
            problems.extend(files.locate(more.map(|err| err.problems).unwrap_or_default()));
            return Err(ConfigError::invalid(problems));
        }
        let regions = Regions::of(&raw.node, &raw.shared).unwrap_or_default();
        let findings = files.review(&data, &regions);
        if findings.has_errors() {
            return Err(ConfigError::Refused(findings));
        }
        let invalid = |problems| ConfigError::invalid(files.locate(problems));
        let contracts = Contracts::from_toml(&data).map_err(|err| invalid(err.problems))?;
        let foreign = services_with_foreign_tags(&contracts, &raw.sources);
        if !foreign.is_empty() {
            return Err(invalid(foreign));
        }
        let contracts = regions.restrict(&contracts).map_err(invalid)?;
        Ok(Self {
            listen: raw.listen,
            stop_delay: raw.node.stop_delay,
            access: raw.access,
            sources: raw.sources,
            shared: raw.shared,
            local: raw.local,
            regions,
            findings,
            governor: raw.governor,
            gateway: raw.gateway,
            client_tls: raw.client_tls,
            audit: raw.audit,
            sale: raw.sale,
            jobs: raw.jobs,
            log: raw.log,
            contracts,
            name_lines: NameLines::of(files.all()),
            settings: files.main.settings(&data),
        })
    }

    /// Returns the sources by name, the main one first.
    #[must_use]
    pub(crate) fn main_first(&self) -> Vec<(&str, &Source)> {
        let mut sources: Vec<_> =
            self.sources.iter().map(|(name, source)| (name.as_str(), source)).collect();
        sources.sort_by_key(|(_, source)| !source.main);
        sources
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
        let (listen, tls) = (&raw.listen, &raw.listen.tls);
        let sale = ("listen.sale", listen.sale, tls.sale.is_some());
        let private = [
            ("listen.data", listen.data, tls.data.is_some()),
            ("listen.admin", listen.admin, tls.admin.is_some()),
        ];
        for (key, address, is_tls) in private.into_iter().chain(raw.sale.is_some().then_some(sale))
        {
            problems.extend(raw.access.unprotected(key, address, is_tls));
        }
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

    /// Lints the contracts. A contract that can't be parsed is a finding beside those of the others.
    fn review(&self, data: &toml::Table, regions: &Regions) -> Findings {
        let mut findings = contract::lint_toml(data);
        findings.extend(regions.review(&parsed(data)));
        let located = findings.into_iter().map(|finding| {
            let file = self.file_of(&finding.path);
            let (line, finding) = (file.line(&finding.path), file.redact(finding));
            FileFinding { file: file.path().to_owned(), line, finding }
        });
        Findings(located.collect())
    }

    /// Returns the problems of names that refer to no source or contract. Contracts that can't be parsed have
    /// problems of their own.
    fn unknown_references(&self, data: &toml::Table) -> Vec<FileProblem> {
        let contracts = parsed(data);
        let mut unknown = unknown_sources(&contracts, &self.main.table);
        unknown.extend(shown_without_tags(&contracts, data, &self.main.table));
        self.locate(unknown)
    }

    /// Finds the files of contracts' problems.
    fn locate(&self, problems: Vec<Problem>) -> Vec<FileProblem> {
        let locate = |problem: Problem| self.file_of(&problem.path).locate([problem]);
        problems.into_iter().flat_map(locate).collect()
    }

    /// Returns the file of the contract at `path`, such as `data.product_price.ttl`.
    fn file_of(&self, path: &str) -> &ConfigFile {
        let name = path.split('.').nth(1).unwrap_or_default();
        self.all().find(|file| file.has_contract(name)).unwrap_or(&self.main)
    }
}

/// Returns the contracts that can be parsed.
fn parsed(data: &toml::Table) -> Vec<Contract> {
    let parse =
        |(name, value): (&String, &toml::Value)| Contract::from_toml(name, value.as_table()?).ok();
    data.iter().filter_map(parse).collect()
}

/// Returns the contracts in `shows` of a route that do not exist, or that raise no tag. `data`: all contracts, also
/// those that can't be parsed.
fn shown_without_tags(
    contracts: &[Contract],
    data: &toml::Table,
    root: &toml::Table,
) -> Vec<Problem> {
    let routes = root.get("edge").and_then(|edge| edge.get("route")?.as_array());
    let shown = routes.into_iter().flatten().enumerate().flat_map(|(at, route)| {
        let names = route.get("shows").and_then(toml::Value::as_array).into_iter().flatten();
        let names = names.enumerate().filter_map(|(of, name)| Some((of, name.as_str()?)));
        names.map(move |(of, name)| (format!("edge.route[{at}].shows[{of}]"), name))
    });
    let raises = |contract: &Contract| {
        contract.from.is_some() && !(contract.tags.is_empty() && contract.page_tags.is_empty())
    };
    let problems = shown.filter_map(|(path, name)| {
        let (rule, message, help) = match contracts.iter().find(|it| it.name == name) {
            Some(contract) if raises(contract) => return None,
            Some(_) => (
                "no-tags",
                format!("the contract `{name}` raises no tag"),
                "give it `from` and `tags` or `page_tags`".to_owned(),
            ),
            None if data.contains_key(name) => return None,
            None => (
                "unknown-contract",
                format!("there is no `[data.{name}]`"),
                match nearest_name(name, data.keys().map(String::as_str)) {
                    Some(near) => format!("did you mean \"{near}\"?"),
                    None => "name contracts".to_owned(),
                },
            ),
        };
        Some(ValueError { rule, message, help }.at(path))
    });
    problems.collect()
}

/// Returns the services whose tags the log of another source may raise: it does not invalidate their entries.
fn services_with_foreign_tags(
    contracts: &Contracts,
    sources: &BTreeMap<String, Source>,
) -> Vec<Problem> {
    let main = sources.iter().find(|(_, source)| source.main).map(|(name, _)| name.as_str());
    let Some(main) = main else { return Vec::new() };
    let problem = |(service, other, source): (&Contract, &Contract, &str)| {
        let message = format!(
            "may be raised by the log of [source.{source}] (data.{}), which does not invalidate the entries of \
             this service: they are in the tiers of another source",
            other.name
        );
        let help =
            format!("use tags that begin with another text, or `from` with source = \"{source}\"");
        ValueError { rule: "foreign-tag", message, help }.at(format!("data.{}.tags", service.name))
    };
    contracts.services_with_foreign_tags(main).into_iter().map(problem).collect()
}

/// Returns the contracts that name a source that does not exist.
fn unknown_sources(contracts: &[Contract], root: &toml::Table) -> Vec<Problem> {
    // A wrong form of the table has a problem of its own.
    let Ok(sources) = table_at(root, "source") else { return Vec::new() };
    let mut named = sources.into_iter().flat_map(toml::Table::values);
    if named.any(|source| !source.is_table()) {
        return Vec::new();
    }
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
