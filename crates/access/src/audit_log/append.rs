//! Appends records to the files of a log.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;

use serde_json::json;

use super::error::AuditLogError;
use super::files::LogFiles;
use super::record::{Action, Anchor, next_line};
use super::tail::{TailError, read_tail};
use crate::private_file::sync_folder;

/// Appends to a log that several processes may append to: a node, and commands on its machine.
#[derive(Debug)]
pub(super) struct Appender {
    files: LogFiles,
    rotate_bytes: u64,
    /// The state after the last append of this process.
    known: Option<Known>,
    /// The last record of this process, also after a failed append.
    last: Option<Anchor>,
}

/// A file as this process has left it. Another file, or another length, is read before the next append.
#[derive(Clone, Copy, Debug)]
struct Known {
    device: u64,
    inode: u64,
    len: u64,
    head: Anchor,
}

/// A file to append to.
struct Open {
    file: File,
    /// The end of the last complete record.
    end: u64,
    head: Anchor,
    /// The records that have to come first: repairs and gaps.
    notes: Vec<Action>,
}

impl Appender {
    pub(super) fn new(path: &Path, rotate_bytes: u64) -> Self {
        Self { files: LogFiles::new(path), rotate_bytes, known: None, last: None }
    }

    /// Writes records and makes them durable. Returns the last one's anchor.
    ///
    /// # Errors
    /// [`AuditLogError`]; none of the records counts as written. A part of them may be in the file.
    pub(super) fn append(
        &mut self,
        actions: &[Action],
        time_us: u64,
    ) -> Result<Anchor, AuditLogError> {
        let appended = self.try_append(actions, time_us);
        if appended.is_err() {
            self.known = None;
        }
        appended
    }

    fn try_append(&mut self, actions: &[Action], time_us: u64) -> Result<Anchor, AuditLogError> {
        let _lock = self.files.lock()?;
        let Open { mut file, mut end, mut head, notes } = self.open()?;
        if end >= self.rotate_bytes {
            std::fs::rename(self.files.path(), self.files.part(head.number))
                .map_err(self.files.failed())?;
            file = self.files.open()?;
            end = 0;
        }
        let mut text = String::new();
        for action in notes.iter().chain(actions) {
            let (line, anchor) = next_line(head, action, time_us);
            text.push_str(&line);
            head = anchor;
        }
        let len = end + text.len() as u64;
        self.write(&file, &text, end).map_err(self.files.failed())?;
        self.files.set_head(head)?;
        let metadata = file.metadata().map_err(self.files.failed())?;
        let (device, inode) = (metadata.dev(), metadata.ino());
        self.known = Some(Known { device, inode, len, head });
        self.last = Some(head);
        Ok(head)
    }

    /// Writes at `end`, in place of the rest of a failed write; removes its own rest if it fails.
    fn write(&self, file: &File, text: &str, end: u64) -> io::Result<()> {
        let write = || {
            file.set_len(end)?;
            file.write_all_at(text.as_bytes(), end)?;
            file.sync_data()?;
            if end == 0 { sync_folder(self.files.path()) } else { Ok(()) }
        };
        write().inspect_err(|_| {
            // If this fails as well, the next append finds a cut record and names it.
            let _ = file.set_len(end);
        })
    }

    /// Opens the file and finds its last record.
    fn open(&self) -> Result<Open, AuditLogError> {
        let file = self.files.open()?;
        let metadata = file.metadata().map_err(self.files.failed())?;
        let (device, inode, len) = (metadata.dev(), metadata.ino(), metadata.len());
        if let Some(known) = self.known
            && (known.device, known.inode, known.len) == (device, inode, len)
        {
            return Ok(Open { file, end: len, head: known.head, notes: Vec::new() });
        }
        let tail = read_tail(&file, len).map_err(|err| match err {
            TailError::Io(err) => self.files.failed()(err),
            TailError::Damaged(reason) => {
                AuditLogError::Damaged { path: self.files.path().to_owned(), reason }
            }
        })?;
        let mut notes = Vec::new();
        if let Some(cut) = tail.cut {
            tracing::warn!(
                file = %self.files.path().display(),
                bytes = cut.bytes,
                "the audit log's last record was cut by a crash; its action was not begun"
            );
            let detail = json!({ "bytes": cut.bytes, "sha256": cut.sha256, "text": cut.text });
            notes.push(Action::of_node("log.repaired", detail));
        }
        // Another process may have appended, or the head file may have been removed.
        let durable = [self.files.head()?, self.last].into_iter().flatten();
        let durable = durable.max_by_key(|anchor| anchor.number);
        let head = match (tail.last, durable) {
            (last, None) => last.unwrap_or(Anchor::START),
            // A new file: the chain goes on from the one that was moved away.
            (None, Some(durable)) => durable,
            (Some(last), Some(durable)) if is_cut(last, durable) => {
                tracing::error!(
                    file = %self.files.path().display(), %last, %durable,
                    "records are missing at the audit log's end"
                );
                let detail = json!({ "found": last.to_string(), "expected": durable.to_string() });
                notes.push(Action::of_node("log.gap", detail));
                durable
            }
            (Some(last), Some(_)) => last,
        };
        Ok(Open { file, end: tail.end, head, notes })
    }
}

/// Returns whether records that were durable are not in the file any more. A crash leaves the head file behind
/// the log, never ahead of it.
fn is_cut(last: Anchor, durable: Anchor) -> bool {
    durable.number > last.number || (durable.number == last.number && durable != last)
}

#[cfg(test)]
#[path = "append_tests.rs"]
mod tests;
