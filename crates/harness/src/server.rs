//! A server that a test stops and starts again, on one port and with one log.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result, bail};
use rustix::process::Signal;

use crate::{
    child::Daemon,
    output::Output,
    port::{self, Port},
};

/// A server process that may be down. Its port stays reserved meanwhile.
pub(crate) struct Server {
    name: &'static str,
    daemon: Option<Daemon>,
    output: Output,
    port: Port,
}

impl Server {
    /// Starts it by `launch` on a free port.
    pub(crate) fn start(
        name: &'static str,
        mut launch: impl FnMut(&Port, &Output) -> Result<Daemon>,
    ) -> Result<Self> {
        let output = Output::default();
        let (port, daemon) = port::start_on_free_port(|port| launch(port, &output))?;
        Ok(Self { name, daemon: Some(daemon), output, port })
    }

    /// Starts it by `launch` on the port that it had.
    ///
    /// # Errors
    /// When it runs, or `launch` fails.
    pub(crate) fn start_again(
        &mut self,
        launch: impl FnOnce(&Port, &Output) -> Result<Daemon>,
    ) -> Result<()> {
        if self.daemon.is_some() {
            bail!("harness: {} is already running", self.name);
        }
        self.daemon = Some(launch(&self.port, &self.output)?);
        Ok(())
    }

    /// Sends `signal` and waits for the end of the process, for at most `limit`.
    ///
    /// # Errors
    /// When it is not running, or does not end in time.
    pub(crate) fn stop(&mut self, signal: Signal, limit: Duration) -> Result<()> {
        let daemon = self.running()?;
        daemon.signal(signal)?;
        daemon.wait(limit)?;
        self.daemon = None;
        Ok(())
    }

    /// Ends it by `kill`, such as [`Daemon::kill`].
    ///
    /// # Errors
    /// When it is not running, or `kill` fails.
    pub(crate) fn crash(&mut self, kill: impl FnOnce(&mut Daemon) -> Result<()>) -> Result<()> {
        kill(self.running()?)?;
        self.daemon = None;
        Ok(())
    }

    /// Returns the process.
    ///
    /// # Errors
    /// When it is not running.
    pub(crate) fn running(&mut self) -> Result<&mut Daemon> {
        let name = self.name;
        self.daemon.as_mut().with_context(|| format!("harness: {name} is not running"))
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.port.addr()
    }

    /// Returns the lines that it has logged.
    pub(crate) fn log(&self) -> Vec<String> {
        self.output.all()
    }
}
