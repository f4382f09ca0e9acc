//! Orders and tokens.
//!
//! Orders travel through the database's own log: so they have a position, pass the same fence as a
//! commit, and reach every node by the same path.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cache::Engine;
use coherence::{After, Clock, Epoch, Lsn};
use control::{NoToken, Order, OrderError, Orders, Receipt, Token, Tokens};
use feed::{LogMessage, Source};

/// How long an order is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often to look whether it has been applied.
const LOOK_EVERY: Duration = Duration::from_millis(1);

pub(crate) struct ThroughTheLog {
    pub(crate) engine: Engine,
    pub(crate) source: Arc<dyn Source>,
    pub(crate) clock: Arc<dyn Clock>,
}

#[async_trait]
impl Orders for ThroughTheLog {
    async fn carry_out(&self, order: Order) -> Result<Receipt, OrderError> {
        let begun = self.clock.mono();
        let id = format!("{:016x}", rand::random::<u64>());
        let subjects = order.subjects.len();
        // At once, so that nobody waits for the log; then through the log, for the proof.
        let evicted = self.engine.shared().evict(&order.subjects).await;
        if let Err(err) = &evicted {
            tracing::warn!(order = %id, error = %err, "nothing was dropped from the shared tier yet");
        }
        let message = LogMessage { id: id.clone(), cause: order.cause, subjects: order.subjects };
        let written = tokio::time::timeout(PATIENCE, self.source.emit(&message)).await;
        let no_log = |cause: String| OrderError::NoLog { cause, dropped: evicted.is_ok() };
        let position = match written {
            Ok(Ok(position)) => position,
            Ok(Err(err)) => return Err(no_log(err.to_string())),
            Err(_) => return Err(no_log(format!("no answer within {PATIENCE:?}"))),
        };
        self.applied(position).await?;
        let took = self.clock.mono().since(begun);
        let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let log = self.engine.standing().epoch.map(Epoch::log);
        let token = After::new(log, position).to_string();
        Ok(Receipt { id, position: position.to_string(), token, subjects, took_ms })
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
    /// This node's own tier comes last, so once it has applied the order the shared tier has too.
    async fn applied(&self, position: Lsn) -> Result<(), OrderError> {
        let waiting = async {
            while self.engine.standing().applied < position {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.map_err(|_| OrderError::Late {
            position: position.to_string(),
            waited_ms: u64::try_from(PATIENCE.as_millis()).unwrap_or(u64::MAX),
        })
    }
}
