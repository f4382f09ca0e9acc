//! Reports whether the shared tier follows the database and the contracts of this node.

use std::time::Duration;

use cache::Engine;
use coherence::{Log, Mono};

use crate::health::Health;

/// The time limit for reading the claim of the tier's leader.
const CLAIM_TIMEOUT: Duration = Duration::from_millis(200);

/// After a failover the leader follows the new log within this time. A node that is left on the old primary for
/// longer should get no traffic.
const SUPERSEDED_AFTER: Duration = Duration::from_secs(3);

const DATABASE: &str = "tier-database";
const CONTRACTS: &str = "tier-contracts";

/// Compares the tier with each sample of the log.
pub(crate) struct TierWatch {
    /// Whether a lower timeline is an older history.
    orders_timelines: bool,
    /// The time since which the tier follows a later timeline than the samples.
    superseded_since: Option<Mono>,
}

impl TierWatch {
    pub(crate) fn new(orders_timelines: bool) -> Self {
        Self { orders_timelines, superseded_since: None }
    }

    /// Reports the components after a sample of `log` at `now`.
    pub(crate) async fn report(&mut self, engine: &Engine, log: Log, now: Mono, health: &Health) {
        let Some(is_own) = engine.is_of_sampled_log() else { return };
        if !is_own {
            return self.report_other(engine, log, now, health).await;
        }
        self.superseded_since = None;
        health.optional(DATABASE, true, "the shared tier follows this node's database");
        if engine.is_covered() {
            health.optional(CONTRACTS, true, "the leader applies the contracts of this node");
        } else {
            let detail = "the leader has other contracts than this node: answers of those that it does not \
                          apply are not cached here until a node with these contracts leads";
            health.optional(CONTRACTS, false, detail);
        }
    }

    async fn report_other(&mut self, engine: &Engine, log: Log, now: Mono, health: &Health) {
        let epoch = engine.status().epoch;
        let is_superseded = self.orders_timelines
            && epoch
                .is_some_and(|epoch| epoch.system == log.system && epoch.timeline > log.timeline);
        if !is_superseded {
            self.superseded_since = None;
        }
        let followed = followed(engine).await;
        if is_superseded {
            let since = *self.superseded_since.get_or_insert(now);
            let detail = format!(
                "this node reads an old primary (timeline {}); the shared tier follows {followed}, which was \
                 promoted from it. Point this node to the new primary",
                log.timeline
            );
            match now.since(since) >= SUPERSEDED_AFTER {
                true => health.required(DATABASE, false, detail),
                false => health.optional(DATABASE, false, detail),
            }
        } else {
            let detail = format!(
                "the shared tier follows another database or server than this node: {followed}. Nothing is read \
                 from it or stored in it; every answer is loaded. Give each database a shared tier of its own \
                 (`shared.prefix`)"
            );
            health.optional(DATABASE, false, detail);
        }
    }
}

/// Returns the label of the database that the tier follows.
async fn followed(engine: &Engine) -> String {
    let leadership = tokio::time::timeout(CLAIM_TIMEOUT, engine.shared().leadership()).await;
    match leadership {
        Ok(Ok(leadership)) => match leadership.claim {
            Some(claim) => claim.label.to_string(),
            None => "one whose leader is gone".to_owned(),
        },
        Ok(Err(_)) | Err(_) => "one that could not be asked for".to_owned(),
    }
}
