//! Any other program under test, held by the collar.

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
    wait,
};

/// What to run; see [`Process::builder`].
pub struct ProcessBuilder {
    program: PathBuf,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    folder: Option<PathBuf>,
}

impl ProcessBuilder {
    /// One more argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// More arguments.
    #[must_use]
    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// An environment variable, besides those of the test.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// The folder to run in.
    #[must_use]
    pub fn folder(mut self, folder: impl AsRef<Path>) -> Self {
        self.folder = Some(folder.as_ref().to_owned());
        self
    }

    /// Starts it. It has not got anywhere yet: wait for a line or an HTTP answer.
    ///
    /// # Errors
    /// When the program can't be run.
    pub fn start(self) -> Result<Process> {
        // Otherwise `setpriv` would report it, in the output and later.
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
    /// The program at this path, for example `env!("CARGO_BIN_EXE_tidegate")`.
    #[must_use]
    pub fn builder(program: impl AsRef<Path>) -> ProcessBuilder {
        ProcessBuilder {
            program: program.as_ref().to_owned(),
            args: Vec::new(),
            env: Vec::new(),
            folder: None,
        }
    }

    /// Its process number.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.daemon.id()
    }

    /// The lines it has printed so far, on both outputs.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.daemon.output.all()
    }

    /// The number of lines printed so far, for [`Process::wait_for_line_after`].
    #[must_use]
    pub fn mark(&self) -> usize {
        self.daemon.output.mark()
    }

    /// The first line that contains `part`, already printed or awaited for at most `limit`.
    ///
    /// # Errors
    /// When none came; with the last lines.
    pub fn wait_for_line(&mut self, part: &str, limit: Duration) -> Result<String> {
        self.wait_for_line_after(0, part, limit)
    }

    /// The same, among the lines after `mark`.
    ///
    /// # Errors
    /// When none came; with the last lines.
    pub fn wait_for_line_after(
        &mut self,
        mark: usize,
        part: &str,
        limit: Duration,
    ) -> Result<String> {
        self.daemon
            .output
            .find(mark, part, limit)
            .ok_or_else(|| self.daemon.complain(&format!("no line with {part:?} in {limit:?}")))
    }

    /// Waits until `GET path` at `addr` is answered with a 2xx, for at most `limit`.
    ///
    /// # Errors
    /// When the process ends before, or the time is over; with the last lines.
    pub fn wait_for_http(&mut self, addr: SocketAddr, path: &str, limit: Duration) -> Result<()> {
        let what = format!("a good answer from {addr}{path}");
        let ready = wait::until(&what, limit, || {
            if self.daemon.exited()?.is_some() {
                bail!("it ended");
            }
            let answer = http::get(addr, path, Duration::from_secs(1));
            Ok(answer.is_ok_and(|answer| (200..300).contains(&answer.status)).then_some(()))
        });
        ready.map_err(|err| self.daemon.complain(&err.to_string()))
    }

    /// How it ended, if it did.
    ///
    /// # Errors
    /// When the kernel can't tell.
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

    /// Asks it to end (SIGTERM) and waits for that.
    ///
    /// # Errors
    /// When it still runs after `limit`; with the last lines.
    pub fn terminate(&mut self, limit: Duration) -> Result<ExitStatus> {
        self.daemon.signal(Signal::TERM)?;
        self.daemon.wait(limit)
    }

    /// Presses Ctrl-C (SIGINT to its process group).
    ///
    /// # Errors
    /// When it can't be signalled.
    pub fn interrupt(&mut self) -> Result<()> {
        self.daemon.signal_group(Signal::INT)
    }

    /// `kill -9`, and waits until it is gone.
    ///
    /// # Errors
    /// When it can't be signalled.
    pub fn kill9(&mut self) -> Result<()> {
        self.daemon.kill()
    }

    /// Freezes it (SIGSTOP) until [`Process::resume`].
    ///
    /// # Errors
    /// When it can't be signalled.
    pub fn pause(&mut self) -> Result<()> {
        self.daemon.signal_group(Signal::STOP)
    }

    /// Ends [`Process::pause`].
    ///
    /// # Errors
    /// When it can't be signalled.
    pub fn resume(&mut self) -> Result<()> {
        self.daemon.signal_group(Signal::CONT)
    }
}
