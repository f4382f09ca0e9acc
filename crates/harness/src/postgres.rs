//! A PostgreSQL server of one's own.

mod cluster;
mod standby;

use std::{
    ffi::OsString,
    fmt::Write as _,
    fs,
    io::Write as _,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use self::cluster::Programs;
use crate::{
    child::{self, Daemon},
    clock::WallClock,
    disk::Disk,
    folder,
    output::Output,
    port::{self, Port},
    wait,
};

const START_LIMIT: Duration = Duration::from_secs(60);
const STOP_LIMIT: Duration = Duration::from_secs(30);
/// "… connections", and of a standby "… read-only connections".
const READY: &str = "database system is ready to accept ";

/// A server with a disk of its own needs somebody who may mount one: root, with the right to.
#[derive(Debug)]
pub struct MayNotMount;

impl std::fmt::Display for MayNotMount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("harness: no disk can be mounted here; it takes root, with the right to")
    }
}

impl std::error::Error for MayNotMount {}

/// How the server shall be set up; see [`Postgres::builder`].
pub struct PostgresBuilder {
    settings: Vec<(String, String)>,
    own_identity: bool,
    /// `NAME=value`.
    env: Vec<OsString>,
    disk_mb: Option<u32>,
}

impl PostgresBuilder {
    /// A setting of `postgresql.conf`; the last one for a name counts. The defaults of the harness
    /// are those of PostgreSQL, but for `wal_level = logical` and little memory.
    #[must_use]
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A system identifier of its own, for more than a second of time: all servers of the harness are
    /// copies of one cluster otherwise, and have the same.
    #[must_use]
    pub fn own_identity(mut self) -> Self {
        self.own_identity = true;
        self
    }

    /// Has this for a wall clock.
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

    /// Has a disk of its own, of so many MB; a fresh cluster takes about 50.
    #[must_use]
    pub fn disk(mut self, mb: u32) -> Self {
        self.disk_mb = Some(mb);
        self
    }

    /// Starts it and waits until it takes connections.
    ///
    /// # Errors
    /// When PostgreSQL is missing or does not come up; with its last lines. [`MayNotMount`] when it shall
    /// have a disk of its own and can't.
    pub fn start(self) -> Result<Postgres> {
        let programs = Programs::find()?;
        let folder = folder::private("postgres")?;
        let disk = match self.disk_mb {
            Some(mb) => Some(Disk::mount(folder.path(), mb)?.ok_or(MayNotMount)?),
            None => None,
        };
        let data = folder.path().join("data");
        if self.own_identity {
            programs.initdb(folder.path())?;
        } else {
            programs.copy_template(&data)?;
        }
        let mut conf = fs::OpenOptions::new().append(true).open(data.join("postgresql.conf"))?;
        let mut lines = String::new();
        for (name, value) in &self.settings {
            writeln!(lines, "{name} = '{}'", value.replace('\'', "''"))?;
        }
        conf.write_all(lines.as_bytes())?;
        let output = Output::default();
        let (port, daemon) =
            port::start_on_some_port(|port| launch(&programs, &data, port, (&self.env, &output)))?;
        let (daemon, env) = (Some(daemon), self.env);
        Ok(Postgres { daemon, output, port, programs, data, env, disk, _folder: folder })
    }
}

/// A running PostgreSQL; stopped and wiped on drop. The superuser is `postgres`; everybody is
/// trusted, also for replication, on 127.0.0.1 only.
pub struct Postgres {
    daemon: Option<Daemon>,
    output: Output,
    port: Port,
    programs: Programs,
    data: PathBuf,
    env: Vec<OsString>,
    disk: Option<Disk>,
    _folder: TempDir,
}

impl Postgres {
    /// A server that is ready for logical replication.
    ///
    /// # Errors
    /// As [`PostgresBuilder::start`].
    pub fn start() -> Result<Self> {
        Self::builder().start()
    }

