//! PostgreSQL's programs, the user they may run as, and a fresh cluster for each server.

use std::{
    fs::{self, File},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use crate::{
    child::{self, User},
    folder, programs,
};

pub(super) struct Programs {
    pub(super) postgres: PathBuf,
    pub(super) psql: PathBuf,
    pub(super) pg_basebackup: PathBuf,
    initdb: PathBuf,
    /// Who to run the server as; none when it can be us. PostgreSQL refuses root.
    pub(super) user: Option<User>,
}

impl Programs {
    pub(super) fn find() -> Result<Self> {
        let folders = programs::postgres_folders();
        let server = |name| {
            programs::find(name, &folders).ok_or_else(|| programs::missing(name, "postgresql"))
        };
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

    /// Puts a fresh cluster into `data`. `initdb` takes more than a second, so it is run once per
    /// machine and user, and copied from then on.
    pub(super) fn copy_template(&self, data: &Path) -> Result<()> {
        let template = self.template()?;
        // Keeps owner and modes; does not cost the writes where the file system can share them.
        run(Command::new("cp").args(["-a", "--reflink=auto"]).arg(template).arg(data))
    }

    fn template(&self) -> Result<PathBuf> {
        let shared = folder::shared("postgres")?;
        let version = Command::new(&self.postgres).arg("--version").output()?.stdout;
        let version: String = String::from_utf8_lossy(&version)
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' })
            .collect();
        let template = shared.join(version.trim_matches('-'));
        // Other test processes may be about to do the same.
        let lock = File::create(shared.join("lock"))?;
        lock.lock()?;
        if !template.exists() {
            let fresh = folder::private("initdb")?;
            self.initdb(fresh.path())?;
            fs::rename(fresh.path().join("data"), &template).with_context(|| {
                format!("harness: can't move a cluster to {}", template.display())
            })?;
        }
        Ok(template)
    }

    /// An empty folder for the server's user alone, as PostgreSQL wants it.
    pub(super) fn data_folder(&self, folder: &Path) -> Result<PathBuf> {
        let data = folder.join("data");
        fs::DirBuilder::new().mode(0o700).create(&data)?;
        if let Some(User(name)) = &self.user {
            run(Command::new("chown").arg(format!("{name}:")).arg(&data))?;
        }
        Ok(data)
    }

    /// Makes the cluster `data` in a folder, in the long way.
    pub(super) fn initdb(&self, folder: &Path) -> Result<()> {
        let data = self.data_folder(folder)?;
        let mut initdb = child::command(&self.initdb, self.user.as_ref())?;
        initdb.arg("-D").arg(&data).env("LC_ALL", "C");
        initdb.args(["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C"]);
        run(initdb.arg("--no-sync"))
    }
}

/// `postgres`, as the package makes it, or `nobody`.
fn unprivileged_user() -> Result<User> {
    let users = fs::read_to_string("/etc/passwd").context("harness: can't read /etc/passwd")?;
    ["postgres", "nobody"]
        .into_iter()
        .find(|name| users.lines().any(|line| line.starts_with(&format!("{name}:"))))
        .map(|name| User(name.to_owned()))
        .context("harness: no user `postgres` or `nobody` to run PostgreSQL as; it refuses root")
}

pub(super) fn run(command: &mut Command) -> Result<()> {
    let result = command.output().with_context(|| format!("harness: can't run {command:?}"))?;
    if !result.status.success() {
        bail!(
            "harness: {command:?} ended with {}:\n{}{}",
            result.status,
            String::from_utf8_lossy(&result.stdout),
            String::from_utf8_lossy(&result.stderr)
        );
    }
    Ok(())
}
