//! The files of a configuration: `tidegate.toml`, and the contract files that it names.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use contract::config::{TableReader, ValueError};
use contract::{Finding, Problem};

use super::environment;
use super::error::{ConfigError, FileProblem};
use super::line_index::{LineIndex, line_at};
use super::secrets::{Secrets, without_passwords};
use super::settings::Settings;

/// The keys of a contract file.
const CONTRACT_FILE_KEYS: &[&str] = &["data"];

/// A parsed file.
#[derive(Debug)]
pub(super) struct ConfigFile {
    path: PathBuf,
    text: String,
    /// The content, with the values of the environment's variables.
    pub(super) table: toml::Table,
    secrets: Secrets,
}

impl ConfigFile {
    /// Reads `tidegate.toml`, or the file in its place.
    ///
    /// # Errors
    /// As [`ConfigFile::read`]; a missing file has an error of its own.
    pub(super) fn read_main(path: &Path) -> Result<Self, ConfigError> {
        match Self::read(path) {
            Err(ConfigError::File { path, source }) if source.kind() == ErrorKind::NotFound => {
                Err(ConfigError::Missing(path))
            }
            read => read,
        }
    }

    /// # Errors
    /// The file can't be read, or is not TOML.
    pub(super) fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|err| ConfigError::file(path, err))?;
        Self::parse(path, &text)
    }

    /// Parses a text as the content of the file `path`.
    ///
    /// # Errors
    /// The text is not TOML, or names a variable that the environment does not have.
    pub(super) fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let mut table = text.parse().map_err(|err| syntax_error(path, text, &err))?;
        let mut values = Vec::new();
        let problems = environment::expand(&mut table, &mut |name| {
            let value = std::env::var(name).ok()?;
            values.push(value.clone());
            Some(value)
        });
        // The passwords of urls are found in the table.
        values.retain(|value| !value.contains("://"));
        let secrets = Secrets::of(&table, values);
        let file = Self { path: path.to_owned(), text: text.to_owned(), table, secrets };
        match file.locate(problems) {
            problems if problems.is_empty() => Ok(file),
            problems => Err(ConfigError::invalid(problems)),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the line of the key at `path`, or else of the nearest table around it.
    pub(super) fn line(&self, path: &str) -> Option<usize> {
        LineIndex::new(&self.text).line(path)
    }

    pub(super) fn lines(&self) -> LineIndex {
        LineIndex::new(&self.text)
    }

    /// Returns the values of this file by key. `data`: the contracts of all files.
    pub(super) fn settings(&self, data: &toml::Table) -> Settings {
        Settings::of(&self.table, data, &self.secrets)
    }

    /// Returns the folder of the file, the base of relative file names.
    pub(super) fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new(""))
    }

    /// Reads the contract files that `contracts = "contracts/*.toml"` (or one file's name) names, sorted.
    ///
    /// # Errors
    /// A file or the folder can't be read, or a file is not TOML.
    pub(super) fn contract_files(&self) -> Result<Vec<Self>, ConfigError> {
        self.read_contract_files().map_err(|err| match err {
            // The name is a value of the configuration: a misplaced url, perhaps.
            ConfigError::File { path, source } => {
                let path = self.secrets.redact(&path.display().to_string()).into();
                ConfigError::File { path, source }
            }
            err => err,
        })
    }

    fn read_contract_files(&self) -> Result<Vec<Self>, ConfigError> {
        let Some(pattern) = self.table.get("contracts").and_then(toml::Value::as_str) else {
            return Ok(Vec::new());
        };
        let path = self.folder().join(pattern);
        if path.file_name().is_none_or(|name| name != "*.toml") {
            return Ok(vec![Self::read(&path)?]);
        }
        let folder = path.parent().unwrap_or(Path::new(""));
        let failed = |err| ConfigError::file(folder, err);
        let mut paths = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path.extension().is_some_and(|extension| extension == "toml") {
                paths.push(path);
            }
        }
        paths.sort();
        paths.iter().map(|path| Self::read(path)).collect()
    }

    /// Returns the problems of a contract file, which has `[data.NAME]` tables only.
    pub(super) fn contract_file_problems(&self) -> Vec<Problem> {
        let mut reader = TableReader::new("", &self.table, CONTRACT_FILE_KEYS);
        if !reader.has("data") {
            reader.problem("missing", "data", "is missing", "write contracts as `[data.NAME]`");
        }
        reader.finish(Some(())).err().unwrap_or_default()
    }

    /// Returns the `[data]` table, or the problem that it is not a table.
    pub(super) fn data(&self) -> Result<Option<&toml::Table>, Problem> {
        let data = table_at(&self.table, "data")?;
        let is_key = |key: &str| contract::reference().iter().any(|doc| doc.key == key);
        let mut values = data.into_iter().flatten();
        // `[data]` with the keys of a contract below it.
        if values.any(|(key, value)| is_key(key) && !value.is_table()) {
            let message = "has no name".to_owned();
            let help =
                "write `[data.NAME]`, such as `[data.product_price]`, above the contract's keys";
            return Err(ValueError { rule: "no-name", message, help: help.to_owned() }.at("data"));
        }
        Ok(data)
    }

    pub(super) fn has_contract(&self, name: &str) -> bool {
        self.data().ok().flatten().is_some_and(|data| data.contains_key(name))
    }

    /// Returns a finding without secrets.
    pub(super) fn redact(&self, finding: Finding) -> Finding {
        let redact = |text: &str| self.secrets.redact(text);
        let (path, message, fix) =
            (redact(&finding.path), redact(&finding.message), redact(&finding.fix));
        Finding { path, message, fix, ..finding }
    }

    /// Adds the file and the lines to problems.
    pub(super) fn locate(&self, problems: impl IntoIterator<Item = Problem>) -> Vec<FileProblem> {
        let mut problems = problems.into_iter().peekable();
        if problems.peek().is_none() {
            return Vec::new();
        }
        let lines = LineIndex::new(&self.text);
        let locate = |problem: Problem| FileProblem {
            file: self.path.clone(),
            line: lines.line(&problem.path),
            problem: self.secrets.redact_problem(problem),
        };
        problems.map(locate).collect()
    }
}

/// Returns the table below `key`, or the problem that it is not a table.
pub(super) fn table_at<'t>(
    root: &'t toml::Table,
    key: &str,
) -> Result<Option<&'t toml::Table>, Problem> {
    match root.get(key) {
        None => Ok(None),
        Some(toml::Value::Table(table)) => Ok(Some(table)),
        Some(other) => {
            let message = format!("is {}", contract::config::describe_value(other));
            let help = format!("write one table for each, with a name: `[{key}.NAME]`");
            Err(ValueError { rule: "wrong-type", message, help }.at(key))
        }
    }
}

fn syntax_error(path: &Path, text: &str, err: &toml::de::Error) -> ConfigError {
    let start = err.span().map_or(0, |span| span.start).min(text.len());
    let before = text.get(..start).unwrap_or_default();
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    ConfigError::Syntax {
        path: path.to_owned(),
        line: line_at(text, start),
        column: 1 + before[line_start..].chars().count(),
        message: format!("{}{}", without_passwords(&err.message().replace('\n', "; ")), form(path)),
    }
}

/// Returns a remedy for a file that is written in another language than TOML.
fn form(path: &Path) -> &'static str {
    let extension = path.extension().and_then(|extension| extension.to_str());
    match extension.map(str::to_ascii_lowercase).as_deref() {
        Some("yaml" | "yml" | "json") => {
            "; the configuration is TOML: `[listen]` above `gateway = \"127.0.0.1:8080\"`"
        }
        _ => "",
    }
}
