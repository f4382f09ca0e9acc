//! The other nodes that the auditor asks.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cache::audit::{LoadTarget, PeerOutcome, PeerReply};
use coherence::{Clock, Mono};
use parking_lot::Mutex;
use thiserror::Error;
use tokio::task::JoinSet;

/// The time limit of one answer; a node only reads its tiers for it.
const PEER_TIMEOUT: Duration = Duration::from_millis(250);

/// A node that failed is not asked for this time, doubled with each further failure up to the longest.
const SHORTEST_REST: Duration = Duration::from_secs(1);
const LONGEST_REST: Duration = Duration::from_secs(30);

/// Asks another node for the state of its tiers; the transport is the caller's.
#[async_trait]
pub trait PeerClient: Send + Sync + 'static {
    /// Asks `node` which entry each of its tiers holds for `target`, with digests salted by `salt`. The call
    /// may be dropped at any time.
    ///
    /// # Errors
    /// [`PeerError`].
    async fn inspect(
        &self,
        node: &str,
        target: &LoadTarget,
        salt: &str,
    ) -> Result<PeerReply, PeerError>;
}

/// Why another node gave no usable answer.
#[derive(Clone, Debug, Error)]
pub enum PeerError {
    /// The node did not answer; the text says why.
    #[error("{0}")]
    Unreachable(String),
    /// The answer could not be parsed; the text says why.
    #[error("{0}")]
    Malformed(String),
}

/// The nodes that are asked.
pub(super) struct Peers {
    peers: Vec<Arc<Peer>>,
    client: Arc<dyn PeerClient>,
    clock: Arc<dyn Clock>,
    salt: Arc<str>,
}

struct Peer {
    name: String,
    backoff: Mutex<Backoff>,
}

/// When a node that failed is asked again.
#[derive(Debug, Default)]
struct Backoff {
    until: Mono,
    rest: Duration,
}

impl Backoff {
    fn is_over(&self, now: Mono) -> bool {
        now >= self.until
    }

    /// Returns whether this is the first failure after an answer.
    fn failed(&mut self, now: Mono) -> bool {
        let first = self.rest.is_zero();
        self.rest = (self.rest * 2).clamp(SHORTEST_REST, LONGEST_REST);
        self.until = now + self.rest;
        first
    }

    fn answered(&mut self) {
        *self = Self::default();
    }
}

impl Peers {
    pub(super) fn new(
        names: &[String],
        client: Arc<dyn PeerClient>,
        clock: Arc<dyn Clock>,
        salt: Arc<str>,
    ) -> Self {
        let peer = |name: &String| Arc::new(Peer { name: name.clone(), backoff: Mutex::default() });
        Self { peers: names.iter().map(peer).collect(), client, clock, salt }
    }

    pub(super) fn names(&self) -> impl Iterator<Item = String> + '_ {
        self.peers.iter().map(|peer| peer.name.clone())
    }

    /// Asks all nodes at once, each for at most [`PEER_TIMEOUT`].
    pub(super) async fn ask(&self, target: &LoadTarget) -> Vec<PeerOutcome> {
        let mut outcomes = vec![PeerOutcome::Skipped; self.peers.len()];
        let now = self.clock.mono();
        let mut requests = JoinSet::new();
        for (index, peer) in self.peers.iter().enumerate() {
            if !peer.backoff.lock().is_over(now) {
                continue;
            }
            let (peer, client) = (Arc::clone(peer), Arc::clone(&self.client));
            let (clock, salt) = (Arc::clone(&self.clock), Arc::clone(&self.salt));
            let target = target.clone();
            requests.spawn(async move {
                (index, peer.ask(client.as_ref(), &target, &salt, clock.as_ref()).await)
            });
        }
        while let Some(request) = requests.join_next().await {
            if let Ok((index, outcome)) = request {
                outcomes[index] = outcome;
            }
        }
        outcomes
    }
}

impl Peer {
    async fn ask(
        &self,
        client: &dyn PeerClient,
        target: &LoadTarget,
        salt: &str,
        clock: &dyn Clock,
    ) -> PeerOutcome {
        let request = client.inspect(&self.name, target, salt);
        let (outcome, error) = match tokio::time::timeout(PEER_TIMEOUT, request).await {
            Ok(Ok(reply)) => {
                self.backoff.lock().answered();
                return PeerOutcome::Replied(reply);
            }
            Err(_) => (PeerOutcome::Unreachable, format!("no answer within {PEER_TIMEOUT:?}")),
            Ok(Err(err @ PeerError::Unreachable(_))) => (PeerOutcome::Unreachable, err.to_string()),
            Ok(Err(err @ PeerError::Malformed(_))) => (PeerOutcome::Malformed, err.to_string()),
        };
        if self.backoff.lock().failed(clock.mono()) {
            tracing::warn!(node = %self.name, error, "a node can't be audited");
        }
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failing_peer_rests_longer_each_time() {
        let mut backoff = Backoff::default();
        let now = Mono(1_000_000_000);
        assert!(backoff.is_over(now));
        assert!(backoff.failed(now), "the first failure is reported");
        assert!(!backoff.is_over(now) && backoff.is_over(now + SHORTEST_REST));
        for _ in 0..10 {
            assert!(!backoff.failed(now));
        }
        assert!(!backoff.is_over(now + SHORTEST_REST) && backoff.is_over(now + LONGEST_REST));
        backoff.answered();
        assert!(backoff.is_over(now));
    }
}
