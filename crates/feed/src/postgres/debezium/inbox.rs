//! Where posted bodies wait until they are applied.

use std::time::Duration;

use thiserror::Error;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::metrics::DebeziumMetrics;
use super::told::{self, Told};

/// Bodies that wait. Debezium posts one at a time.
const WAITING: usize = 16;

/// How long a body may take to be applied: less than Debezium waits for an answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Takes what was posted. Clones lead to the same feed.
#[derive(Clone)]
pub struct Inbox {
    posts: mpsc::Sender<Post>,
    database: String,
    metrics: DebeziumMetrics,
}

/// One body, and who waits for it.
pub(super) struct Post {
    pub(super) told: Vec<Told>,
    pub(super) answer: oneshot::Sender<()>,
}

/// Why a body was not taken.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum Refused {
    /// It is not what is understood here: says what and where it is, and how to mend it.
    #[error("{0}")]
    Unreadable(String),
    /// This node does not take events now. The same body may be posted to another, or again.
    #[error(
        "this node does not take events now: another one does, or it is getting ready; post it again"
    )]
    NotNow,
}

impl Inbox {
    pub(super) fn new(database: &str, metrics: DebeziumMetrics) -> (Self, mpsc::Receiver<Post>) {
        let (posts, inbox) = mpsc::channel(WAITING);
        (Self { posts, database: database.to_owned(), metrics }, inbox)
    }

    /// What has come of what was posted, for people.
    #[must_use]
    pub fn shown(&self) -> [(&'static str, u64); 6] {
        self.metrics.shown()
    }

    /// Takes a body: one message, or a list of some. It is applied in the shared tier when this
    /// answers.
    ///
    /// # Errors
    /// [`Refused`]; then it is not known what of it was applied, and it has to be posted again.
    pub async fn post(&self, body: &[u8]) -> Result<(), Refused> {
        let told = told::parse(body, &self.database).map_err(|what| {
            self.metrics.unreadable.inc();
            Refused::Unreadable(what)
        })?;
        let messages = told.len() as u64;
        let (answer, answered) = oneshot::channel();
        let applied = async {
            self.posts.send(Post { told, answer }).await.ok()?;
            // Whoever drops it could not do it.
            answered.await.ok()
        };
        match timeout(PATIENCE, applied).await {
            Ok(Some(())) => {
                self.metrics.posts.inc();
                self.metrics.messages.inc_by(messages);
                Ok(())
            }
            _ => {
                self.metrics.refused.inc();
                Err(Refused::NotNow)
            }
        }
    }
}
