//! A MariaDB server.

mod replica;

use std::{
    fs,
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::Result;
use rustix::process::Signal;
use tempfile::TempDir;

use crate::{
    child::{self, Daemon},
    folder,
    output::Output,
    port::Port,
    programs,
    server::Server,
};

const START_TIMEOUT: Duration = Duration::from_secs(120);
const STOP_TIMEOUT: Duration = Duration::from_secs(60);
const READY: &str = "ready for connections";

/// The settings of a [`MariaDb`].
pub struct MariaDbBuilder {
    settings: Vec<(String, String)>,
}

impl MariaDbBuilder {
    /// Sets an option of `mariadbd`, such as `binlog-format` to `ROW`; the last one for a name counts.
    #[must_use]
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts it and waits until it accepts connections.
    ///
    /// # Errors
    /// When MariaDB is missing or does not become ready; with its last lines.
    pub fn start(self) -> Result<MariaDb> {
        let programs = Programs::find()?;
        let folder = folder::private("mariadb")?;
        let data = folder.path().join("data");
        programs.copy_template(&data)?;
        let settings = self.settings;
        let launch =
            |port: &Port, output: &Output| launch(&programs, &data, &settings, (port, output));
        let server = Server::start("mariadb", launch)?;
        Ok(MariaDb { server, programs, data, settings, _folder: folder })
    }
}

/// A running MariaDB; stopped on drop, with its data removed. Its user `root` has no password and
/// may connect from 127.0.0.1 only.
pub struct MariaDb {
    server: Server,
    programs: Programs,
    data: PathBuf,
    settings: Vec<(String, String)>,
    _folder: TempDir,
}

impl MariaDb {
    /// Starts a server whose binary log can be followed.
    ///
    /// # Errors
    /// As [`MariaDbBuilder::start`].
    pub fn start() -> Result<Self> {
        Self::builder().start()
    }

    /// Returns a builder for other settings. The defaults are those of MariaDB, except for a binary log
    /// of complete rows with the names of their columns, and little memory.
    #[must_use]
    pub fn builder() -> MariaDbBuilder {
        let settings = [
            ("log-bin", "binlog"),
            ("server-id", "1"),
            ("binlog-format", "ROW"),
            ("binlog-row-metadata", "FULL"),
            ("character-set-server", "utf8mb4"),
            ("innodb-buffer-pool-size", "16M"),
        ];
        let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned()));
        MariaDbBuilder { settings: settings.into() }
    }

    /// Returns its address.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.server.addr()
    }

    /// Returns the URL of a database, for `user` (`name` or `name:password`).
    #[must_use]
    pub fn url_as(&self, user: &str, database: &str) -> String {
        format!("mysql://{user}@{}/{database}", self.addr())
    }

    /// Runs `sql` with the client as root, in no database, and returns the output (columns separated
    /// by tabs, without headings).
    ///
    /// # Errors
    /// When the client can't connect or a statement fails (the rest does not run).
    pub fn sql(&self, sql: &str) -> Result<String> {
        self.sql_in("", sql)
    }

    /// As [`MariaDb::sql`], in a database.
    ///
    /// # Errors
    /// As [`MariaDb::sql`].
    pub fn sql_in(&self, database: &str, sql: &str) -> Result<String> {
        let mut client = Command::new(&self.programs.client);
        client.args(["--no-defaults", "--batch", "--skip-column-names", "--user=root"]);
        client.args(["--host=127.0.0.1", "--default-character-set=utf8mb4"]);
        client.arg("--port").arg(self.addr().port().to_string()).arg(database);
        programs::run_with_input(&mut client, sql)
    }

    /// Shuts it down cleanly.
    ///
    /// # Errors
    /// When it is not running, or does not end in time.
    pub fn stop(&mut self) -> Result<()> {
        self.server.stop(Signal::TERM, STOP_TIMEOUT)
    }

    /// Kills it with SIGKILL; the next start recovers from its logs.
    ///
    /// # Errors
    /// When it is not running or can't be killed.
    pub fn crash(&mut self) -> Result<()> {
        self.server.crash(Daemon::kill)
    }

    /// Starts it again after [`MariaDb::stop`] or [`MariaDb::crash`], on the same port.
    ///
    /// # Errors
    /// When it runs already or does not become ready.
    pub fn start_again(&mut self) -> Result<()> {
        let Self { server, programs, data, settings, .. } = self;
        server.start_again(|port, output| launch(programs, data, settings, (port, output)))
    }

    /// Returns the lines that it has logged.
    #[must_use]
    pub fn log(&self) -> Vec<String> {
        self.server.log()
    }
}

fn launch(
    programs: &Programs,
    data: &Path,
    settings: &[(String, String)],
    (port, output): (&Port, &Output),
) -> Result<Daemon> {
    let mut command = child::command(&programs.server, None)?;
    command.arg("--no-defaults").args(programs.as_root());
    command.arg(format!("--datadir={}", data.display()));
    // A server that starts deletes all temporary tables in its folder, so each has its own.
    let temporary = data.with_file_name("tmp");
    fs::create_dir_all(&temporary)?;
    command.arg(format!("--tmpdir={}", temporary.display()));
    command.arg(format!("--socket={}", data.join("socket").display()));
    command.arg(format!("--pid-file={}", data.join("pid").display()));
    command.args(["--bind-address=127.0.0.1", "--innodb-log-file-size=4M"]);
    command.arg(format!("--port={}", port.number()));
    for (name, value) in settings {
        command.arg(format!("--{name}={value}"));
    }
    command.env("LC_ALL", "C");
    let lines = output.line_count();
    let mut daemon = Daemon::spawn("mariadbd", command, output.clone())?;
    daemon.wait_until_ready(START_TIMEOUT, || {
        output.find(lines, READY, Duration::from_millis(50)).is_some()
            && TcpStream::connect(port.addr()).is_ok()
    })?;
    Ok(daemon)
}

struct Programs {
    server: PathBuf,
    client: PathBuf,
    install: PathBuf,
}

impl Programs {
    fn find() -> Result<Self> {
        Ok(Self {
            server: programs::require("mariadbd", &[], "mariadb-server")?,
            client: programs::require("mariadb", &[], "mariadb-client")?,
            install: programs::require("mariadb-install-db", &[], "mariadb-server")?,
        })
    }

    /// MariaDB runs as root only with this option.
    fn as_root(&self) -> Option<&'static str> {
        rustix::process::getuid().is_root().then_some("--user=root")
    }

    /// Puts fresh system tables into `data`, a copy of a template.
    fn copy_template(&self, data: &Path) -> Result<()> {
        let mut version = Command::new(&self.server);
        let printed = programs::run(version.args(["--no-defaults", "--version"]))?;
        let version: String =
            printed.split_whitespace().filter(|word| word.contains("MariaDB")).collect();
        let name = format!("data-{version}");
        folder::copy_template("mariadb", &name, data, |folder| self.install(folder))
    }

    fn install(&self, folder: &Path) -> Result<()> {
        let options = folder.join("my.cnf");
        fs::write(&options, "[mysqld]\ninnodb_log_file_size=4M\n")?;
        let mut install = Command::new(&self.install);
        install.arg(format!("--defaults-file={}", options.display())).args(self.as_root());
        install.arg(format!("--datadir={}", folder.join("data").display()));
        install.env("TMPDIR", folder);
        install.args(["--auth-root-authentication-method=normal", "--skip-test-db"]);
        programs::run(install.env("LC_ALL", "C")).map(drop)
    }
}
