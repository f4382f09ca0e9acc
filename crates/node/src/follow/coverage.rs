//! New contracts of a leader: entries that earlier changes may have missed are invalidated, through the log, before
//! the tiers prove any entry of them.

use std::sync::Arc;
use std::time::Duration;

use cache::leader::Leader;
use coherence::{Cause, Lsn, Subject};
use contract::{Contract, Contracts, Pattern};
use feed::{LogMessage, Source};

/// The time limit for writing the invalidation to the log.
const EMIT_TIMEOUT: Duration = Duration::from_secs(1);

/// The keys of pages, whose tags any contract may raise.
const PAGES: &str = "v1:edge:page:*";

/// With more patterns than this, everything is invalidated: a tier keeps few of them.
const MAX_PATTERNS: usize = 16;

/// Brings the mappings of this node's contracts into the tier that it leads.
pub(super) struct CoverageGain {
    source: Arc<dyn Source>,
    contracts: Arc<Contracts>,
    /// The takeover of the tier whose invalidation was written to the log, and its position.
    written: Option<(u64, Lsn)>,
}

impl CoverageGain {
    pub(super) fn new(source: Arc<dyn Source>, contracts: Arc<Contracts>) -> Self {
        Self { source, contracts, written: None }
    }

    /// Takes the next step, if any is due. A step that fails is tried again at the next call.
    pub(super) async fn advance(&mut self, leader: &mut Leader) {
        let Some((takeover, missing)) = leader.unstated() else { return };
        let written = self.written.filter(|(of, _)| *of == takeover).map(|(_, at)| at);
        let Some(at) = (match written {
            Some(at) => Some(at),
            None => self.write(&missing).await,
        }) else {
            return;
        };
        self.written = Some((takeover, at));
        match leader.state_all(at).await {
            Ok(true) => tracing::info!(position = %at, "all contracts of this node are applied"),
            Ok(false) => {}
            Err(err) => tracing::debug!(error = %err, "the leader's contracts could not be stated"),
        }
    }

    /// Writes the invalidation to the log. Returns its position.
    async fn write(&self, missing: &[u64]) -> Option<Lsn> {
        let subjects = self.dependent_on(missing);
        let message = LogMessage { id: "contracts".into(), cause: Cause::Application, subjects };
        let written = tokio::time::timeout(EMIT_TIMEOUT, self.source.emit(&message)).await;
        match written {
            Ok(Ok(at)) => {
                tracing::info!(
                    position = %at,
                    "this node brings new contracts; their earlier entries are invalidated"
                );
                Some(at)
            }
            Ok(Err(err)) => {
                tracing::warn!(error = %err, "new contracts wait for an invalidation in the log");
                None
            }
            Err(_) => {
                tracing::warn!("the database took no invalidation for new contracts in time");
                None
            }
        }
    }

    /// Returns every entry that depends on one of the mappings.
    fn dependent_on(&self, mappings: &[u64]) -> Vec<Subject> {
        let depends = |contract: &&Contract| {
            let needed = self.contracts.mappings_of_entries(contract);
            mappings.iter().any(|mapping| needed.contains(mapping))
        };
        let patterns = self.contracts.iter().filter(depends).map(|contract| contract.key.pattern());
        let raised = self.contracts.mappings_of_pages();
        let shows = mappings.iter().any(|mapping| raised.contains(mapping));
        let pages = shows.then(|| Pattern::of_keys(PAGES));
        match patterns.chain(pages).collect::<Result<Vec<_>, _>>() {
            Ok(patterns) if patterns.len() <= MAX_PATTERNS => {
                patterns.into_iter().map(Subject::KeysLike).collect()
            }
            // A template whose pattern would match nearly everything.
            _ => vec![Subject::Everything],
        }
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use feed::{FeedError, Identity, LogEnd};

    use super::*;

    struct NoSource;

    #[async_trait]
    impl Source for NoSource {
        async fn log_end(&self) -> Result<LogEnd, FeedError> {
            unreachable!("nothing is asked")
        }

        async fn emit(&self, _: &LogMessage) -> Result<Lsn, FeedError> {
            unreachable!("nothing is written")
        }

        async fn nudge(&self) -> Result<(), FeedError> {
            unreachable!("nothing is written")
        }

        async fn identity(&self) -> Result<Identity, FeedError> {
            unreachable!("nothing is asked")
        }
    }

    #[test]
    fn dependent_entries_and_pages_invalidated() {
        let shop = r#"
            [price]
            key = "v1:shop:price:{id}"
            from = { source = "shop", table = "products" }
            tags = ["product-{id}"]
            staleness = "5s"
            [stock]
            key = "v1:shop:stock:{id}"
            from = { source = "shop", table = "stock" }
            tags = ["product-{id}"]
            staleness = "5s"
            [text]
            key = "v1:shop:text:{id}"
            from = { source = "shop", table = "texts" }
            staleness = "5s"
        "#;
        let contracts = Contracts::from_toml(&shop.parse().expect("TOML")).expect("valid");
        let gain = CoverageGain::new(Arc::new(NoSource), Arc::new(contracts));
        let of = |name: &str| {
            let contract = gain.contracts.get(name).expect("there");
            let mapping = contract.mapping_fingerprint().expect("it has a table");
            let subjects = gain.dependent_on(&[mapping]);
            subjects.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(of("text"), ["k*:v1:shop:text:*"]);
        let all = ["k*:v1:shop:price:*", "k*:v1:shop:stock:*", "k*:v1:edge:page:*"];
        assert_eq!(of("stock"), all);
    }
}
