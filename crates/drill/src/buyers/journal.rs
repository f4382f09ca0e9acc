//! The record of requests and answers.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::{Context, Result};
use parking_lot::Mutex;
use serde_json::Value;

/// A file with a JSON object on each line: a request, and the answer that its client got.
pub struct Journal {
    file: Mutex<Lines>,
}

struct Lines {
    file: BufWriter<File>,
    /// The first failure: a record with a gap shows nothing.
    failure: Option<std::io::Error>,
    count: u64,
}

impl Journal {
    /// Creates the file.
    ///
    /// # Errors
    /// It can't be created.
    pub fn create(path: &Path) -> Result<Self> {
        let file = File::create(path).with_context(|| path.display().to_string())?;
        let lines = Lines { file: BufWriter::new(file), failure: None, count: 0 };
        Ok(Self { file: Mutex::new(lines) })
    }

    pub(super) fn record(&self, exchange: &Value) {
        let mut lines = self.file.lock();
        lines.count += 1;
        if let Err(err) = writeln!(lines.file, "{exchange}") {
            lines.failure.get_or_insert(err);
        }
    }

    /// Writes all lines to the file, and returns their number.
    ///
    /// # Errors
    /// A line could not be written.
    pub fn flush(&self) -> Result<u64> {
        let mut lines = self.file.lock();
        if let Some(err) = lines.failure.take() {
            return Err(err).context("the record of the buyers");
        }
        lines.file.flush().context("the record of the buyers")?;
        Ok(lines.count)
    }
}