    /// A server to be set up.
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
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.port.addr()
    }

    /// The address of a database, as the superuser.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        self.url_as("postgres", database)
    }

    /// The address of a database, as `user`.
    #[must_use]
    pub fn url_as(&self, user: &str, database: &str) -> String {
        format!("postgres://{user}@{}/{database}", self.addr())
    }

    /// Types `sql` into psql as the superuser in the database `postgres`, and returns what it
    /// printed (rows unaligned, columns divided by `|`). Statements commit one by one.
    ///
    /// # Errors
    /// When psql can't connect or a statement fails (none is run after that one).
    pub fn psql(&self, sql: &str) -> Result<String> {
        self.psql_in("postgres", sql)
    }

    /// The same in another database.
    ///
    /// # Errors
    /// As [`Postgres::psql`].
    pub fn psql_in(&self, database: &str, sql: &str) -> Result<String> {
        self.psql_as("postgres", database, sql)
    }

    /// The same as another user.
    ///
    /// # Errors
    /// As [`Postgres::psql`].
    pub fn psql_as(&self, user: &str, database: &str, sql: &str) -> Result<String> {
        let mut psql = Command::new(&self.programs.psql)
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"])
            .arg(self.url_as(user, database))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut stdin = psql.stdin.take().context("psql has an input")?;
        let sql_bytes = sql.to_owned().into_bytes();
        // From another thread, so that neither side waits for the other with full pipes. psql may
        // end at a failing statement without having read the rest.
        let typist = std::thread::spawn(move || stdin.write_all(&sql_bytes));
        let result = psql.wait_with_output()?;
        let _ = typist.join();
        if !result.status.success() {
            let complaint = String::from_utf8_lossy(&result.stderr);
            bail!("harness: psql: {}\nin {sql}", complaint.trim_end());
        }
        Ok(String::from_utf8_lossy(&result.stdout).trim_end().to_owned())
    }

    /// Shuts it down in order ("fast": sessions are cut, replication is served to its end).
    ///
    /// # Errors
    /// When it is not running, or does not end in time.
    pub fn stop(&mut self) -> Result<()> {
        let daemon = self.running()?;
        daemon.signal(Signal::INT)?;
        daemon.wait(STOP_LIMIT).context("a replication client that does not confirm?")?;
        self.daemon = None;
        Ok(())
    }

    /// Kills all its processes as `kill -9` does; the next start recovers from the log.
    ///
    /// # Errors
    /// When it is not running or can't be killed.
    pub fn crash(&mut self) -> Result<()> {
        let mut daemon = self.daemon.take().context("harness: postgres is not running")?;
        kill_family(&mut daemon)
    }

    /// Starts it again after [`Postgres::stop`] or [`Postgres::crash`], on the same port.
    ///
    /// # Errors
    /// When it runs already or does not come up.
    pub fn start_again(&mut self) -> Result<()> {
        if self.daemon.is_some() {
            bail!("harness: postgres is running already");
        }
        let daemon = launch(&self.programs, &self.data, &self.port, (&self.env, &self.output))?;
        self.daemon = Some(daemon);
        Ok(())
    }

    /// [`Postgres::stop`] and [`Postgres::start_again`].
    ///
    /// # Errors
    /// As these.
    pub fn restart(&mut self) -> Result<()> {
        self.stop()?;
        self.start_again()
    }

    /// Freezes all its processes: connections stay open and nobody answers, until
    /// [`Postgres::resume`].
    ///
    /// # Errors
    /// When it is not running.
    pub fn pause(&mut self) -> Result<()> {
        let daemon = self.running()?;
        // The parent first, so that it starts no more children.
        daemon.signal(Signal::STOP)?;
        signal_all(&children(daemon.id())?, Signal::STOP);
        Ok(())
    }

    /// Ends [`Postgres::pause`].
    ///
    /// # Errors
    /// When it is not running.
    pub fn resume(&mut self) -> Result<()> {
        let daemon = self.running()?;
        signal_all(&children(daemon.id())?, Signal::CONT);
        daemon.signal(Signal::CONT)
    }

    /// Gives it a larger disk than [`PostgresBuilder::disk`] did.
    ///
    /// # Errors
    /// When it has none of its own.
    pub fn enlarge_disk(&self, mb: u32) -> Result<()> {
        self.disk.as_ref().context("harness: postgres has no disk of its own")?.enlarge(mb)
    }

    fn running(&mut self) -> Result<&mut Daemon> {
        self.daemon.as_mut().context("harness: postgres is not running")
    }

    /// The lines it has logged.
    #[must_use]
    pub fn log(&self) -> Vec<String> {
        self.output.all()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Some(daemon) = &mut self.daemon {
            // Nothing can be reported from here.
            let _ = end(daemon);
        }
    }
}

