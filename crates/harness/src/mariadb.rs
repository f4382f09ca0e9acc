//! A MariaDB server of one's own.

use std::{
    fs::{self, File},
    io::Write as _,
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::{
    child::{self, Daemon},
    folder,
    output::Output,
    port::{self, Port},
    programs, wait,
};

const START_LIMIT: Duration = Duration::from_secs(60);
const STOP_LIMIT: Duration = Duration::from_secs(60);
const READY: &str = "ready for connections";

/// How the server shall be set up; see [`MariaDb::builder`].
pub struct MariaDbBuilder {
    settings: Vec<(String, String)>,
}

impl MariaDbBuilder {
    /// An option of `mariadbd`, such as `binlog-format`, `ROW`; the last one for a name counts.
    #[must_use]
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts it and waits until it takes connections.
    ///
    /// # Errors
    /// When MariaDB is missing or does not come up; with its last lines.
    pub fn start(self) -> Result<MariaDb> {
        let programs = Programs::find()?;
        let folder = folder::private("mariadb")?;
        let data = folder.path().join("data");
        programs.copy_template(&data)?;
        let output = Output::default();
        let launch = |port: &Port| launch(&programs, &data, port, &self.settings, &output);
        let (port, daemon) = port::start_on_some_port(launch)?;
        let settings = self.settings;
        Ok(MariaDb {
            daemon: Some(daemon),
            output,
            port,
            programs,
            data,
            settings,
            _folder: folder,
        })
    }
}

/// A running MariaDB; stopped and wiped on drop. Its user `root` has no password and may connect
/// from 127.0.0.1 only.
pub struct MariaDb {
    daemon: Option<Daemon>,
    output: Output,
    port: Port,
    programs: Programs,
    data: PathBuf,
    settings: Vec<(String, String)>,
    _folder: TempDir,
}

impl MariaDb {
    /// A server whose binary log can be followed.
    ///
    /// # Errors
    /// As [`MariaDbBuilder::start`].
    pub fn start() -> Result<Self> {
        Self::builder().start()
    }

    /// A server to be set up. Its settings are MariaDB's own, but for a binary log of whole rows
    /// with the names of their columns, and little memory.
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

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.port.addr()
    }

    /// The address of a database, as `user` (`name` or `name:password`).
    #[must_use]
    pub fn url_as(&self, user: &str, database: &str) -> String {
        format!("mysql://{user}@{}/{database}", self.addr())
    }

    /// Types `sql` into the client as root, in no database, and returns what it printed (columns
    /// divided by tabs, without headings).
    ///
    /// # Errors
    /// When the client can't connect or a statement fails (none is run after that one).
    pub fn sql(&self, sql: &str) -> Result<String> {
        self.sql_in("", sql)
    }

    /// The same in a database.
    ///
    /// # Errors
    /// As [`MariaDb::sql`].
    pub fn sql_in(&self, database: &str, sql: &str) -> Result<String> {
        let port = self.port.number().to_string();
        let mut client = Command::new(&self.programs.client)
            .args(["--no-defaults", "--batch", "--skip-column-names", "--user=root"])
            .args(["--host=127.0.0.1", "--default-character-set=utf8mb4", "--port", &port])
            .arg(database)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut stdin = client.stdin.take().context("the client has an input")?;
        let sql_bytes = sql.to_owned().into_bytes();
        // From another thread, so that neither side waits for the other with full pipes. The client
        // may end at a failing statement without having read the rest.
        let typist = std::thread::spawn(move || stdin.write_all(&sql_bytes));
        let result = client.wait_with_output()?;
        let _ = typist.join();
        if !result.status.success() {
            let complaint = String::from_utf8_lossy(&result.stderr);
            bail!("harness: mariadb: {}\nin {sql}", complaint.trim_end());
        }
        Ok(String::from_utf8_lossy(&result.stdout).trim_end().to_owned())
    }

    /// Shuts it down in order.
    ///
    /// # Errors
    /// When it is not running, or does not end in time.
    pub fn stop(&mut self) -> Result<()> {
        let mut daemon = self.daemon.take().context("harness: mariadb is not running")?;
        daemon.signal(Signal::TERM)?;
        daemon.wait(STOP_LIMIT).map(drop)
    }

    /// Kills it as `kill -9` does; the next start recovers from its logs.
    ///
    /// # Errors
    /// When it is not running or can't be killed.
    pub fn crash(&mut self) -> Result<()> {
        self.daemon.take().context("harness: mariadb is not running")?.kill()
    }

    /// Starts it again after [`MariaDb::stop`] or [`MariaDb::crash`], on the same port.
    ///
    /// # Errors
    /// When it runs already or does not come up.
    pub fn start_again(&mut self) -> Result<()> {
        if self.daemon.is_some() {
            bail!("harness: mariadb is running already");
        }
        let again = launch(&self.programs, &self.data, &self.port, &self.settings, &self.output)?;
        self.daemon = Some(again);
        Ok(())
    }

    /// The lines it has logged.
    #[must_use]
    pub fn log(&self) -> Vec<String> {
        self.output.all()
    }
}

