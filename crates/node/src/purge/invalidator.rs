//! Writes purge requests to the log and waits until they are applied.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cache::{Chance, Engine, Survey};
use coherence::{CausalToken, Clock, Epoch, Lsn, Subject};
use contract::Contracts;
use feed::{FeedError, LogMessage, Source};

use super::request::{
    DryRun, InvalidationError, InvalidationReceipt, InvalidationRequest, TierMatches,
};
use super::survey_line::SurveyLine;

/// The time limit for writing a request to the log, and for its application.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// The interval at which the applied position is read.
const POLL_INTERVAL: Duration = Duration::from_millis(1);

/// The prefix of the keys of the gateway's pages ([`contract::Key::of_page`]).
const PAGE_PREFIX: &str = "v1:edge:page";

/// Applies purge requests through the database's log.
pub struct LogInvalidator {
    engine: Engine,
    source: Arc<dyn Source>,
    clock: Arc<dyn Clock>,
    chance: Arc<dyn Chance>,
    contracts: Arc<Contracts>,
    dry_runs: SurveyLine,
}

impl LogInvalidator {
    /// Creates an invalidator that writes to the log of `source`, which `engine` follows. `chance` draws the
    /// ids of requests.
    #[must_use]
    pub fn new(
        engine: Engine,
        source: Arc<dyn Source>,
        clock: Arc<dyn Clock>,
        chance: Arc<dyn Chance>,
        contracts: Arc<Contracts>,
    ) -> Self {
        Self { engine, source, clock, chance, contracts, dry_runs: SurveyLine::new() }
    }

    /// Writes a request to the log and waits until the shared tier and this node's own tier have applied it.
    ///
    /// # Errors
    /// [`InvalidationError::NotLogged`] or [`InvalidationError::NotApplied`]; each step has five seconds.
    pub async fn invalidate(
        &self,
        request: InvalidationRequest,
    ) -> Result<InvalidationReceipt, InvalidationError> {
        let started = self.clock.mono();
        let id = format!("{:016x}", self.chance.draw());
        let (cause, count) = (request.cause(), request.subjects().len());
        // Keys and tags are evicted at once, so that no reader waits for the log; the log then gives the
        // proof. Patterns would need a scan of every entry, which takes longer than the log does.
        let (patterns, exact) = request.subjects().iter().cloned().partition(Subject::is_pattern);
        let evicted = self.evict(&id, exact).await;
        let message = LogMessage { id: id.clone(), cause, subjects: request.into_subjects() };
        let written = match tokio::time::timeout(REQUEST_TIMEOUT, self.emit(message)).await {
            Ok(Ok(position)) => Ok(position),
            Ok(Err(err)) => Err(err.to_string()),
            Err(_) => Err(format!("no answer within {REQUEST_TIMEOUT:?}")),
        };
        let position = match written {
            Ok(position) => position,
            Err(cause) => {
                let dropped = self.evict(&id, patterns).await && evicted;
                return Err(InvalidationError::NotLogged { cause, dropped });
            }
        };
        self.wait_applied(position).await?;
        let elapsed = self.clock.mono().since(started);
        let log = self.engine.status().epoch.map(Epoch::log);
        let token = CausalToken::new(log, position);
        Ok(InvalidationReceipt { id, position, token, subjects: count, elapsed })
    }

    /// Writes a request to the log, in as many messages as it needs. Returns the last one's position, up to
    /// which all are applied.
    async fn emit(&self, message: LogMessage) -> Result<Lsn, FeedError> {
        let mut position = Lsn::default();
        for part in message.split() {
            position = position.max(self.source.emit(&part).await?);
        }
        Ok(position)
    }

    /// Counts the entries that a request would remove, and removes nothing. One dry run of a node after the other: each
    /// reads the whole shared tier.
    ///
    /// # Errors
    /// [`InvalidationError::Busy`] or [`InvalidationError::NotScanned`].
    pub async fn dry_run(&self, request: InvalidationRequest) -> Result<DryRun, InvalidationError> {
        let _turn = self.dry_runs.turn().await.ok_or(InvalidationError::Busy)?;
        let counted = self.engine.survey(request.subjects()).await;
        let (local, shared) =
            counted.map_err(|err| InvalidationError::NotScanned { cause: err.to_string() })?;
        Ok(DryRun {
            subjects: request.into_subjects(),
            shared: self.matches(shared),
            local: self.matches(local),
        })
    }

    /// Evicts `subjects` from the shared tier; returns whether that succeeded.
    async fn evict(&self, request: &str, subjects: Vec<Subject>) -> bool {
        if subjects.is_empty() {
            return true;
        }
        let evicted = self.engine.shared().evict(&subjects).await;
        if let Err(err) = &evicted {
            tracing::warn!(order = request, error = %err, "the shared tier could not evict yet");
        }
        evicted.is_ok()
    }

    /// Names the counts of a survey by contract.
    fn matches(&self, survey: Survey) -> TierMatches {
        let mut matches = TierMatches {
            entries: survey.total(),
            complete: !survey.cut,
            contracts: BTreeMap::new(),
            examples: survey.examples.iter().cloned().collect(),
        };
        for (prefix, entries) in survey.entries {
            let owners = self.contracts.iter().filter(|contract| contract.key.prefix() == prefix);
            let name = match owners.map(|contract| contract.name.as_str()).collect::<Vec<_>>() {
                _ if prefix == PAGE_PREFIX => "pages".to_owned(),
                names if names.is_empty() => prefix,
                names => names.join(" or "),
            };
            *matches.contracts.entry(name).or_default() += entries;
        }
        matches
    }

    /// Waits for this node's own tier, and for the shared tier, which on the leader may be later.
    async fn wait_applied(&self, position: Lsn) -> Result<(), InvalidationError> {
        let applied = async {
            while self.engine.status().applied < position {
                tokio::time::sleep(POLL_INTERVAL).await;
            }
            let shared = async || self.engine.shared().position().await.ok().flatten();
            while shared().await.is_none_or(|shared| shared.applied < position) {
                tokio::time::sleep(POLL_INTERVAL).await;
            }
        };
        tokio::time::timeout(REQUEST_TIMEOUT, applied).await.map_err(|_| {
            let waited_ms = u64::try_from(REQUEST_TIMEOUT.as_millis()).unwrap_or(u64::MAX);
            InvalidationError::NotApplied { position, waited_ms }
        })
    }
}
