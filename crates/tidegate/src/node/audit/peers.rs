//! The other nodes: asked by this one's auditor, and answered by this one.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cache::Engine;
use cache::audit::{Held, Named, PeerLook, Told};
use coherence::{Clock, Mono};
use control::inspect::{Asked, Inspect, Senseless};
use edge::data::{DataFace, Inspected};
use parking_lot::Mutex;
use tokio::task::JoinSet;

use crate::fetch::{self, Asker};

/// How long a node has for its answer; it looks at its tiers and at nothing else.
const PATIENCE: Duration = Duration::from_millis(250);

/// The longest answer, in bytes; two tiers take less than one thousand.
const ANSWER_MAX: usize = 16 * 1024;

/// A node that did not answer is left alone for so long, and for twice as long each time it fails
/// again, up to the longest.
const REST: Duration = Duration::from_secs(1);
const LONGEST_REST: Duration = Duration::from_secs(30);

/// The nodes that are asked.
pub(super) struct Peers {
    peers: Vec<Arc<Peer>>,
    asker: Asker,
    clock: Arc<dyn Clock>,
    salt: Arc<str>,
}

struct Peer {
    /// Host and port of its admin listener; also its name.
    authority: String,
    rest: Mutex<Rest>,
}

/// Whether a node that failed is asked.
#[derive(Debug, Default)]
struct Rest {
    until: Mono,
    pause: Duration,
}

impl Rest {
    fn over(&self, now: Mono) -> bool {
        now >= self.until
    }

    /// True: it answered before.
    fn failed(&mut self, now: Mono) -> bool {
        let first = self.pause.is_zero();
        self.pause = (self.pause * 2).clamp(REST, LONGEST_REST);
        self.until = now + self.pause;
        first
    }

    fn answered(&mut self) {
        *self = Self::default();
    }
}

impl Peers {
    pub(super) fn new(authorities: &[String], clock: Arc<dyn Clock>, salt: Arc<str>) -> Self {
        let peer = |authority: &String| {
            Arc::new(Peer { authority: authority.clone(), rest: Mutex::default() })
        };
        let peers = authorities.iter().map(peer).collect();
        Self { peers, asker: Asker::new(), clock, salt }
    }

    pub(super) fn names(&self) -> impl Iterator<Item = String> + '_ {
        self.peers.iter().map(|peer| peer.authority.clone())
    }

    /// Asks all of them at once, and gives up after [`PATIENCE`].
    pub(super) async fn ask(&self, named: &Named) -> Vec<PeerLook> {
        let mut looks = vec![PeerLook::Resting; self.peers.len()];
        let now = self.clock.mono();
        let mut asking = JoinSet::new();
        for (index, peer) in self.peers.iter().enumerate() {
            if !peer.rest.lock().over(now) {
                continue;
            }
            let path = format!(
                "/api/v1/inspect?contract={}&id={}&salt={}",
                fetch::encoded(&named.contract),
                fetch::encoded(&named.id),
                fetch::encoded(&self.salt)
            );
            let (peer, asker) = (Arc::clone(peer), self.asker.clone());
            let clock = Arc::clone(&self.clock);
            asking.spawn(async move { (index, peer.ask(&asker, &path, clock.as_ref()).await) });
        }
        while let Some(asked) = asking.join_next().await {
            if let Ok((index, look)) = asked {
                looks[index] = look;
            }
        }
        looks
    }
}

impl Peer {
    async fn ask(&self, asker: &Asker, path: &str, clock: &dyn Clock) -> PeerLook {
        let fetching = asker.get(&self.authority, path, ANSWER_MAX);
        let (look, problem) = match tokio::time::timeout(PATIENCE, fetching).await {
            Err(_) => (PeerLook::Unreachable, format!("no answer within {PATIENCE:?}")),
            Ok(Err(err)) => (PeerLook::Unreachable, format!("{err:#}")),
            Ok(Ok(body)) => match serde_json::from_slice::<Told>(&body) {
                Ok(told) => {
                    self.rest.lock().answered();
                    return PeerLook::Said(told);
                }
                Err(err) => (PeerLook::Rubbish, err.to_string()),
            },
        };
        if self.rest.lock().failed(clock.mono()) {
            tracing::warn!(node = %self.authority, error = problem, "a node can't be audited");
        }
        look
    }
}

/// What this node tells the others.
pub(in crate::node) struct Insight {
    pub(in crate::node) data: DataFace,
    pub(in crate::node) engine: Engine,
}

#[async_trait]
impl Inspect for Insight {
    async fn inspect(&self, asked: &Asked) -> Result<serde_json::Value, Senseless> {
        let seen = self.data.inspect(&asked.contract, &asked.id).await;
        let Inspected { key, holdings, unread } = seen.map_err(|err| Senseless(err.to_string()))?;
        let unread = unread.map(|(tier, err)| {
            tracing::debug!(%key, error = %err, "a tier could not be inspected");
            tier
        });
        let told = Told {
            key: key.to_string(),
            epoch: self.engine.standing().epoch,
            tiers: holdings.iter().map(|holding| Held::of(holding, &asked.salt)).collect(),
            unread: unread.into_iter().collect(),
        };
        serde_json::to_value(told).map_err(|err| Senseless(err.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_fails_is_left_alone_for_longer_each_time() {
        let mut rest = Rest::default();
        let now = Mono(1_000_000_000);
        assert!(rest.over(now));
        assert!(rest.failed(now), "it is told once");
        assert!(!rest.over(now) && rest.over(now + REST));
        for _ in 0..10 {
            assert!(!rest.failed(now));
        }
        assert!(!rest.over(now + REST) && rest.over(now + LONGEST_REST));
        rest.answered();
        assert!(rest.over(now));
    }
}
