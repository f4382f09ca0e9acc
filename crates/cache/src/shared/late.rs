//! A shared tier that could not be reached at the start, and joins when it answers.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use coherence::fence::Gap;
use coherence::{AppliedSchema, Batch, Epoch, LeaseToken, Lsn, Subject, Verdict};
use contract::Key;
use tokio::sync::{mpsc, watch};

use super::error::TierError;
use super::tier::{
    Fill, LeadRequest, Leadership, Led, NodeMessage, NodeRecord, SharedRead, SharedTier,
    TierPosition, Touch,
};
use crate::survey::Survey;

/// Messages that wait for a subscriber.
const BACKLOG: usize = 256;

/// The state of the connection.
#[derive(Clone)]
enum State {
    /// Not reached since the start, for this reason.
    Away(Arc<str>),
    Joined(Arc<dyn SharedTier>),
}

/// A tier that is away until it [joins](LateJoin::join). Until then every call fails as with any tier that can't be
/// reached: nothing is read from it or stored in it.
pub struct LateTier {
    state: watch::Receiver<State>,
    is_divided: bool,
}

/// The side of a [`LateTier`] that connects.
pub struct LateJoin(watch::Sender<State>);

impl LateTier {
    /// Returns a tier that is away, for the reason `why`. `is_divided`: as [`SharedTier::is_divided`].
    #[must_use]
    pub fn away(why: &TierError, is_divided: bool) -> (Self, LateJoin) {
        let (sender, state) = watch::channel(State::Away(why.to_string().into()));
        (Self { state, is_divided }, LateJoin(sender))
    }

    fn tier(&self) -> Result<Arc<dyn SharedTier>, TierError> {
        match &*self.state.borrow() {
            State::Joined(tier) => Ok(Arc::clone(tier)),
            State::Away(why) => {
                Err(TierError::Unavailable(format!("it was away when this node started: {why}")))
            }
        }
    }
}

impl LateJoin {
    /// Reports why the tier is still away.
    pub fn still_away(&self, why: &TierError) {
        self.0.send_replace(State::Away(why.to_string().into()));
    }

    /// Has all calls go to the tier from now on.
    pub fn join(self, tier: Arc<dyn SharedTier>) {
        self.0.send_replace(State::Joined(tier));
    }

    /// Waits until nothing uses the tier any more.
    pub async fn unused(&self) {
        self.0.closed().await;
    }
}

/// Passes on the messages of the tier once it has joined.
async fn subscribe_late(mut state: watch::Receiver<State>, messages: mpsc::Sender<NodeMessage>) {
    let tier = {
        let joined = state.wait_for(|state| matches!(state, State::Joined(_))).await;
        match joined.as_deref() {
            Ok(State::Joined(tier)) => Arc::clone(tier),
            // The connecting side is gone: the process ends.
            _ => return,
        }
    };
    let mut stream = tier.subscribe();
    while let Some(message) = stream.recv().await {
        if messages.send(message).await.is_err() {
            return;
        }
    }
}

#[async_trait]
impl SharedTier for LateTier {
    async fn read(&self, key: &Key, lease: Option<Duration>) -> Result<SharedRead, TierError> {
        self.tier()?.read(key, lease).await
    }

    async fn read_many(
        &self,
        keys: &[Key],
        lease: Option<Duration>,
    ) -> Result<Vec<SharedRead>, TierError> {
        self.tier()?.read_many(keys, lease).await
    }

    async fn read_and_touch(
        &self,
        keys: &[Key],
        touches: &[Option<Touch>],
        lease: Option<Duration>,
    ) -> Result<Vec<SharedRead>, TierError> {
        self.tier()?.read_and_touch(keys, touches, lease).await
    }

    async fn touch(&self, uses: &[(Key, Touch)]) -> Result<(), TierError> {
        self.tier()?.touch(uses).await
    }

    async fn inspect(&self, key: &Key) -> Result<SharedRead, TierError> {
        self.tier()?.inspect(key).await
    }

    async fn fill(&self, fill: &Fill) -> Result<Verdict, TierError> {
        self.tier()?.fill(fill).await
    }

    async fn renew(&self, key: &Key, lease: LeaseToken, ttl: Duration) -> Result<bool, TierError> {
        self.tier()?.renew(key, lease, ttl).await
    }

    async fn release(&self, key: &Key, lease: LeaseToken) -> Result<(), TierError> {
        self.tier()?.release(key, lease).await
    }

    async fn apply(&self, batch: &Batch) -> Result<Result<(), Gap>, TierError> {
        self.tier()?.apply(batch).await
    }

    async fn evict(&self, subjects: &[Subject]) -> Result<(), TierError> {
        self.tier()?.evict(subjects).await
    }

    async fn survey(&self, subjects: &[Subject]) -> Result<Survey, TierError> {
        self.tier()?.survey(subjects).await
    }

    async fn reset_epoch(&self, epoch: Epoch, at: Lsn, watermark: Lsn) -> Result<(), TierError> {
        self.tier()?.reset_epoch(epoch, at, watermark).await
    }

    async fn repair(&self, epoch: Epoch, at: Lsn) -> Result<bool, TierError> {
        self.tier()?.repair(epoch, at).await
    }

    async fn lead(&self, request: &LeadRequest) -> Result<Led, TierError> {
        self.tier()?.lead(request).await
    }

    async fn leadership(&self) -> Result<Leadership, TierError> {
        self.tier()?.leadership().await
    }

    fn is_divided(&self) -> bool {
        self.is_divided
    }

    async fn position(&self) -> Result<Option<TierPosition>, TierError> {
        self.tier()?.position().await
    }

    async fn applied_schema(&self) -> Result<Option<(Epoch, Option<AppliedSchema>)>, TierError> {
        self.tier()?.applied_schema().await
    }

    async fn record_schema(&self, epoch: Epoch, schema: &AppliedSchema) -> Result<bool, TierError> {
        self.tier()?.record_schema(epoch, schema).await
    }

    async fn collect(&self, upto: Lsn) -> Result<u64, TierError> {
        self.tier()?.collect(upto).await
    }

    async fn trim_tombstones(&self) -> Result<u64, TierError> {
        self.tier()?.trim_tombstones().await
    }

    async fn announce(
        &self,
        record: &NodeRecord,
        life: Duration,
    ) -> Result<Vec<NodeRecord>, TierError> {
        self.tier()?.announce(record, life).await
    }

    fn subscribe(&self) -> mpsc::Receiver<NodeMessage> {
        if let Ok(tier) = self.tier() {
            return tier.subscribe();
        }
        let (messages, receiver) = mpsc::channel(BACKLOG);
        let state = self.state.clone();
        tokio::spawn(async move {
            let subscriber = messages.clone();
            tokio::select! {
                () = subscriber.closed() => {}
                () = subscribe_late(state, messages) => {}
            }
        });
        receiver
    }
}
