//! Errors of a configuration file.

use std::fmt;
use std::path::{Path, PathBuf};

use contract::Problem;
use serde_json::{Value, json};
use thiserror::Error;

use super::finding::Findings;

/// A configuration that can't be used. The text names the place and the remedy.
#[derive(Debug, Error)]
pub(crate) enum ConfigError {
    /// A file could not be read.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: std::io::Error,
    },
    /// There is no such file.
    #[error("{}: there is no such file; `tidegate init` writes a first configuration", .0.display())]
    Missing(PathBuf),
    /// A file is not TOML. The text shows nothing of the file, since the line may hold a secret.
    #[error("{}: line {line}, column {column}: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The column in characters, from 1.
        column: usize,
        /// The reason.
        message: String,
    },
    /// Keys or values are invalid.
    #[error("{0}")]
    Invalid(Problems),
    /// The linter has found errors in the contracts.
    #[error("the contracts have errors\n{0}")]
    Refused(Findings),
}

/// All problems of a configuration, one per line, sorted by file and line.
#[derive(Debug)]
pub(crate) struct Problems(Vec<FileProblem>);

/// A problem and its place.
#[derive(Debug)]
pub(super) struct FileProblem {
    pub(super) file: PathBuf,
    pub(super) line: Option<usize>,
    pub(super) problem: Problem,
}

impl ConfigError {
    /// `problems`: at least one.
    pub(super) fn invalid(mut problems: Vec<FileProblem>) -> Self {
        problems.sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
        Self::Invalid(Problems(problems))
    }

    /// Returns the problems of keys and values as JSON; empty for other errors.
    pub(crate) fn json(&self) -> Value {
        let Self::Invalid(Problems(problems)) = self else { return json!([]) };
        let json = |FileProblem { file, line, problem }: &FileProblem| {
            json!({
                "rule": problem.rule, "path": problem.path, "message": problem.message,
                "fix": problem.help, "file": file, "line": line,
            })
        };
        problems.iter().map(json).collect()
    }

    pub(super) fn file(path: &Path, source: std::io::Error) -> Self {
        Self::File { path: path.to_owned(), source }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, FileProblem { file, line, problem }) in self.0.iter().enumerate() {
            let separator = if at == 0 { "" } else { "\n" };
            write!(f, "{separator}{}: ", file.display())?;
            if let Some(line) = line {
                write!(f, "line {line}: ")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}
