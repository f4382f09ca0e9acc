//! Any other program under test.

use std::{
    ffi::{OsStr, OsString},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitStatus,
    time::Duration,
};

use anyhow::{Result, bail};
use rustix::process::Signal;

use crate::{
    child::{self, Daemon},
    http,
    output::Output,
};

/// The program, arguments and environment of a [`Process`].
pub struct ProcessBuilder {
    program: PathBuf,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    folder: Option<PathBuf>,
}

impl ProcessBuilder {
    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Adds an environment variable to those of the test.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Sets the working folder.
    #[must_use]
    pub fn folder(mut self, folder: impl AsRef<Path>) -> Self {
        self.folder = Some(folder.as_ref().to_owned());
        self
    }

    /// Starts it without waiting for it to be ready; wait for a line or an HTTP response.
    ///
    /// # Errors
    /// When the program can't be run.
    pub fn start(self) -> Result<Process> {
        // Otherwise `setpriv` would report it later, in the output.
        if !self.program.is_file() {
            bail!("harness: {} not found", self.program.display());
        }
        let mut command = child::command(&self.program, None)?;
        command.args(self.args).envs(self.env);
        if let Some(folder) = self.folder {
            command.current_dir(folder);
        }
        let name = self.program.file_name().unwrap_or(self.program.as_os_str()).to_string_lossy();
        Ok(Process { daemon: Daemon::spawn(&name, command, Output::default())? })
    }
}

/// A running program; killed with its process group on drop.
pub struct Process {
    daemon: Daemon,
}

impl Process {
    /// Returns a builder for the program at this path, for example `env!("CARGO_BIN_EXE_tidegate")`.
    #[must_use]
    pub fn builder(program: impl AsRef<Path>) -> ProcessBuilder {
        ProcessBuilder {
            program: program.as_ref().to_owned(),
            args: Vec::new(),
            env: Vec::new(),
            folder: None,
        }
    }

    /// Returns its process ID.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.daemon.id()
    }

    /// Returns the lines that it has printed so far, on both outputs.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.daemon.output.all()
    }

    /// Returns the number of lines printed so far, for [`Process::wait_for_line_after`].
    #[must_use]
    pub fn line_count(&self) -> usize {
        self.daemon.output.line_count()
    }

    /// Returns the first line that contains `part`; waits for it for at most `limit`.
    ///
    /// # Errors
    /// When there is none in time; with the last lines.
    pub fn wait_for_line(&mut self, part: &str, limit: Duration) -> Result<String> {
        self.wait_for_line_after(0, part, limit)
    }

    /// As [`Process::wait_for_line`], past the first `skipped` lines.
    ///
    /// # Errors
    /// When there is none in time; with the last lines.
    pub fn wait_for_line_after(
        &mut self,
        skipped: usize,
        part: &str,
        limit: Duration,
    ) -> Result<String> {
        self.daemon
            .output
            .find(skipped, part, limit)
            .ok_or_else(|| self.daemon.failure(&format!("no line with {part:?} in {limit:?}")))
    }

    /// Waits until `GET path` at `addr` returns a 2xx, for at most `limit`.
    ///
    /// # Errors
    /// When the process ends before, or `limit` passes; with the last lines.
    pub fn wait_for_http(&mut self, addr: SocketAddr, path: &str, limit: Duration) -> Result<()> {
        self.daemon.wait_until_ready(limit, || {
            let response = http::get(addr, path, Duration::from_secs(1));
            response.is_ok_and(|response| (200..300).contains(&response.status))
        })
    }

    /// Returns the exit status, or `None` while it runs.
    ///
    /// # Errors
    /// When the kernel refuses the question.
    pub fn exited(&mut self) -> Result<Option<ExitStatus>> {
        self.daemon.exited()
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it still runs after `limit`; with the last lines.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        self.daemon.wait(limit)
    }

    /// Sends SIGTERM and waits for its end.
    ///
    /// # Errors
    /// When it still runs after `limit`; with the last lines.
    pub fn terminate(&mut self, limit: Duration) -> Result<ExitStatus> {
        self.daemon.signal(Signal::TERM)?;
        self.daemon.wait(limit)
    }

    /// Sends SIGINT to its process group, as Ctrl-C does.
    ///
    /// # Errors
    /// When it can't be signalled.
    pub fn interrupt(&mut self) -> Result<()> {
        self.daemon.signal_group(Signal::INT)
    }

    /// Sends SIGKILL to its process group and waits until it is gone.
    ///
    /// # Errors
    /// When it can't be signalled.
    pub fn kill9(&mut self) -> Result<()> {
        self.daemon.kill()
    }

    /// Stops it (SIGSTOP) until [`Process::resume`]. Returns when all of its threads have stopped.
    ///
    /// # Errors
    /// When it can't be signalled, or did not stop within 30 s.
    pub fn pause(&mut self) -> Result<()> {
        self.daemon.pause_group()
    }

    /// Ends [`Process::pause`].
    ///
    /// # Errors
    /// When it can't be signalled.
    pub fn resume(&mut self) -> Result<()> {
        self.daemon.signal_group(Signal::CONT)
    }
}
