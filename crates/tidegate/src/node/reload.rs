//! Requests to reload the configuration, and the preparation of its replacement.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use control::{ConfigReloader, ReloadError, Reloaded};
use tokio::sync::{mpsc, oneshot};

use super::build::Node;
use super::live_node::LiveNode;
use crate::config::Config;

/// The requests that wait while a reload is under way. All of them are answered by the next one.
const QUEUE: usize = 64;

/// The time in which the replacement has to prove its answers as the present configuration does.
const PROOF_TIMEOUT: Duration = Duration::from_secs(10);

/// The pause between two looks whether it does.
const PROOF_PAUSE: Duration = Duration::from_millis(20);

/// A shared tier that can't be read so many times in a row is away.
const TIER_ATTEMPTS: u32 = 10;

const STOPPING: ReloadError = ReloadError::Unavailable("the process stops");

/// Receives the result of a reload.
pub(super) type Done = oneshot::Sender<Result<Reloaded, ReloadError>>;

/// Asks the process to reload. Clones ask the same process.
#[derive(Clone)]
pub(crate) struct ReloadHandle(mpsc::Sender<Done>);

/// The requests to reload a file.
pub(crate) struct Reloads {
    /// `None`: the configuration is built in.
    path: Option<PathBuf>,
    requests: mpsc::Receiver<Done>,
    handle: ReloadHandle,
}

impl Reloads {
    /// Creates the requests to reload the file at `path`.
    pub(crate) fn of(path: PathBuf) -> Self {
        Self::new(Some(path))
    }

    /// Creates the requests in a process whose configuration is built in: they are refused.
    pub(crate) fn refused() -> Self {
        Self::new(None)
    }

    fn new(path: Option<PathBuf>) -> Self {
        let (sender, requests) = mpsc::channel(QUEUE);
        Self { path, requests, handle: ReloadHandle(sender) }
    }

    pub(crate) fn handle(&self) -> ReloadHandle {
        self.handle.clone()
    }

    /// Waits for a request. Returns it with all others that wait: one reading of the file, after the last of them has
    /// arrived, answers all.
    pub(super) async fn next(&mut self) -> Vec<Done> {
        let mut all = Vec::new();
        self.requests.recv_many(&mut all, QUEUE).await;
        all
    }

    pub(super) fn path(&self) -> Option<PathBuf> {
        self.path.clone()
    }
}

#[async_trait]
impl ConfigReloader for ReloadHandle {
    async fn reload(&self) -> Result<Reloaded, ReloadError> {
        let (done, result) = oneshot::channel();
        self.0.try_send(done).map_err(|err| match err {
            mpsc::error::TrySendError::Full(_) => ReloadError::Busy,
            mpsc::error::TrySendError::Closed(_) => STOPPING,
        })?;
        result.await.unwrap_or(Err(STOPPING))
    }
}

/// A configuration that is ready to serve.
pub(super) struct Replacement {
    pub(super) live: LiveNode,
    /// The keys that differ from the configuration of before.
    pub(super) changed: Vec<String>,
}

/// Reads the configuration and prepares it to serve in place of `present`, which is not touched.
pub(super) async fn prepare(
    path: Option<PathBuf>,
    present: Arc<Node>,
) -> Result<Replacement, ReloadError> {
    let Some(path) = path else {
        return Err(ReloadError::Unavailable("the configuration of this process is built in"));
    };
    let read = tokio::task::spawn_blocking(move || Config::read(&path)).await;
    let config = match read {
        Ok(Ok(config)) => config,
        Ok(Err(err)) => return Err(ReloadError::Invalid(err.to_string())),
        Err(err) => return Err(ReloadError::Environment(format!("reading failed: {err}"))),
    };
    let restart = present.settings.needing_restart(&config.settings);
    if !restart.is_empty() {
        return Err(ReloadError::NeedsRestart(restart));
    }
    let node = Node::replacement(&config, &present.kept)
        .await
        .map_err(|err| ReloadError::Environment(err.with_lines(&config).to_string()))?;
    let changed = present.settings.changed(&config.settings);
    let live = LiveNode::start(Arc::new(node));
    let proven = tokio::time::timeout(PROOF_TIMEOUT, proves_as(&live.node, &present)).await;
    proven.map_err(|_| {
        let text = format!("the new configuration has no proven bound within {PROOF_TIMEOUT:?}");
        ReloadError::Environment(text)
    })?;
    Ok(Replacement { live, changed })
}

/// Waits until each source of `new` is proven, as far as that of `present` is. A source whose shared tier is away can't be
/// proven by waiting: its answers come from the origin, as after a start in this state.
async fn proves_as(new: &Node, present: &Node) {
    for (new, present) in new.sources.iter().zip(&present.sources) {
        let mut failures = 0;
        while new.engine.status().bound.is_none() && present.engine.status().bound.is_some() {
            let position = new.engine.shared().position().await;
            failures = if position.is_err() { failures + 1 } else { 0 };
            if failures == TIER_ATTEMPTS {
                tracing::warn!(
                    source = &*new.name,
                    "the shared tier is away: answers of the new configuration are loaded"
                );
                break;
            }
            tokio::time::sleep(PROOF_PAUSE).await;
        }
    }
}
