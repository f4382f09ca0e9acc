//! Loads through a gate: timeout and retries.

use std::sync::Arc;
use std::time::Duration;

use coherence::Mono;
use contract::{Class, Key};
use tokio::sync::SetOnce;

use super::origin_gate::{OriginGate, Permit, Rejected, RequestOutcome};
use super::request::{AdmissionRequest, Lane};
use crate::engine::error::ReadError;
use crate::origin::{
    EarlyAnswer, LoadItem, Loaded, LoadedMany, Origin, OriginError, OriginErrorKind, PublishEarly,
};

/// The pause before a retry: between this and five times this.
const RETRY_PAUSE: Duration = Duration::from_millis(10);

/// The arguments of a load of one key.
#[derive(Clone, Copy)]
pub(crate) struct GatedLoad<'a> {
    pub(crate) origin: &'a dyn Origin,
    pub(crate) key: &'a Key,
    pub(crate) id: &'a str,
    pub(crate) class: Class,
    pub(crate) lane: Lane,
    /// Set once a reader of another party waits for the load.
    pub(crate) joined: Option<&'a SetOnce<()>>,
    /// The timeout, if it is not the gate's.
    pub(crate) timeout: Option<Duration>,
    /// No reader waits for it: it is made if there is room, and not retried.
    pub(crate) background: bool,
    /// Publishes a value whose body is still to come.
    pub(crate) early: Option<&'a PublishEarly<'a>>,
}

impl OriginGate {
    /// Loads one key, if admitted. Returns the value with the time at which the load began: every snapshot
    /// that it read is later.
    pub(crate) async fn load(
        self: &Arc<Self>,
        load: GatedLoad<'_>,
    ) -> Result<(Loaded, Mono), ReadError> {
        let GatedLoad { origin, key, id, class, lane, joined, timeout, background, early } = load;
        let request = AdmissionRequest { class, lane, party: origin.party() };
        let timeout = timeout.unwrap_or(self.load_timeout());
        let admitted =
            if background { self.try_admit() } else { self.admit_joinable(request, joined).await };
        self.load_admitted(admitted?, timeout, background, |began| async move {
            let early = EarlyAnswer { began, publish: early };
            origin.load_early(key, id, &early).await
        })
        .await
    }

    /// Loads several keys, at least one, as one load. `background`: see [`GatedLoad`].
    pub(crate) async fn load_many(
        self: &Arc<Self>,
        items: &[LoadItem<'_>],
        class: Class,
        background: bool,
    ) -> Result<(LoadedMany, Mono), ReadError> {
        let request = AdmissionRequest { class, lane: Lane::Load, party: None };
        let admitted = if background { self.try_admit() } else { self.admit(request).await };
        self.load_admitted(admitted?, self.load_timeout(), background, |_| async move {
            let loaded = items[0].origin.load_many(items).await?;
            if loaded.items.len() == items.len() {
                return Ok(loaded);
            }
            let message = format!("{} results for {} keys", loaded.items.len(), items.len());
            Err(OriginError { kind: OriginErrorKind::Broken, message })
        })
        .await
    }

    /// Makes a request that no reader waits for, if there is room. It is no load, so its outcome is no signal
    /// for the limit; but it counts as the probe of a half-open circuit breaker.
    pub(crate) async fn background<T, F: Future<Output = Result<T, OriginError>>>(
        self: &Arc<Self>,
        request: impl Fn() -> F,
    ) -> Result<T, ReadError> {
        let mut permit = self.try_admit()?;
        let outcome = tokio::time::timeout(self.load_timeout(), request()).await;
        let outcome = outcome.unwrap_or_else(|_| Err(self.timeout_error(self.load_timeout())));
        permit.record_probe(outcome.is_ok());
        Ok(outcome?)
    }

    /// Admits a load. Once a reader of another party waits for it, no limit of one party applies: a party at
    /// its limit must not hold up the others.
    async fn admit_joinable(
        self: &Arc<Self>,
        request: AdmissionRequest,
        joined: Option<&SetOnce<()>>,
    ) -> Result<Permit, Rejected> {
        let Some(joined) = joined else { return self.admit(request).await };
        tokio::select! {
            biased;
            _ = joined.wait() => {}
            admitted = self.admit(request) => return admitted,
        }
        self.admit(AdmissionRequest { party: None, ..request }).await
    }

    async fn load_admitted<T, F: Future<Output = Result<T, OriginError>>>(
        self: &Arc<Self>,
        mut permit: Permit,
        timeout: Duration,
        background: bool,
        load: impl Fn(Mono) -> F,
    ) -> Result<(T, Mono), ReadError> {
        let mut may_retry = !background;
        loop {
            let began = self.now();
            let outcome = match tokio::time::timeout(timeout, load(began)).await {
                Ok(outcome) => outcome,
                Err(_) => Err(self.timeout_error(timeout)),
            };
            permit.record(outcome_of(&outcome), self.now().since(began));
            match outcome {
                Ok(loaded) => return Ok((loaded, began)),
                Err(err) if may_retry && self.retries(&err) => {
                    may_retry = false;
                    tracing::debug!(origin = %self.name(), error = %err, "load failed; retrying");
                    tokio::time::sleep(RETRY_PAUSE.mul_f64(1.0 + 4.0 * self.random())).await;
                }
                Err(err) => return Err(err.into()),
            }
        }
    }

    fn timeout_error(&self, timeout: Duration) -> OriginError {
        let message = format!("{} did not answer within {timeout:?}", self.name());
        OriginError { kind: OriginErrorKind::Timeout, message }
    }

    /// Whether a load with this error is tried once more.
    fn retries(&self, err: &OriginError) -> bool {
        // A load that timed out would time out again.
        err.kind == OriginErrorKind::Unavailable && self.spend_retry()
    }
}

fn outcome_of<T>(outcome: &Result<T, OriginError>) -> RequestOutcome {
    match outcome.as_ref().err().map(|err| err.kind) {
        None => RequestOutcome::Succeeded,
        // The origin was reached and did answer.
        Some(
            OriginErrorKind::BadRequest | OriginErrorKind::Broken | OriginErrorKind::ServerError(_),
        ) => RequestOutcome::Answered,
        Some(OriginErrorKind::Unavailable) => RequestOutcome::Failed,
        Some(OriginErrorKind::Timeout) => RequestOutcome::Silent,
        Some(OriginErrorKind::Refused) => RequestOutcome::Refused,
    }
}
