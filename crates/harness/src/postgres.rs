//! A PostgreSQL server.

mod commits;
mod pooler;
mod processes;
mod programs;
mod standby;

use std::{
    ffi::OsString,
    fmt::Write as _,
    fs,
    io::Write as _,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result};
use rustix::process::Signal;
use tempfile::TempDir;

pub use self::pooler::PgBouncer;
use self::programs::Programs;
use crate::{
    child::{self, Daemon},
    clock::WallClock,
    disk::Disk,
    folder,
    output::Output,
    port::Port,
    programs::run_with_input,
    server::Server,
    tls::Certificates,
};

const START_TIMEOUT: Duration = Duration::from_secs(120);
const STOP_TIMEOUT: Duration = Duration::from_secs(60);
/// A primary logs "… connections" next, a standby "… read-only connections".
const READY: &str = "database system is ready to accept ";

/// The error of a server with a disk of its own, where this user or machine may not mount one.
#[derive(Debug)]
pub struct MountDenied;

impl std::fmt::Display for MountDenied {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("harness: mounting a disk is not permitted here; it requires root")
    }
}

impl std::error::Error for MountDenied {}

/// The settings of a [`Postgres`].
pub struct PostgresBuilder {
    settings: Vec<(String, String)>,
    own_identity: bool,
    /// Elements such as `NAME=value`.
    env: Vec<OsString>,
    disk_mb: Option<u32>,
    /// Files of the data folder: their names and contents.
    files: Vec<(&'static str, Vec<u8>)>,
}

impl PostgresBuilder {
    /// Sets a line of `postgresql.conf`; the last one for a name counts. The defaults of the harness
    /// are those of PostgreSQL, except for `wal_level = logical` and little memory.
    #[must_use]
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Gives it a system identifier of its own, which takes more than a second. Otherwise all servers
    /// of the harness are copies of one cluster and have the same identifier.
    #[must_use]
    pub fn own_identity(mut self) -> Self {
        self.own_identity = true;
        self
    }

    /// Switches TLS on, with the server certificate `name`, and clients' certificates of the same authority.
    ///
    /// # Errors
    /// When there is no such certificate.
    pub fn tls(mut self, certificates: &Certificates, name: &str) -> Result<Self> {
        let pem = |file: &str| certificates.pem(file);
        self.files.push(("server.crt", pem(&format!("{name}.pem"))?));
        self.files.push(("server.key", pem(&format!("{name}.key"))?));
        self.files.push(("root.crt", pem("ca.pem")?));
        Ok(self.setting("ssl", "on").setting("ssl_ca_file", "root.crt"))
    }

    /// Has these lines of `pg_hba.conf` decide on users other than the superuser.
    #[must_use]
    pub fn hba(mut self, lines: &[&str]) -> Self {
        let superuser = "host all,replication postgres 127.0.0.1/32 trust";
        self.files.push(("pg_hba.conf", format!("{superuser}\n{}\n", lines.join("\n")).into()));
        self
    }

    /// Sets its wall clock.
    #[must_use]
    pub fn clock(mut self, clock: &WallClock) -> Self {
        let set = clock.env().into_iter().map(|(name, value)| {
            let mut set = name;
            set.push("=");
            set.push(value);
            set
        });
        self.env = set.collect();
        self
    }

    /// Gives it a disk of its own, of `mb` MB; a fresh cluster takes about 50.
    #[must_use]
    pub fn disk(mut self, mb: u32) -> Self {
        self.disk_mb = Some(mb);
        self
    }

    /// Starts it and waits until it accepts connections.
    ///
    /// # Errors
    /// When PostgreSQL is missing or does not become ready; with its last lines. [`MountDenied`] when a
    /// disk is requested and can't be mounted.
    pub fn start(self) -> Result<Postgres> {
        let programs = Programs::find()?;
        let folder = folder::private("postgres")?;
        let disk = match self.disk_mb {
            Some(mb) => Some(Disk::mount(folder.path(), mb)?.ok_or(MountDenied)?),
            None => None,
        };
        let data = folder.path().join("data");
        if self.own_identity {
            programs.initdb(folder.path())?;
        } else {
            programs.copy_template(&data)?;
        }
        for (name, content) in &self.files {
            programs.write_private(&data.join(name), content)?;
        }
        let mut conf = fs::OpenOptions::new().append(true).open(data.join("postgresql.conf"))?;
        let mut lines = String::new();
        for (name, value) in &self.settings {
            writeln!(lines, "{name} = '{}'", value.replace('\'', "''"))?;
        }
        conf.write_all(lines.as_bytes())?;
        Postgres::launch(programs, data, self.env, disk, folder)
    }
}

/// A running PostgreSQL; stopped on drop, with its data removed. The superuser is `postgres`. All
/// users are trusted, also for replication, on 127.0.0.1 only.
pub struct Postgres {
    server: Server,
    programs: Programs,
    data: PathBuf,
    env: Vec<OsString>,
    disk: Option<Disk>,
    _folder: TempDir,
}

impl Postgres {
    /// Starts a server that is ready for logical replication.
    ///
    /// # Errors
    /// As [`PostgresBuilder::start`].
    pub fn start() -> Result<Self> {
        Self::builder().start()
    }

