//! The folder of accounts, keys and certificates, which nodes may share.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The modes of files and folders: their owner alone uses them.
const FILE_MODE: u32 = 0o600;
const FOLDER_MODE: u32 = 0o700;

/// The name of the file whose lock lets one node at a time call the authority.
const LOCK: &str = "lock";

/// The largest file that is read: all of them are small.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The folder of one authority. Accounts and certificates of another one, such as a staging environment, are never
/// used in its place.
#[derive(Clone, Debug)]
pub(crate) struct Storage {
    folder: PathBuf,
}

/// The lock of a folder; released when dropped, and when the process ends.
#[derive(Debug)]
pub(crate) struct FolderLock(#[expect(dead_code, reason = "an open file has the lock")] File);

impl Storage {
    /// Returns the folder of the authority with this directory, below `root`.
    pub(crate) fn new(root: &Path, directory: &str) -> Self {
        let name = directory.strip_prefix("https://").unwrap_or(directory);
        let plain = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' };
        Self { folder: root.join(name.chars().map(plain).collect::<String>()) }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Returns the content of a file; `None`: there is none.
    pub(crate) fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        let path = self.path(name);
        let read = || {
            if fs::metadata(&path)?.len() > FILE_BYTES_MAX {
                return Err(io::Error::new(ErrorKind::InvalidData, "is too large"));
            }
            fs::read(&path)
        };
        match read() {
            Ok(content) => Ok(Some(content)),
            Err(err) if err.kind() == ErrorKind::NotFound => Ok(None),
            Err(err) => Err(named(&path, err)),
        }
    }

    /// Writes a file, durably and as a whole: readers see the one of before or this one.
    pub(crate) fn write(&self, name: &str, content: &[u8]) -> io::Result<()> {
        let path = self.path(name);
        let write = || {
            self.make_folder()?;
            let new = self.path(&format!("{name}.new"));
            // One that a crash has left may have another mode.
            remove(&new)?;
            let mut file =
                OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(&new)?;
            file.write_all(content)?;
            file.sync_all()?;
            fs::rename(&new, &path)?;
            File::open(&self.folder)?.sync_all()
        };
        write().map_err(|err| named(&path, err))
    }

    pub(crate) fn remove(&self, name: &str) -> io::Result<()> {
        let path = self.path(name);
        remove(&path).map_err(|err| named(&path, err))
    }

    /// Removes the files whose names begin so.
    pub(crate) fn remove_all(&self, prefix: &str) -> io::Result<()> {
        for entry in fs::read_dir(&self.folder).map_err(|err| named(&self.folder, err))? {
            let name = entry?.file_name();
            if let Some(name) = name.to_str().filter(|name| name.starts_with(prefix)) {
                self.remove(name)?;
            }
        }
        Ok(())
    }

    /// Takes the lock of the folder; `None`: another node has it.
    pub(crate) fn lock(&self) -> io::Result<Option<FolderLock>> {
        let path = self.path(LOCK);
        let open = || {
            self.make_folder()?;
            OpenOptions::new().write(true).create(true).truncate(false).mode(FILE_MODE).open(&path)
        };
        let file = open().map_err(|err| named(&path, err))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(FolderLock(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(err)) => Err(named(&path, err)),
        }
    }

    fn make_folder(&self) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(&self.folder)
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(err) if err.kind() != ErrorKind::NotFound => Err(err),
        _ => Ok(()),
    }
}

fn named(path: &Path, err: io::Error) -> io::Error {
    io::Error::new(err.kind(), format!("{}: {err}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn files_are_their_owners_alone() {
        let root = tempfile::tempdir().expect("a folder");
        let storage = Storage::new(root.path(), "https://ca.example:14000/dir/../a");
        assert_eq!(storage.read("key").expect("readable"), None);
        storage.write("key", b"first").expect("written");
        fs::write(storage.path("key.new"), "left by a crash").expect("written");
        storage.write("key", b"second").expect("written");
        assert_eq!(storage.read("key").expect("readable").as_deref(), Some(&b"second"[..]));
        let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
        assert_eq!(mode(&storage.path("key")), 0o600);
        assert_eq!((mode(&storage.folder), storage.folder.parent()), (0o700, Some(root.path())));
        storage.remove_all("k").expect("removed");
        storage.remove("key").expect("none is there");
        assert_eq!(storage.read("key").expect("readable"), None);
    }

    #[test]
    fn lock_held_once() {
        let root = tempfile::tempdir().expect("a folder");
        let [one, other] = [(); 2].map(|()| Storage::new(root.path(), "https://ca.example/"));
        let held = one.lock().expect("possible");
        assert!(held.is_some() && other.lock().expect("possible").is_none());
        drop(held);
        assert!(other.lock().expect("possible").is_some());
        fs::write(root.path().join("file"), "").expect("written");
        let nowhere = Storage::new(&root.path().join("file"), "https://ca.example/");
        assert!(nowhere.lock().expect_err("no folder").to_string().contains("ca.example"));
        assert!(nowhere.read("key").is_err(), "unreadable is not absent");
    }
}
