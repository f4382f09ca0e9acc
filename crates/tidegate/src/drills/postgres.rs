//! A PostgreSQL of the drill's own.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::{Signal, getuid};

use super::child::{ChildProcess, Program, find, free_port};

/// The time limit of an orderly stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// The programs of an installed PostgreSQL.
#[derive(Clone, Debug)]
pub(crate) struct PostgresPrograms {
    initdb: PathBuf,
    postgres: PathBuf,
}

/// A server on 127.0.0.1 that trusts everybody there; stopped on drop.
pub(super) struct OwnPostgres {
    programs: PostgresPrograms,
    folder: PathBuf,
    port: u16,
    process: ChildProcess,
}

impl PostgresPrograms {
    /// Returns the newest installed release; `None`: there is none.
    pub(crate) fn find() -> Option<Self> {
        let folders = debian_folders();
        let program = |name| find(name, &folders);
        Some(Self { initdb: program("initdb")?, postgres: program("postgres")? })
    }
}

/// Debian has a folder for each release.
fn debian_folders() -> Vec<PathBuf> {
    let entries = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let release = |entry: fs::DirEntry| -> Option<(u32, PathBuf)> {
        let number = entry.file_name().to_str()?.parse().ok()?;
        Some((number, entry.path().join("bin")))
    };
    let mut releases: Vec<_> = entries.filter_map(release).collect();
    releases.sort_by_key(|(number, _)| std::cmp::Reverse(*number));
    releases.into_iter().map(|(_, folder)| folder).collect()
}

/// PostgreSQL refuses to run as root.
fn server_user() -> Option<&'static str> {
    getuid().is_root().then_some("postgres")
}

fn program(path: &Path) -> Program {
    Program { user: server_user(), ..Program::new(path) }
}

impl OwnPostgres {
    /// Makes a cluster in an empty folder, and starts a server.
    pub(super) async fn start(programs: PostgresPrograms, folder: &Path) -> Result<Self> {
        let data = folder.join("data");
        fs::create_dir(&data)?;
        fs::set_permissions(&data, fs::Permissions::from_mode(0o700))?;
        // The user of the server passes through the folder above.
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755))?;
        if let Some(user) = server_user() {
            let owner = format!("{user}:");
            let done = tokio::process::Command::new("chown").arg(owner).arg(&data).output().await?;
            ensure!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        }
        let mut initdb = program(&programs.initdb).command()?;
        initdb.env("LC_ALL", "C").arg("-D").arg(&data).current_dir(folder);
        initdb.args(["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C"]);
        let done = initdb.arg("--no-sync").output().await.context("initdb can't be started")?;
        let errors = String::from_utf8_lossy(&done.stderr);
        ensure!(done.status.success(), "initdb: {}", errors.trim_end());
        let port = free_port()?;
        let process = launch(&programs, folder, port)?;
        Ok(Self { programs, folder: folder.to_owned(), port, process })
    }

    pub(super) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// Kills all its processes, or stops them in an orderly way, and starts it again.
    pub(super) async fn restart(&mut self, crashes: bool) -> Result<()> {
        let signal = if crashes { Signal::KILL } else { Signal::INT };
        self.process.end(signal, STOP_TIMEOUT).await?;
        self.process = launch(&self.programs, &self.folder, self.port)?;
        Ok(())
    }

    /// Fails if it has ended. After a crash its last processes may have been in the way of a start.
    pub(super) fn check_or_launch(&mut self) -> Result<()> {
        if self.process.check().is_err() {
            self.process = launch(&self.programs, &self.folder, self.port)?;
        }
        Ok(())
    }

    pub(super) fn last_lines(&self) -> String {
        self.process.last_lines()
    }
}

fn launch(programs: &PostgresPrograms, folder: &Path, port: u16) -> Result<ChildProcess> {
    let mut command = program(&programs.postgres).command()?;
    command.arg("-D").arg(folder.join("data")).current_dir(folder);
    command.arg("-p").arg(port.to_string());
    for setting in [
        "listen_addresses=127.0.0.1",
        "unix_socket_directories=",
        "shared_buffers=32MB",
        "dynamic_shared_memory_type=mmap",
        "max_connections=100",
    ] {
        command.args(["-c", setting]);
    }
    ChildProcess::start("PostgreSQL", command, &folder.join("postgres.log"))
}
