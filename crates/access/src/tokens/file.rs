//! The file of access tokens.

use std::fs::File;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, fchown};
use std::path::{Path, PathBuf};

use contract::config::ValueError;
use thiserror::Error;

use super::list::TokenList;
use crate::private_file::{mode_if_writable_by_others, open_private, sync_folder};

/// The largest file: a thousand tokens take less than 300 KB.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Why the file can't be used. The text names it and the remedy.
#[derive(Debug, Error)]
pub enum TokenFileError {
    /// There is no such file.
    #[error(
        "{}: there is no such file; make it with `tidegate token create NAME --role viewer`",
        .0.display()
    )]
    Missing(PathBuf),
    /// It can't be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// Others may change it.
    #[error(
        "{}: other users may write it (mode {mode:03o}), and so make tokens; run `chmod 600 {}`",
        path.display(), path.display()
    )]
    Unprotected {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// It has another form.
    #[error("{}: {problems}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The problems, separated by semicolons.
        problems: String,
    },
    /// The change is not possible.
    #[error("{0}")]
    Change(#[from] ValueError),
}

/// The file of access tokens.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TokenFile(PathBuf);

impl TokenFile {
    /// Names a file. It is not read yet.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Returns its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Reads the tokens.
    ///
    /// # Errors
    /// [`TokenFileError`]
    pub fn read(&self) -> Result<TokenList, TokenFileError> {
        self.parse(&self.text()?)
    }

    /// Reads the text, after a check of the file's mode.
    pub(super) fn text(&self) -> Result<String, TokenFileError> {
        let failed = |source: io::Error| match source.kind() {
            ErrorKind::NotFound => TokenFileError::Missing(self.0.clone()),
            _ => self.io(source),
        };
        let file = File::open(&self.0).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if !metadata.is_file() {
            return Err(self.io(io::Error::other("it is not a file")));
        }
        if let Some(mode) = mode_if_writable_by_others(&metadata) {
            return Err(TokenFileError::Unprotected { path: self.0.clone(), mode });
        }
        let mut text = String::new();
        file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(failed)?;
        if text.len() as u64 > FILE_BYTES_MAX {
            return Err(
                self.io(io::Error::other(format!("it has more than {FILE_BYTES_MAX} bytes")))
            );
        }
        Ok(text)
    }

    pub(super) fn parse(&self, text: &str) -> Result<TokenList, TokenFileError> {
        TokenList::parse(text).map_err(|problems| {
            let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
            TokenFileError::Malformed { path: self.0.clone(), problems: problems.join("; ") }
        })
    }

    /// Changes the tokens while no other process does: `change` gets the present ones, or none where there is
    /// no file yet. The file is replaced as a whole, so that a reader sees the old or the new one. `announce`
    /// is called right before the new file is in force; with its error nothing has changed.
    ///
    /// # Errors
    /// [`TokenFileError`], or the error of `announce`.
    pub fn update<T, E: From<TokenFileError>>(
        &self,
        change: impl FnOnce(&mut TokenList) -> Result<T, ValueError>,
        announce: impl FnOnce(&T) -> Result<(), E>,
    ) -> Result<T, E> {
        let io = |source| E::from(self.io(source));
        // The lock file stays: a process that removed it would let two others hold a lock at once.
        let lock = open_private(&self.with_suffix(".lock")).map_err(io)?;
        lock.lock().map_err(io)?;
        let mut tokens = match self.read() {
            Err(TokenFileError::Missing(_)) => TokenList::default(),
            read => read?,
        };
        let changed = change(&mut tokens).map_err(TokenFileError::Change)?;
        let draft = self.with_suffix(".new");
        self.write_draft(&draft, &tokens.to_toml()).map_err(io)?;
        announce(&changed)?;
        std::fs::rename(&draft, self.target()).map_err(io)?;
        sync_folder(&self.target()).map_err(io)?;
        Ok(changed)
    }

