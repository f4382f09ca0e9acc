//! The configuration file as it is written: the sections and the contract files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::audit::AuditSection;
use super::edge::EdgeSection;
use super::error::ConfigError;
use super::governor::GovernorSection;
use super::listen::Listen;
use super::local::LocalSection;
use super::log::LogSection;
use super::region::NodeSection;
use super::shared::SharedSection;
use super::source::SourceSection;
use super::suggest;
use super::upstream::UpstreamSection;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawConfig {
    pub(super) node: NodeSection,
    pub(super) listen: Listen,
    pub(super) source: BTreeMap<String, SourceSection>,
    pub(super) shared: SharedSection,
    pub(super) local: LocalSection,
    pub(super) governor: GovernorSection,
    pub(super) upstream: Option<UpstreamSection>,
    pub(super) edge: EdgeSection,
    pub(super) log: LogSection,
    pub(super) audit: AuditSection,
    pub(super) contracts: Option<String>,
    pub(super) data: toml::Table,
}

impl RawConfig {
    pub(super) fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        toml::from_str(text).map_err(|err| toml_error(path, &err))
    }

    /// Returns the `[data]` table of this file, with those of the contract files that it names. `path`: this
    /// file.
    pub(super) fn contract_tables(&self, path: &Path) -> Result<toml::Table, ConfigError> {
        let mut data = self.data.clone();
        for file in contract_files(path, self.contracts.as_deref())? {
            for (name, table) in read_contracts(&file)? {
                if data.insert(name.clone(), table).is_some() {
                    let message = format!("[data.{name}] is there twice: rename or remove one");
                    return Err(ConfigError::content(&file, message));
                }
            }
        }
        Ok(data)
    }
}

/// Reads a file.
pub(super) fn read_text(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path)
        .map_err(|source| ConfigError::File { path: path.to_owned(), source })
}

fn toml_error(path: &Path, err: &toml::de::Error) -> ConfigError {
    let mut message = err.to_string();
    if let Some(near) = suggest::for_message(err.message()) {
        message = format!("{}{near}", message.trim_end());
    }
    ConfigError::content(path, message)
}

/// Returns the files that `contracts = "contracts/*.toml"` (or one file's name) names, sorted.
fn contract_files(config: &Path, pattern: Option<&str>) -> Result<Vec<PathBuf>, ConfigError> {
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

/// A file of `[data.…]` tables only.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ContractFile {
    data: toml::Table,
}

fn read_contracts(path: &Path) -> Result<toml::Table, ConfigError> {
    let text = read_text(path)?;
    let file: ContractFile = toml::from_str(&text).map_err(|err| toml_error(path, &err))?;
    Ok(file.data)
}
