//! Witnesses of values that other engines store ([`coherence::joint`]).

use std::time::Duration;

use bytes::Bytes;
use coherence::{CausalToken, Epoch, LoadId, Lsn, Reached, Verdict, Witness};
use contract::{Class, Key, Tag};

use super::handle::Engine;
use super::tiers::TierStack;
use crate::entry::{Content, Entry, Value};
use crate::local::{EntryPolicy, LocalEntry};
use crate::shared::{Fill, Outcome};

/// A witness that is offered to an engine's tiers.
#[derive(Clone, Debug)]
pub struct WitnessFill {
    /// The key of the value.
    pub key: Key,
    /// The number of its load.
    pub load: LoadId,
    /// The tags of the value.
    pub tags: Vec<Tag>,
    /// The [position](Engine::load_position) before the load began.
    pub position: (Epoch, Lsn),
    /// The mappings of this engine's source that may raise the tags.
    pub mappings: Vec<u64>,
    /// The TTL.
    pub ttl: Duration,
    /// The pool of in-process memory.
    pub pool: Class,
}

impl Engine {
    /// Returns the position that a load which begins now is offered with: the epoch, and W. `None`: nothing that is
    /// loaded now can be proven.
    #[must_use]
    pub fn load_position(&self) -> Option<(Epoch, Lsn)> {
        self.tiers().load_position()
    }

    /// Returns whether the in-process tier has applied the log up to the token.
    #[must_use]
    pub fn has_reached(&self, token: CausalToken) -> bool {
        self.tiers().local.reached(token) == Reached::Yes
    }

    /// Waits until the in-process tier has reached the token, for at most
    /// [`after_timeout`](super::EngineOptions::after_timeout). Returns whether it has.
    pub async fn wait_reached(&self, token: CausalToken) -> bool {
        let tiers = self.tiers();
        match tiers.token_deadline(Some(token)) {
            Some(deadline) if !self.has_reached(token) => tiers.wait_for_token(deadline).await,
            _ => true,
        }
    }

    /// Returns the witness that the in-process tier has under a key.
    #[must_use]
    pub fn witness(&self, key: &Key) -> Option<Witness> {
        let tiers = self.tiers();
        let (entry, proven) = tiers.local.get(key)?;
        let load = load_of(&entry.content()).filter(|_| tiers.now() < entry.expires())?;
        Some(Witness { load, proven })
    }

    /// Stores a witness by the fill rule, in the shared tier and in the in-process tier.
    pub async fn store_witness(&self, witness: &WitnessFill) {
        let tiers = self.tiers();
        let (epoch, tau) = witness.position;
        let entry = Entry {
            tau,
            content: Content::Present(Value {
                head: Bytes::new(),
                body: Bytes::copy_from_slice(&witness.load.0.to_be_bytes()),
            }),
            tags: witness.tags.clone().into(),
            loaded_wall_ms: tiers.clock.wall_ms(),
            changes_at: None,
            cost_us: 0,
            ttl: witness.ttl,
            seen: Lsn::MAX,
            definition: 0,
        };
        let fill = Fill { key: witness.key.clone(), entry: entry.clone(), epoch, lease: None };
        let stored = tiers.shared.call(tiers.shared.tier.fill(&fill)).await;
        if matches!(stored, None | Some(Verdict::Accept)) {
            tiers.fill_witness(witness, entry, epoch, witness.ttl);
        }
    }

    /// Looks for the witness of `wanted.load` in the in-process tier, then in the shared tier, and copies it from there.
    /// Returns whether it stands here now. The position and the TTL of `wanted` do not count.
    pub async fn find_witness(&self, wanted: &WitnessFill) -> bool {
        let is_here = || {
            let found = self.witness(&wanted.key);
            found.is_some_and(|found| found.load == wanted.load)
        };
        if is_here() {
            return true;
        }
        let tiers = self.tiers();
        let read = tiers.shared.call(tiers.shared.tier.read(&wanted.key, None)).await;
        let Some(read) = read else { return false };
        let (Some(at), Outcome::Found { entry, remaining }) = (read.position, read.outcome) else {
            return false;
        };
        let is_usable = load_of(&entry.content) == Some(wanted.load)
            && tiers.local.accepts(at, &wanted.mappings)
            && !tiers.local.outdates(&wanted.key, &entry.tags, at.epoch, at.applied);
        if is_usable {
            // An entry that has not been invalidated lacks no commit that its tier has applied.
            let entry = Entry { tau: at.applied, ..entry };
            tiers.fill_witness(wanted, entry, at.epoch, remaining);
        }
        is_here()
    }
}

impl TierStack {
    fn fill_witness(&self, witness: &WitnessFill, entry: Entry, epoch: Epoch, ttl: Duration) {
        let now = self.now();
        let policy = EntryPolicy { soft_allowed: false, age_bound: false, pool: witness.pool };
        let entry = Entry { ttl, ..entry };
        let entry = LocalEntry::new(&witness.key, &entry, now, now, false, policy);
        self.local.fill(&witness.key, entry, epoch, &witness.mappings);
    }
}

fn load_of(content: &Content) -> Option<LoadId> {
    let Content::Present(value) = content else { return None };
    let bytes: [u8; 8] = value.body.as_ref().try_into().ok()?;
    value.head.is_empty().then_some(LoadId(u64::from_be_bytes(bytes)))
}