    /// Writes the new file, with owner and mode of the present one.
    fn write_draft(&self, draft: &Path, text: &str) -> io::Result<()> {
        match std::fs::remove_file(draft) {
            Err(err) if err.kind() != ErrorKind::NotFound => return Err(err),
            _ => {}
        }
        let mut file = open_private(draft)?;
        if let Ok(present) = std::fs::metadata(&self.0) {
            if file.metadata()?.uid() != present.uid() {
                fchown(&file, Some(present.uid()), Some(present.gid()))?;
            }
            file.set_permissions(present.permissions())?;
        }
        file.write_all(text.as_bytes())?;
        file.sync_all()
    }

    /// The file behind a link, so that an update does not replace the link.
    fn target(&self) -> PathBuf {
        std::fs::canonicalize(&self.0).unwrap_or_else(|_| self.0.clone())
    }

    fn with_suffix(&self, suffix: &str) -> PathBuf {
        let mut path = self.target().into_os_string();
        path.push(suffix);
        path.into()
    }

    fn io(&self, source: io::Error) -> TokenFileError {
        TokenFileError::Io { path: self.0.clone(), source }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;
    use std::sync::Barrier;

    use super::*;
    use crate::rights::{Reads, Rights, Role};
    use crate::tokens::list::NewToken;

    fn viewer(name: &str) -> NewToken {
        let rights = Rights { role: Some(Role::Viewer), reads: Reads::of_names([]) };
        NewToken { name: name.to_owned(), rights, lifetime: None }
    }

    fn add(file: &TokenFile, name: &str) -> Result<(), TokenFileError> {
        file.update(|list| list.add(viewer(name), 0).map(drop), |()| Ok(()))
    }

    #[test]
    fn concurrent_updates_are_all_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = TokenFile::new(folder.path().join("tokens.toml"));
        let start = Barrier::new(8);
        std::thread::scope(|scope| {
            for n in 0..8 {
                let (file, start) = (&file, &start);
                scope.spawn(move || {
                    start.wait();
                    add(file, &format!("t{n}")).expect("added");
                });
            }
        });
        assert_eq!(file.read().expect("valid").iter().count(), 8);
        let mode = std::fs::metadata(file.path()).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn file_writable_by_others_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = TokenFile::new(folder.path().join("tokens.toml"));
        assert!(matches!(file.read(), Err(TokenFileError::Missing(_))));
        add(&file, "a").expect("added");
        std::fs::set_permissions(file.path(), Permissions::from_mode(0o620)).expect("changed");
        let err = file.read().expect_err("writable by the group").to_string();
        assert!(err.contains("chmod 600"), "{err}");
        assert!(add(&file, "b").is_err());
        std::fs::set_permissions(file.path(), Permissions::from_mode(0o444)).expect("changed");
        assert_eq!(file.read().expect("readable").iter().count(), 1, "a mounted secret");
    }

    #[test]
    fn failed_announcement_changes_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = TokenFile::new(folder.path().join("tokens.toml"));
        add(&file, "a").expect("added");
        let refused = |(): &()| Err(TokenFileError::Missing(PathBuf::from("log")));
        assert!(file.update(|list| list.add(viewer("b"), 0).map(drop), refused).is_err());
        assert_eq!(file.read().expect("valid").iter().count(), 1);
        add(&file, "c").expect("added after the failure");
    }

    /// Only root can give files away.
    #[test]
    fn owner_and_mode_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = TokenFile::new(folder.path().join("tokens.toml"));
        add(&file, "a").expect("added");
        std::fs::set_permissions(file.path(), Permissions::from_mode(0o640)).expect("changed");
        let owner = 65_534;
        let is_root = std::os::unix::fs::chown(file.path(), Some(owner), None).is_ok();
        add(&file, "b").expect("added");
        let metadata = std::fs::metadata(file.path()).expect("there");
        assert_eq!(metadata.permissions().mode() & 0o777, 0o640);
        assert!(!is_root || metadata.uid() == owner, "{}", metadata.uid());
    }

    #[test]
    fn link_to_the_file_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let (real, link) = (folder.path().join("real.toml"), folder.path().join("tokens.toml"));
        add(&TokenFile::new(&real), "a").expect("added");
        std::os::unix::fs::symlink(&real, &link).expect("a link");
        add(&TokenFile::new(&link), "b").expect("added");
        assert!(std::fs::symlink_metadata(&link).expect("there").is_symlink());
        assert_eq!(TokenFile::new(&real).read().expect("valid").iter().count(), 2);
    }
}
