//! Child processes that end with the drill.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};

/// A process with a group of its own, which is killed on drop. The kernel kills it when the drill dies, where the
/// program `setpriv` is installed.
pub(super) struct ChildProcess {
    name: String,
    child: Child,
    log: PathBuf,
}

/// The lines of a log that an error shows.
const LOG_LINES: usize = 8;

/// The program of a child, and the options that `setpriv` gives it.
pub(super) struct Program {
    pub(super) path: PathBuf,
    /// The user to run as; `None`: ours.
    pub(super) user: Option<&'static str>,
    pub(super) env: Vec<(OsString, OsString)>,
}

impl Program {
    pub(super) fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), user: None, env: Vec::new() }
    }

    /// Returns the command that runs it.
    ///
    /// # Errors
    /// It has to run as another user, and `setpriv` is missing.
    pub(super) fn command(&self) -> Result<Command> {
        let mut command = match (find("setpriv", &[]), self.user) {
            (None, None) => Command::new(&self.path),
            (None, Some(_)) => anyhow::bail!(
                "setpriv is missing; install it with `apt-get install util-linux`, or run as another user than root"
            ),
            (Some(setpriv), user) => {
                let mut command = Command::new(setpriv);
                command.args(["--pdeathsig", "KILL"]);
                if let Some(user) = user {
                    command.arg(format!("--reuid={user}")).arg(format!("--regid={user}"));
                    command.arg("--init-groups");
                }
                command.arg("--").arg(&self.path);
                command
            }
        };
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        Ok(command)
    }
}

impl ChildProcess {
    /// Starts a command whose outputs are added to the file `log`.
    pub(super) fn start(name: &str, mut command: Command, log: &Path) -> Result<Self> {
        let output = File::options().create(true).append(true).open(log);
        let output = output.with_context(|| log.display().to_string())?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let child = command.process_group(0).kill_on_drop(true).spawn();
        let child = child.with_context(|| format!("{name} can't be started"))?;
        Ok(Self { name: name.to_owned(), child, log: log.to_owned() })
    }

    /// Signals the process and its group, and waits for its end.
    pub(super) async fn end(&mut self, signal: Signal, limit: Duration) -> Result<()> {
        self.signal(signal)?;
        let ended = tokio::time::timeout(limit, self.child.wait()).await;
        ended.with_context(|| format!("{} does not end within {limit:?}", self.name))??;
        Ok(())
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let pid = self.child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        match pid.map(|pid| kill_process_group(pid, signal)) {
            // It has ended.
            None | Some(Ok(()) | Err(rustix::io::Errno::SRCH)) => Ok(()),
            Some(Err(err)) => Err(err).with_context(|| self.name.clone()),
        }
    }

    /// Fails if it has ended, with its last lines.
    pub(super) fn check(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => anyhow::bail!(
                "{} ended with {status}; its last lines:\n{}",
                self.name,
                self.last_lines()
            ),
        }
    }

    /// Returns the last lines of its log.
    pub(super) fn last_lines(&self) -> String {
        let log = std::fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let mut lines: Vec<&str> = log.lines().rev().take(LOG_LINES).collect();
        lines.reverse();
        lines.join("\n")
    }
}

impl Drop for ChildProcess {
    fn drop(&mut self) {
        // An error means that it has ended.
        let _ = self.signal(Signal::KILL);
    }
}

/// Returns a program in `folders` or in `PATH`.
pub(super) fn find(name: impl AsRef<OsStr>, folders: &[PathBuf]) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let all = folders.iter().cloned().chain(env::split_paths(&path));
    all.map(|folder| folder.join(name.as_ref())).find(|file| file.is_file())
}

/// Returns a free port of 127.0.0.1. Another process may take it before its use.
pub(super) fn free_port() -> Result<u16> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").context("no free port")?;
    Ok(listener.local_addr()?.port())
}
