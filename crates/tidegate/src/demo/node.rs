//! A running Tidegate of the demo.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use cache::GovernorMode;
use edge::UpstreamLimits;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::error::StageError;
use crate::config::{Config, ConfigError, Listen};
use crate::node::{Listening, Node, NodeError, Reloads};
use crate::service_manager::ServiceManager;

/// The demo's configuration, with placeholders for addresses and paths.
const CONFIG: &str = include_str!("../../../../examples/shop/tidegate.toml");

/// The time limit for the first proven bound.
const PROOF_TIMEOUT: Duration = Duration::from_secs(10);

/// A node that runs until it is stopped.
pub(super) struct DemoNode {
    pub(super) at: Listen,
    pub(super) node: Arc<Node>,
    stop: watch::Sender<bool>,
    task: JoinHandle<Result<(), NodeError>>,
}

impl DemoNode {
    /// Starts a node in front of `upstream` and waits until its answers have a proven bound.
    pub(super) async fn start(
        database: &Path,
        upstream: SocketAddr,
        listen: Listen,
        governor: GovernorMode,
        limits: UpstreamLimits,
    ) -> Result<Self, StageError> {
        let mut config = configured(database, upstream)?;
        if let Some(gateway) = &mut config.gateway {
            gateway.upstream_limits = limits;
        }
        config.listen = listen;
        config.governor = governor;
        let node = Self::serve(&config).await?;
        node.node.wait_proven(PROOF_TIMEOUT).await.context("Tidegate did not start to follow")?;
        Ok(node)
    }

    /// Starts a node, on other free ports where the configured ones are taken.
    pub(super) async fn serve(config: &Config) -> Result<Self, StageError> {
        let node = Arc::new(Node::build(config).await?);
        let listening = Listening::bind_or_move(&config.listen, node.served())?;
        let at = listening.at.clone();
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(Arc::clone(&node).run(
            listening,
            stopped,
            Reloads::refused(),
            ServiceManager::none(),
        ));
        Ok(Self { at, node, stop, task })
    }

    /// Stops the node and returns its result.
    pub(super) async fn stop(self) -> Result<(), StageError> {
        let _ = self.stop.send(true);
        match self.task.await {
            Ok(ended) => Ok(ended?),
            Err(err) => Err(StageError::Other(err.into())),
        }
    }
}

fn configured(database: &Path, upstream: SocketAddr) -> Result<Config, ConfigError> {
    let text = CONFIG
        .replace("sqlite:shop.db", &format!("sqlite:{}", database.display()))
        .replace("127.0.0.1:3000", &upstream.to_string());
    Config::parse(Path::new("examples/shop/tidegate.toml"), &text)
}
