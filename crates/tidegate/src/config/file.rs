//! The files of a configuration: `tidegate.toml`, and the contract files that it names.

use std::path::{Path, PathBuf};

use contract::Problem;
use contract::config::{TableReader, ValueError};

use super::error::{ConfigError, FileProblem};
use super::line_index::{LineIndex, line_at};

/// The keys of a contract file.
const CONTRACT_FILE_KEYS: &[&str] = &["data"];

/// A parsed file.
#[derive(Debug)]
pub(super) struct ConfigFile {
    path: PathBuf,
    text: String,
    pub(super) table: toml::Table,
}

impl ConfigFile {
    /// # Errors
    /// The file can't be read, or is not TOML.
    pub(super) fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|err| ConfigError::file(path, err))?;
        Self::parse(path, &text)
    }

    /// Parses a text as the content of the file `path`.
    ///
    /// # Errors
    /// The text is not TOML.
    pub(super) fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let table = text.parse().map_err(|err| syntax_error(path, text, &err))?;
        Ok(Self { path: path.to_owned(), text: text.to_owned(), table })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the line of the key at `path`, or else of the nearest table around it.
    pub(super) fn line(&self, path: &str) -> Option<usize> {
        LineIndex::new(&self.text).line(path)
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
        table_at(&self.table, "data")
    }

    pub(super) fn has_contract(&self, name: &str) -> bool {
        self.data().ok().flatten().is_some_and(|data| data.contains_key(name))
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
            problem,
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
            let help = format!("write tables, `[{key}.NAME]`");
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
        message: err.message().replace('\n', "; "),
    }
}