fn launch(
    programs: &Programs,
    data: &Path,
    port: &Port,
    settings: &[(String, String)],
    output: &Output,
) -> Result<Daemon> {
    let mut command = child::command(&programs.server, None)?;
    command.arg("--no-defaults").args(programs.as_root());
    command.arg(format!("--datadir={}", data.display()));
    // Of its own: a server that starts deletes the temporary tables of all others there.
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
    let mark = output.mark();
    let mut daemon = Daemon::spawn("mariadbd", command, output.clone())?;
    wait::until("mariadbd taking connections", START_LIMIT, || {
        if daemon.exited()?.is_some() {
            return Err(daemon.complain("it did not start"));
        }
        let said = output.find(mark, READY, Duration::from_millis(50)).is_some();
        Ok((said && TcpStream::connect(port.addr()).is_ok()).then_some(()))
    })
    .map_err(|err| daemon.complain(&err.to_string()))?;
    Ok(daemon)
}

struct Programs {
    server: PathBuf,
    client: PathBuf,
    install: PathBuf,
}

impl Programs {
    fn find() -> Result<Self> {
        let program = |name, package| {
            programs::find(name, &[]).ok_or_else(|| programs::missing(name, package))
        };
        Ok(Self {
            server: program("mariadbd", "mariadb-server")?,
            client: program("mariadb", "mariadb-client")?,
            install: program("mariadb-install-db", "mariadb-server")?,
        })
    }

    /// MariaDB runs as root only where that is said.
    fn as_root(&self) -> Option<&'static str> {
        rustix::process::getuid().is_root().then_some("--user=root")
    }

    /// Puts fresh system tables into `data`; made once per machine and user, and copied from then on.
    fn copy_template(&self, data: &Path) -> Result<()> {
        let template = self.template()?;
        run(Command::new("cp").args(["-a", "--reflink=auto"]).arg(template).arg(data))
    }

    fn template(&self) -> Result<PathBuf> {
        let shared = folder::shared("mariadb")?;
        let version = Command::new(&self.server).args(["--no-defaults", "--version"]).output()?;
        let version: String = String::from_utf8_lossy(&version.stdout)
            .split_whitespace()
            .filter(|word| word.contains("MariaDB"))
            .flat_map(str::chars)
            .map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' })
            .collect();
        let template = shared.join(format!("data-{version}"));
        // Other test processes may be about to do the same.
        let lock = File::create(shared.join("lock"))?;
        lock.lock()?;
        if !template.exists() {
            let fresh = folder::private("mariadb-install")?;
            self.install(fresh.path())?;
            fs::rename(fresh.path().join("data"), &template).with_context(|| {
                format!("harness: can't move a database to {}", template.display())
            })?;
        }
        Ok(template)
    }

    fn install(&self, folder: &Path) -> Result<()> {
        let options = folder.join("my.cnf");
        fs::write(&options, "[mysqld]\ninnodb_log_file_size=4M\n")?;
        let mut install = Command::new(&self.install);
        install.arg(format!("--defaults-file={}", options.display())).args(self.as_root());
        install.arg(format!("--datadir={}", folder.join("data").display()));
        install.env("TMPDIR", folder);
        install.args(["--auth-root-authentication-method=normal", "--skip-test-db"]);
        run(install.env("LC_ALL", "C"))
    }
}

fn run(command: &mut Command) -> Result<()> {
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
