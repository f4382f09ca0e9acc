//! A node of the drill: this program, in a process of its own.

use std::ffi::OsString;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use edge::TlsFiles;
use rustix::process::Signal;

use super::child::{ChildProcess, Program, free_port};
use crate::http_client::Target;

/// The time limit of a start.
const READY_TIMEOUT: Duration = Duration::from_secs(60);
const READY_POLL: Duration = Duration::from_millis(50);
const KILL_TIMEOUT: Duration = Duration::from_secs(10);

/// A node with fixed ports.
pub(super) struct DrillNode {
    config: PathBuf,
    log: PathBuf,
    sale: u16,
    admin: u16,
    process: Option<ChildProcess>,
}

impl DrillNode {
    /// Writes the configuration of a node and starts it. `sections`: `[source.…]`, `[sale]` and its payments.
    pub(super) async fn start(folder: &Path, number: usize, sections: &str) -> Result<Self> {
        let [data, admin, sale] = [free_port()?, free_port()?, free_port()?];
        let config = folder.join(format!("node-{number}.toml"));
        let text = format!(
            "[listen]\ndata = \"127.0.0.1:{data}\"\nadmin = \"127.0.0.1:{admin}\"\nsale = \"127.0.0.1:{sale}\"\n\n{sections}"
        );
        fs::write(&config, text).with_context(|| config.display().to_string())?;
        let log = folder.join(format!("node-{number}.log"));
        let mut node = Self { config, log, sale, admin, process: None };
        node.launch(&[])?;
        node.wait_ready().await?;
        Ok(node)
    }

    pub(super) fn sale(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.sale).into()
    }

    /// Starts the process. `env`: further variables.
    pub(super) fn launch(&mut self, env: &[(OsString, OsString)]) -> Result<()> {
        let program = std::env::current_exe().context("the path of this program")?;
        let program = Program { env: env.to_vec(), ..Program::new(program) };
        let mut command = program.command()?;
        command.arg("serve").arg("--config").arg(&self.config);
        self.process = Some(ChildProcess::start("a node", command, &self.log)?);
        Ok(())
    }

    /// Kills the process with SIGKILL.
    pub(super) async fn kill(&mut self) -> Result<()> {
        match self.process.take() {
            Some(mut process) => process.end(Signal::KILL, KILL_TIMEOUT).await,
            None => Ok(()),
        }
    }

    /// Waits until it serves.
    pub(super) async fn wait_ready(&mut self) -> Result<()> {
        let target = Target::new(&format!("127.0.0.1:{}", self.admin), &TlsFiles::default())?;
        let ready = async {
            while target.get("/readyz", None, 1 << 16).await.is_err() {
                self.process.as_mut().context("the node was not started")?.check()?;
                tokio::time::sleep(READY_POLL).await;
            }
            anyhow::Ok(())
        };
        let ready = tokio::time::timeout(READY_TIMEOUT, ready).await;
        ready.unwrap_or_else(|_| {
            let lines = self.process.as_ref().map(ChildProcess::last_lines).unwrap_or_default();
            anyhow::bail!("a node is not ready after {READY_TIMEOUT:?}; its last lines:\n{lines}")
        })
    }
}
