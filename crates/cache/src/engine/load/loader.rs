//! One load: heartbeat of its lease, standby or primary, fills.

use std::sync::Arc;

use coherence::{LeaseToken, Mono};
use contract::Key;
use futures_util::future::join_all;
use tokio::sync::SetOnce;

use super::origins::Origins;
use super::outcome::LoadOutcome;
use super::request::{LoadContext, LoadRequest};
use crate::engine::admission::{GatedLoad, Lane, OriginGate};
use crate::engine::error::ReadError;
use crate::engine::observer::EngineEvent;
use crate::engine::tiers::TierStack;
use crate::entry::Content;
use crate::origin::{Loaded, PublishEarly};

/// Loads from the origins into the tiers.
pub(crate) struct Loader {
    pub(crate) tiers: TierStack,
    pub(crate) origins: Origins,
}

impl Loader {
    /// Loads one key and fills the tiers. `early`: set where the value is known before its body is complete.
    pub(crate) async fn load(
        &self,
        request: &LoadRequest,
        context: LoadContext,
        early: Option<&SetOnce<LoadOutcome>>,
    ) -> Result<LoadOutcome, ReadError> {
        let publish = early.map(|early| {
            move |loaded, body, began| {
                let tiers = &self.tiers;
                if let Some(outcome) = tiers.early_outcome(request, loaded, body, began, context) {
                    let _ = early.set(outcome);
                }
            }
        });
        let publish = publish.as_ref().map(|publish| publish as &PublishEarly<'_>);
        self.load_in_lane(request, context, Lane::Load, publish).await
    }

    async fn load_in_lane(
        &self,
        request: &LoadRequest,
        context: LoadContext,
        lane: Lane,
        early: Option<&PublishEarly<'_>>,
    ) -> Result<LoadOutcome, ReadError> {
        let (tiers, rules) = (&self.tiers, request.rules());
        let gate = self.start(request);
        let gated = GatedLoad {
            origin: &*request.origin,
            key: &request.key,
            id: &request.id,
            class: rules.priority,
            lane,
            joined: request.joined.as_deref(),
            timeout: rules.load_timeout,
            background: request.refresh,
            early,
        };
        let asked = tiers.now();
        let lease = context.lease.map(|lease| (&request.key, lease));
        let load = async {
            self.wait_out_lag(std::iter::once(request)).await;
            match self.origins.ask_standby(tiers, request, context).await {
                Some(loaded) => Ok(loaded),
                None => self.load_at_gate(&gate, request, gated).await,
            }
        };
        let outcome = self.with_heartbeat(lease.as_slice(), load).await;
        let took = tiers.now().since(asked).as_secs_f64();
        match outcome {
            Ok((loaded, began)) => {
                tiers.metrics.load(rules, content_kind(&loaded.content), took);
                tiers.accept_load(request, loaded, began, context).await
            }
            Err(err) => {
                tiers.metrics.load(rules, err.as_str(), took);
                tiers.release_lease(request, context).await;
                Err(err)
            }
        }
    }

    /// Loads from the primary; once more if the value changes by the clock just then.
    async fn load_at_gate(
        &self,
        gate: &Arc<OriginGate>,
        request: &LoadRequest,
        gated: GatedLoad<'_>,
    ) -> Result<(Loaded, Mono), ReadError> {
        let (loaded, began) = gate.load(gated).await?;
        let Some(pause) = self.tiers.pause_until_turned(request.rules(), &loaded, began) else {
            return Ok((loaded, began));
        };
        tokio::time::sleep(pause).await;
        match gate.load(gated).await {
            // The value from before the change is a right answer to this read.
            Err(_) => Ok((loaded, began)),
            repeated => repeated,
        }
    }

    /// Loads for one reader with its own origin: nothing is shared with other readers.
    pub(crate) async fn load_unshared(
        &self,
        request: &LoadRequest,
    ) -> Result<LoadOutcome, ReadError> {
        self.load_in_lane(request, self.unshared_context(request), Lane::Pass, None).await
    }

    pub(crate) fn unshared_context(&self, request: &LoadRequest) -> LoadContext {
        let is_cached = !request.rules().tiers.is_none();
        let position = if is_cached { self.tiers.load_position() } else { None };
        LoadContext { position, lease: None, shared: is_cached }
    }

    /// Reports the start of a load, and returns the gate of its origin.
    pub(crate) fn start(&self, request: &LoadRequest) -> Arc<OriginGate> {
        let gate = self.origins.primaries.gate(&*request.origin);
        request.policy.state.pressure.get_or_init(|| Arc::clone(gate.pressure()));
        self.tiers.report(|| EngineEvent::Load(request.target()));
        gate
    }

    /// Waits until the lag of the origin has passed since the read began, so that the origin shows the writes
    /// of the readers' tokens.
    pub(crate) async fn wait_out_lag(&self, requests: impl Iterator<Item = &LoadRequest>) {
        let visible = requests.filter_map(|request| {
            let deadline = request.deadline?;
            Some(deadline.asked + request.rules().lag)
        });
        let left = visible.max().map(|visible| visible.since(self.tiers.now()));
        if let Some(left) = left.filter(|left| !left.is_zero()) {
            tokio::time::sleep(left).await;
        }
    }

    /// Renews the leases while the load is in progress. The lease of a dead node expires; a load that has
    /// lost its lease finishes for its own readers.
    pub(crate) async fn with_heartbeat<T>(
        &self,
        leases: &[(&Key, LeaseToken)],
        load: impl Future<Output = T>,
    ) -> T {
        if leases.is_empty() {
            return load.await;
        }
        let shared = &self.tiers.shared;
        let ttl = self.tiers.options.lease_ttl;
        let heartbeat = join_all(leases.iter().map(|(key, lease)| async move {
            loop {
                tokio::time::sleep(ttl / 3).await;
                let renewed = shared.call(shared.tier.renew(key, *lease, ttl)).await;
                if renewed == Some(false) {
                    self.tiers.metrics.leases_lost.inc();
                    return;
                }
            }
        }));
        tokio::pin!(load);
        tokio::select! {
            biased;
            done = &mut load => done,
            _ = heartbeat => load.await,
        }
    }
}

/// The name of a loaded content in metrics.
pub(crate) fn content_kind(content: &Content) -> &'static str {
    match content {
        Content::Present(_) => "present",
        Content::Absent => "absent",
        Content::Uncacheable => "uncacheable",
    }
}
