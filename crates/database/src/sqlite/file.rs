//! The identity of a database file.

use std::fmt;
use std::fs::{self, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use crate::error::DatabaseError;

/// Identifies a database file. Another file under the same path, such as a restored backup, has another
/// identity. A symbolic link has its target's.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FileId {
    device: u64,
    inode: u64,
    /// Since 1970, where the file system knows it: an inode's number may be used again.
    created: Option<Duration>,
}

impl FileId {
    /// Returns the identity of the file that the path names now.
    ///
    /// # Errors
    /// There is no such file, or it can't be examined.
    pub fn of(path: &Path) -> Result<Self, DatabaseError> {
        let found = fs::metadata(path).map(|metadata| Self::from(&metadata));
        found.map_err(|err| {
            let problem = format!("the database file {}: {err}", path.display());
            DatabaseError::unreachable("finding the database", problem)
        })
    }
}

impl From<&Metadata> for FileId {
    fn from(metadata: &Metadata) -> Self {
        let created = metadata.created().ok();
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            created: created.and_then(|time| time.duration_since(UNIX_EPOCH).ok()),
        }
    }
}

/// The same text for the same file, in every process.
impl fmt::Display for FileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let created = self.created.unwrap_or_default();
        write!(f, "{} {} {}", self.device, self.inode, created.as_nanos())
    }
}

/// Returns the identity of the index of the write-ahead log, which all connections to the database share.
/// `None`: there is none now. A connection whose index was deleted no longer sees what others commit.
pub(super) fn wal_index(path: &Path) -> Result<Option<FileId>, DatabaseError> {
    let mut name = path.as_os_str().to_owned();
    name.push("-shm");
    match fs::metadata(&name) {
        Ok(metadata) => Ok(Some(FileId::from(&metadata))),
        Err(err) if err.kind() == ErrorKind::NotFound => Ok(None),
        Err(err) => Err(DatabaseError::unreachable("finding the database", err)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaced_file_has_another_identity() {
        let folder = tempfile::tempdir().expect("a folder");
        let [path, other] = ["shop.db", "backup.db"].map(|name| folder.path().join(name));
        fs::write(&path, "old").expect("written");
        let id = FileId::of(&path).expect("a file");
        fs::write(&path, "changed").expect("written");
        assert_eq!(FileId::of(&path).expect("a file"), id);
        fs::write(&other, "new").expect("written");
        fs::rename(&other, &path).expect("replaced");
        let replaced = FileId::of(&path).expect("a file");
        assert_ne!(replaced, id);
        assert_ne!(replaced.to_string(), id.to_string());
        fs::remove_file(&path).expect("removed");
        let err = FileId::of(&path).expect_err("no file").to_string();
        assert!(err.contains("shop.db"), "{err}");
    }
}
