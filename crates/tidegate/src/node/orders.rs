//! Orders and tokens.
//!
//! Orders travel through the database's own log: so they have a position, pass the same fence as a
//! commit, and reach every node by the same path.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cache::{Engine, Survey};
use coherence::{After, Clock, Epoch, Lsn, Subject};
use contract::{Contracts, Pattern};
use control::{DryRun, NoToken, Order, OrderError, Orders, Reach, Receipt, Token, Tokens};
use feed::{LogMessage, Source};

/// How long an order is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often to look whether it has been applied.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// What the keys of the gateway's pages begin with ([`contract::Key::of_page`]).
const PAGES: &str = "v1:edge:page";

pub(crate) struct ThroughTheLog {
    pub(crate) engine: Engine,
    pub(crate) source: Arc<dyn Source>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) contracts: Arc<Contracts>,
}

#[async_trait]
impl Orders for ThroughTheLog {
    async fn carry_out(&self, order: Order) -> Result<Receipt, OrderError> {
        let begun = self.clock.mono();
        let id = format!("{:016x}", rand::random::<u64>());
        let subjects = order.subjects.len();
        // What is named goes at once, so that nobody waits for the log; then through the log, for the
        // proof. For what is only described every entry would have to be looked at, which takes
        // longer than the log does.
        let (described, named) = order.subjects.iter().cloned().partition(Subject::is_pattern);
        let evicted = self.evict(&id, named).await;
        let message = LogMessage { id: id.clone(), cause: order.cause, subjects: order.subjects };
        let written = tokio::time::timeout(PATIENCE, self.source.emit(&message)).await;
        let cause = match written {
            Ok(Ok(position)) => Ok(position),
            Ok(Err(err)) => Err(err.to_string()),
            Err(_) => Err(format!("no answer within {PATIENCE:?}")),
        };
        let position = match cause {
            Ok(position) => position,
            Err(cause) => {
                let dropped = self.evict(&id, described).await && evicted;
                return Err(OrderError::NoLog { cause, dropped });
            }
        };
        self.applied(position).await?;
        let took = self.clock.mono().since(begun);
        let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let log = self.engine.standing().epoch.map(Epoch::log);
        let token = After::new(log, position).to_string();
        Ok(Receipt { id, position: position.to_string(), token, subjects, took_ms })
    }

    async fn survey(&self, order: Order) -> Result<DryRun, OrderError> {
        let counted = self.engine.survey(&order.subjects).await;
        let (local, shared) =
            counted.map_err(|err| OrderError::Unseen { cause: err.to_string() })?;
        Ok(DryRun {
            subjects: order.subjects.iter().map(ToString::to_string).collect(),
            shared: self.reach(shared),
            local: self.reach(local),
        })
    }

    fn keys_of(&self, contract: &str) -> Result<Pattern, String> {
        match self.contracts.get(contract) {
            Some(contract) => contract.key.pattern().map_err(|err| err.to_string()),
            None => {
                let names: Vec<&str> = self.contracts.iter().map(|c| c.name.as_str()).collect();
                Err(format!("there is no such contract; there are: {}", names.join(", ")))
            }
        }
    }
}

#[async_trait]
impl Tokens for ThroughTheLog {
    async fn now(&self) -> Result<Token, NoToken> {
        let end = match tokio::time::timeout(PATIENCE, self.source.log_end()).await {
            Ok(end) => end.map_err(|err| NoToken(err.to_string()))?,
            Err(_) => return Err(NoToken(format!("no answer within {PATIENCE:?}"))),
        };
        let Some(epoch) = self.engine.standing().epoch else {
            return Err(NoToken("this node does not follow it yet".into()));
        };
        if (end.system, end.timeline) != (epoch.system, epoch.timeline) {
            return Err(NoToken(
                "the database has failed over, and this node has not followed yet".into(),
            ));
        }
        let token = After::new(Some(epoch.log()), end.lsn).to_string();
        Ok(Token { token, position: end.lsn.to_string() })
    }
}

impl ThroughTheLog {
    /// Whether they were dropped from the shared tier.
    async fn evict(&self, order: &str, subjects: Vec<Subject>) -> bool {
        if subjects.is_empty() {
            return true;
        }
        let evicted = self.engine.shared().evict(&subjects).await;
        if let Err(err) = &evicted {
            tracing::warn!(order, error = %err, "nothing was dropped from the shared tier yet");
        }
        evicted.is_ok()
    }

    /// With the names that contracts have for their owners.
    fn reach(&self, survey: Survey) -> Reach {
        let mut reach = Reach {
            entries: survey.total(),
            complete: !survey.cut,
            contracts: BTreeMap::new(),
            examples: survey.examples.iter().map(ToString::to_string).collect(),
        };
        for (prefix, entries) in survey.entries {
            let owners = self.contracts.iter().filter(|contract| contract.key.prefix() == prefix);
            let name = match owners.map(|contract| contract.name.as_str()).collect::<Vec<_>>() {
                _ if prefix == PAGES => "pages".to_owned(),
                names if names.is_empty() => prefix,
                names => names.join(" or "),
            };
            *reach.contracts.entry(name).or_default() += entries;
        }
        reach
    }

    /// Waits for this node's own tier, and for the shared one, which on the node that leads may be later.
    async fn applied(&self, position: Lsn) -> Result<(), OrderError> {
        let waiting = async {
            while self.engine.standing().applied < position {
                tokio::time::sleep(LOOK_EVERY).await;
            }
            let there = async || self.engine.shared().standing().await.ok().flatten();
            while there().await.is_none_or(|standing| standing.applied < position) {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.map_err(|_| OrderError::Late {
            position: position.to_string(),
            waited_ms: u64::try_from(PATIENCE.as_millis()).unwrap_or(u64::MAX),
        })
    }
}
