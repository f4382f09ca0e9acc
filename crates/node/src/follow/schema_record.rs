//! The leader's invalidations and record after a definition was altered.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use cache::leader::ApplyResult;
use cache::{Engine, TierError};
use coherence::{AppliedSchema, Cause, Epoch, Lsn, Mono, Subject};
use contract::Contracts;
use feed::{FeedError, LogMessage, Schema, Source};
use thiserror::Error;

use super::events::subjects_of;

/// The interval at which the record is compared again: a node that no longer leads may have written it.
const CHECK_INTERVAL: Duration = Duration::from_secs(5);

/// The shared tier's record of the schema that the leader applies the log under.
pub(super) struct SchemaRecord {
    engine: Engine,
    source: Arc<dyn Source>,
    contracts: Arc<Contracts>,
    /// The schema of the stream, under which the log is complete.
    schema: Option<Arc<Schema>>,
    /// When the record was last found right.
    checked: Option<Mono>,
}

impl SchemaRecord {
    pub(super) fn new(engine: Engine, source: Arc<dyn Source>, contracts: Arc<Contracts>) -> Self {
        Self { engine, source, contracts, schema: None, checked: None }
    }

    /// A stream has started under `schema`.
    pub(super) fn start(&mut self, schema: Option<Arc<Schema>>) {
        (self.schema, self.checked) = (schema, None);
    }

    /// A batch was applied: an epoch reset voids the record.
    pub(super) fn note(&mut self, result: ApplyResult) {
        if matches!(result, ApplyResult::Reset(_)) {
            self.checked = None;
        }
    }

    /// Invalidates the contracts that depend on altered definitions, and records the schema. Until that has
    /// succeeded no node adopts the schema, so a failure is tried again at the next call.
    pub(super) async fn keep(&mut self, epoch: Option<Epoch>, now: Mono) {
        let (Some(schema), Some(epoch)) = (&self.schema, epoch) else { return };
        if self.checked.is_some_and(|checked| now.since(checked) < CHECK_INTERVAL) {
            return;
        }
        match self.apply(schema, epoch).await {
            Ok(()) => self.checked = Some(now),
            Err(err) => tracing::debug!(error = %err, "the schema could not be recorded yet"),
        }
    }

    /// Invalidates through the log the contracts that depend on the difference between the recorded schema and `schema`, and
    /// records `schema`. Every step may be repeated.
    async fn apply(&self, schema: &Schema, epoch: Epoch) -> Result<(), RecordError> {
        let shared = self.engine.shared();
        let recorded = match shared.applied_schema().await {
            // A node of another version has recorded it: any definition may have been altered since.
            Err(TierError::Malformed(why)) => {
                tracing::warn!(%why, "the record of the applied schema can't be read");
                Some(AppliedSchema::default())
            }
            recorded => {
                let current = recorded?.filter(|(current, _)| *current == epoch);
                current.ok_or(RecordError::OtherEpoch)?.1
            }
        };
        let position = match &recorded {
            // Everything that the new epoch holds was loaded after the schema was read.
            None => Lsn::ZERO,
            Some(recorded) => {
                let changed: Vec<&str> = recorded.changed(schema.objects()).collect();
                match invalidation(schema, &changed, &self.contracts) {
                    None if recorded.objects == *schema.objects() => return Ok(()),
                    None => recorded.position,
                    Some(message) => self.source.emit(&message).await?,
                }
            }
        };
        let applied = AppliedSchema { position, objects: schema.objects().clone() };
        match shared.record_schema(epoch, &applied).await? {
            true => Ok(()),
            false => Err(RecordError::OtherEpoch),
        }
    }
}

/// Why a schema was not recorded.
#[derive(Debug, Error)]
enum RecordError {
    #[error(transparent)]
    Source(#[from] FeedError),
    #[error(transparent)]
    Tier(#[from] TierError),
    #[error("the shared tier is in another epoch")]
    OtherEpoch,
}

/// Returns the request that invalidates the contracts that depend on `changed` objects; `None` if nothing does.
fn invalidation(schema: &Schema, changed: &[&str], contracts: &Contracts) -> Option<LogMessage> {
    const ID: &str = "schema";
    let everything = || LogMessage::everything(ID);
    let message = match schema.dependents(changed.iter().copied()) {
        None => everything(),
        Some(names) => {
            let dependents = names.into_iter().filter_map(|name| contracts.get(name));
            let wholly = dependents.map(|contract| subjects_of(contract.affected_wholly()));
            let subjects: BTreeSet<Subject> = wholly.flatten().collect();
            let subjects = subjects.into_iter().collect();
            LogMessage { id: ID.to_owned(), cause: Cause::Application, subjects }
        }
    };
    if message.subjects.is_empty() {
        return None;
    }
    tracing::warn!(objects = ?changed, "a definition was altered; what depends on it is invalidated");
    Some(if message.to_json().is_ok() { message } else { everything() })
}
