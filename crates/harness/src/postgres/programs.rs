//! PostgreSQL's programs, the user that may run them, and a fresh database cluster for each server.

use std::{
    fs,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use crate::{
    child::{self, User},
    folder, programs,
};

pub(super) struct Programs {
    pub(super) postgres: PathBuf,
    pub(super) psql: PathBuf,
    pub(super) pg_basebackup: PathBuf,
    initdb: PathBuf,
    /// The user to run the server as; `None`: ours. PostgreSQL refuses root.
    pub(super) user: Option<User>,
}

impl Programs {
    pub(super) fn find() -> Result<Self> {
        let folders = programs::postgres_folders();
        let server = |name| programs::require(name, &folders, "postgresql");
        let user = match rustix::process::getuid().is_root() {
            true => Some(unprivileged_user()?),
            false => None,
        };
        Ok(Self {
            postgres: server("postgres")?,
            psql: server("psql")?,
            pg_basebackup: server("pg_basebackup")?,
            initdb: server("initdb")?,
            user,
        })
    }

    /// Puts a fresh cluster into `data`, a copy of a template.
    pub(super) fn copy_template(&self, data: &Path) -> Result<()> {
        let version = programs::run(Command::new(&self.postgres).arg("--version"))?;
        folder::copy_template("postgres", &version, data, |folder| self.initdb(folder))
    }

    /// Creates an empty folder for the server's user alone, as PostgreSQL requires.
    pub(super) fn data_folder(&self, folder: &Path) -> Result<PathBuf> {
        let data = folder.join("data");
        fs::DirBuilder::new().mode(0o700).create(&data)?;
        if let Some(User(name)) = &self.user {
            programs::run(Command::new("chown").arg(format!("{name}:")).arg(&data))?;
        }
        Ok(data)
    }

    /// Writes a file that the server's user alone may read, as PostgreSQL requires of a key.
    pub(super) fn write_private(&self, path: &Path, content: &[u8]) -> Result<()> {
        fs::write(path, content)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        if let Some(User(name)) = &self.user {
            programs::run(Command::new("chown").arg(format!("{name}:")).arg(path))?;
        }
        Ok(())
    }

    /// Creates the cluster `data` in a folder with `initdb`, which takes more than a second.
    pub(super) fn initdb(&self, folder: &Path) -> Result<()> {
        let data = self.data_folder(folder)?;
        let mut initdb = child::command(&self.initdb, self.user.as_ref())?;
        initdb.arg("-D").arg(&data).env("LC_ALL", "C");
        initdb.args(["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C"]);
        programs::run(initdb.arg("--no-sync")).map(drop)
    }
}

/// Returns `postgres`, which the package creates, or `nobody`.
fn unprivileged_user() -> Result<User> {
    let users = fs::read_to_string("/etc/passwd").context("harness: can't read /etc/passwd")?;
    ["postgres", "nobody"]
        .into_iter()
        .find(|name| users.lines().any(|line| line.starts_with(&format!("{name}:"))))
        .map(|name| User(name.to_owned()))
        .context("harness: no user `postgres` or `nobody` to run PostgreSQL as; it refuses root")
}