    /// Returns a builder for other settings.
    #[must_use]
    pub fn builder() -> PostgresBuilder {
        let settings = [
            ("wal_level", "logical"),
            ("listen_addresses", "127.0.0.1"),
            ("unix_socket_directories", ""),
            ("shared_buffers", "32MB"),
            // In the data folder, so that a crashed server leaves nothing in /dev/shm.
            ("dynamic_shared_memory_type", "mmap"),
        ];
        let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned()));
        PostgresBuilder {
            settings: settings.into(),
            own_identity: false,
            env: Vec::new(),
            disk_mb: None,
            files: Vec::new(),
        }
    }

    /// Returns its address.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.server.addr()
    }

    /// Returns the URL of a database, for the superuser.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        self.url_as("postgres", database)
    }

    /// Returns the URL of a database, for `user`.
    #[must_use]
    pub fn url_as(&self, user: &str, database: &str) -> String {
        format!("postgres://{user}@{}/{database}", self.addr())
    }

    /// Runs `sql` with psql as the superuser in the database `postgres`, and returns the output (rows
    /// unaligned, columns separated by `|`). Statements commit one by one.
    ///
    /// # Errors
    /// When psql can't connect or a statement fails (the rest does not run).
    pub fn psql(&self, sql: &str) -> Result<String> {
        self.psql_in("postgres", sql)
    }

    /// As [`Postgres::psql`], in another database.
    ///
    /// # Errors
    /// As [`Postgres::psql`].
    pub fn psql_in(&self, database: &str, sql: &str) -> Result<String> {
        self.psql_as("postgres", database, sql)
    }

    /// As [`Postgres::psql`], in another database as another user.
    ///
    /// # Errors
    /// As [`Postgres::psql`].
    pub fn psql_as(&self, user: &str, database: &str, sql: &str) -> Result<String> {
        let mut psql = Command::new(&self.programs.psql);
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"])
            .arg(self.url_as(user, database));
        run_with_input(&mut psql, sql)
    }

    /// Shuts it down cleanly ("fast": sessions are closed, replication clients get the rest of the log).
    ///
    /// # Errors
    /// When it is not running, or does not end in time.
    pub fn stop(&mut self) -> Result<()> {
        let stopped = self.server.stop(Signal::INT, STOP_TIMEOUT);
        stopped.context("harness: can't stop postgres; does a replication client not confirm?")
    }

    /// Kills all its processes with SIGKILL; the next start recovers from the log.
    ///
    /// # Errors
    /// When it is not running or can't be killed.
    pub fn crash(&mut self) -> Result<()> {
        self.server.crash(processes::kill)
    }

    /// Starts it again after [`Postgres::stop`] or [`Postgres::crash`], on the same port.
    ///
    /// # Errors
    /// When it runs already or does not become ready.
    pub fn start_again(&mut self) -> Result<()> {
        let Self { server, programs, data, env, .. } = self;
        server.start_again(|port, output| launch(programs, data, env, (port, output)))
    }

    /// [`Postgres::stop`] and [`Postgres::start_again`].
    ///
    /// # Errors
    /// As these.
    pub fn restart(&mut self) -> Result<()> {
        self.stop()?;
        self.start_again()
    }

    /// Freezes all its processes until [`Postgres::resume`]: connections stay open, without answers.
    ///
    /// # Errors
    /// When it is not running.
    pub fn pause(&mut self) -> Result<()> {
        processes::pause(self.server.running()?)
    }

    /// Ends [`Postgres::pause`].
    ///
    /// # Errors
    /// When it is not running.
    pub fn resume(&mut self) -> Result<()> {
        processes::resume(self.server.running()?)
    }

    /// Enlarges the disk of [`PostgresBuilder::disk`] to `mb` MB.
    ///
    /// # Errors
    /// When it has no disk of its own.
    pub fn enlarge_disk(&self, mb: u32) -> Result<()> {
        self.disk.as_ref().context("harness: postgres has no disk of its own")?.enlarge(mb)
    }

    /// Returns the lines that it has logged.
    #[must_use]
    pub fn log(&self) -> Vec<String> {
        self.server.log()
    }

    /// Starts a server on the cluster `data`.
    fn launch(
        programs: Programs,
        data: PathBuf,
        env: Vec<OsString>,
        disk: Option<Disk>,
        folder: TempDir,
    ) -> Result<Self> {
        let launch = |port: &Port, output: &Output| launch(&programs, &data, &env, (port, output));
        let server = Server::start("postgres", launch)?;
        Ok(Self { server, programs, data, env, disk, _folder: folder })
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Ok(daemon) = self.server.running() {
            // An error can't be reported from here.
            let _ = processes::quit(daemon);
        }
    }
}

fn launch(
    programs: &Programs,
    data: &Path,
    env: &[OsString],
    (port, output): (&Port, &Output),
) -> Result<Daemon> {
    // `env` sets the variables for the server alone, not for the program that changes the user.
    let user = programs.user.as_ref();
    let mut command = child::command(Path::new("/usr/bin/env"), user)?;
    command.args(env).arg(&programs.postgres).arg("-D").arg(data);
    command.arg("-p").arg(port.number().to_string()).env("LC_ALL", "C");
    let lines = output.line_count();
    let mut daemon = Daemon::spawn("postgres", command, output.clone())?;
    daemon.wait_until_ready(START_TIMEOUT, || {
        output.find(lines, READY, Duration::from_millis(50)).is_some()
    })?;
    Ok(daemon)
}