fn launch(
    programs: &Programs,
    data: &PathBuf,
    port: &Port,
    (env, output): (&[OsString], &Output),
) -> Result<Daemon> {
    // Its environment is for it alone, and not for what changes the user before.
    let user = programs.user.as_ref();
    let mut command = child::command(Path::new("/usr/bin/env"), user)?;
    command
        .args(env)
        .arg(&programs.postgres)
        .arg("-D")
        .arg(data)
        .arg("-p")
        .arg(port.number().to_string());
    command.env("LC_ALL", "C");
    let mark = output.mark();
    let mut daemon = Daemon::spawn("postgres", command, output.clone())?;
    wait::until("postgres taking connections", START_LIMIT, || {
        if daemon.exited()?.is_some() {
            return Err(daemon.complain("it did not start"));
        }
        Ok(output.find(mark, READY, Duration::from_millis(50)))
    })
    .map_err(|err| daemon.complain(&err.to_string()))?;
    Ok(daemon)
}

/// "Immediate" shutdown: nothing is saved, but shared memory is given back.
fn end(daemon: &mut Daemon) -> Result<()> {
    let children = children(daemon.id())?;
    daemon.signal(Signal::QUIT)?;
    daemon.signal(Signal::CONT)?;
    signal_all(&children, Signal::CONT);
    match daemon.wait(Duration::from_secs(5)) {
        Ok(_) => Ok(()),
        Err(_) => kill_family(daemon),
    }
}

/// Backends lead process groups of their own, so the family has to be looked up. Children left
/// behind would hold the shared memory for a moment and make the next start fail.
fn kill_family(daemon: &mut Daemon) -> Result<()> {
    daemon.signal(Signal::STOP)?;
    let children = children(daemon.id())?;
    signal_all(&children, Signal::KILL);
    daemon.kill()?;
    wait::until("the end of postgres's children", STOP_LIMIT, || {
        Ok(children.iter().all(|pid| !is_alive(*pid)).then_some(()))
    })
}

/// Orphans that nobody has reaped yet hold nothing any more.
fn is_alive(pid: Pid) -> bool {
    Stat::of(pid).is_some_and(|stat| stat.state != "Z" && stat.state != "X")
}

fn signal_all(pids: &[Pid], signal: Signal) {
    for pid in pids {
        // One that has ended by itself is no error.
        let _ = kill_process(*pid, signal);
    }
}

fn children(parent: u32) -> Result<Vec<Pid>> {
    let all = fs::read_dir("/proc")?.flatten();
    let pids = all.filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?));
    // Processes come and go while we read.
    Ok(pids.filter(|pid| Stat::of(*pid).is_some_and(|stat| stat.parent == parent)).collect())
}

/// From `/proc/…/stat`.
struct Stat {
    state: String,
    parent: u32,
}

impl Stat {
    fn of(pid: Pid) -> Option<Self> {
        let line = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // "pid (name) state parent …"; the name may hold anything, also parentheses.
        let (_, after_name) = line.rsplit_once(')')?;
        let mut fields = after_name.split_whitespace();
        Some(Self { state: fields.next()?.to_owned(), parent: fields.next()?.parse().ok()? })
    }
}
