//! The files of an audit log: the log, its earlier parts, its head and its lock.

use std::fs::{File, TryLockError};
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::AuditLogError;
use super::record::Anchor;
use crate::private_file::{folder_of, mode_if_writable_by_others, open_private};

/// The longest wait for another process that appends.
const LOCK_ATTEMPTS: u32 = 200;

/// The pause between two attempts.
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// The names of the files of one log.
#[derive(Clone, Debug)]
pub(super) struct LogFiles {
    path: PathBuf,
}

impl LogFiles {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the error of a file operation.
    pub(super) fn failed(&self) -> impl Fn(io::Error) -> AuditLogError {
        let path = self.path.clone();
        move |source| AuditLogError::Io { path: path.clone(), source }
    }

    /// Opens the log for appending; creates it if it is missing.
    pub(super) fn open(&self) -> Result<File, AuditLogError> {
        let failed = self.failed();
        let file = open_private(&self.path).map_err(&failed)?;
        match mode_if_writable_by_others(&file.metadata().map_err(failed)?) {
            Some(mode) => Err(AuditLogError::Unprotected { path: self.path.clone(), mode }),
            None => Ok(file),
        }
    }

    /// Excludes other processes that append, until the file is closed.
    pub(super) fn lock(&self) -> Result<File, AuditLogError> {
        let failed = self.failed();
        let lock = open_private(&self.with_suffix("lock")).map_err(&failed)?;
        for _ in 0..LOCK_ATTEMPTS {
            match lock.try_lock() {
                Ok(()) => return Ok(lock),
                Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_PAUSE),
                Err(TryLockError::Error(err)) => return Err(failed(err)),
            }
        }
        Err(AuditLogError::Slow(self.path.clone()))
    }

    /// Reads the anchor of the last record that was durable; `None`: there is no head file.
    pub(super) fn head(&self) -> Result<Option<Anchor>, AuditLogError> {
        let mut text = String::new();
        let path = self.with_suffix("head");
        let failed = |source| AuditLogError::Io { path: path.clone(), source };
        match File::open(&path) {
            Err(err) if err.kind() == ErrorKind::NotFound => return Ok(None),
            Err(err) => return Err(failed(err)),
            Ok(file) => file.take(200).read_to_string(&mut text).map_err(failed)?,
        };
        let anchor = text.trim().parse();
        anchor.map(Some).map_err(|_| failed(io::Error::other("it holds no anchor, NUMBER:HASH")))
    }

    /// Replaces the head. One write of less than a sector, so that a crash leaves the old or the new one.
    pub(super) fn set_head(&self, head: Anchor) -> Result<(), AuditLogError> {
        let write = || -> io::Result<()> {
            let file = open_private(&self.with_suffix("head"))?;
            // Of a fixed length, so that no rest of a longer one stays.
            file.write_all_at(format!("{:020}:{}\n", head.number, head.hash).as_bytes(), 0)
        };
        write().map_err(self.failed())
    }

    /// The name of an earlier part, by the number of its last record.
    pub(super) fn part(&self, last: u64) -> PathBuf {
        self.with_suffix(&format!("{last:012}"))
    }

    /// Returns the earlier parts: the log's name and a number.
    pub(super) fn parts(&self) -> io::Result<Vec<PathBuf>> {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut parts = Vec::new();
        for entry in std::fs::read_dir(folder_of(&self.path))? {
            let path = entry?.path();
            let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let suffix = file.strip_prefix(&name).and_then(|rest| rest.strip_prefix('.'));
            let is_number =
                |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            if suffix.is_some_and(is_number) {
                parts.push(path);
            }
        }
        Ok(parts)
    }

    fn with_suffix(&self, suffix: &str) -> PathBuf {
        let mut path = self.path.clone().into_os_string();
        path.push(".");
        path.push(suffix);
        path.into()
    }
}
