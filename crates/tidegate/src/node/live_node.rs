//! One configuration while it serves, and after.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::build::Node;
use super::error::NodeError;

/// The time after which a replaced configuration is given up, although requests still use it.
const RETIRE_TIMEOUT: Duration = Duration::from_secs(60);

/// The pause between two looks whether requests still use it.
const RETIRE_PAUSE: Duration = Duration::from_millis(20);

/// A configuration with its loops.
pub(super) struct LiveNode {
    pub(super) node: Arc<Node>,
    loops: JoinSet<Result<(), NodeError>>,
    /// The loops that follow the logs of the sources. One configuration of the process has them at a time.
    followers: JoinSet<Result<(), NodeError>>,
}

impl LiveNode {
    /// Starts the loops of a configuration, apart from the followers of logs.
    pub(super) fn start(node: Arc<Node>) -> Self {
        Self { loops: node.spawn_loops(), node, followers: JoinSet::new() }
    }

    /// Begins to follow the logs.
    pub(super) fn follow(&mut self) {
        self.node.spawn_followers(&mut self.followers);
    }

    /// Waits for the end of a loop.
    ///
    /// # Errors
    /// The feed needs an operator.
    pub(super) async fn ended(&mut self) -> Result<(), NodeError> {
        let ended = tokio::select! {
            ended = self.loops.join_next() => ended,
            ended = self.followers.join_next() => ended,
        };
        flatten(ended)
    }

    /// Ends the followers, so that those of another configuration may follow.
    pub(super) async fn stop_following(&mut self) {
        self.followers.shutdown().await;
    }

    /// Waits until no request uses the configuration any more, then frees it. Its answers stay proven meanwhile.
    pub(super) async fn retire(self) {
        let Self { node, loops, followers: _ } = self;
        let usage = [node.gateway.as_ref().map(edge::Gateway::usage), Some(node.data.usage())];
        drop(node);
        let unused = async {
            while usage.iter().flatten().any(|usage| usage.strong_count() > 0) {
                tokio::time::sleep(RETIRE_PAUSE).await;
            }
        };
        if tokio::time::timeout(RETIRE_TIMEOUT, unused).await.is_err() {
            tracing::warn!(
                "requests still use the configuration of before {RETIRE_TIMEOUT:?} after its reload"
            );
        }
        drop(loops);
    }
}

pub(super) fn flatten(
    ended: Option<Result<Result<(), NodeError>, tokio::task::JoinError>>,
) -> Result<(), NodeError> {
    match ended {
        Some(Ok(result)) => result,
        Some(Err(err)) => Err(NodeError::Serve(std::io::Error::other(err))),
        None => Ok(()),
    }
}
