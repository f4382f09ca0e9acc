//! Noticing what the log does not tell.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use super::catalog;
use super::options::PostgresOptions;
use super::server::Control;
use crate::error::FeedError;

const EVERY: Duration = Duration::from_secs(2);

/// Asks now and then whether the tracked tables are still what they were.
pub(super) struct SchemaWatch {
    options: Arc<PostgresOptions>,
    control: Arc<Control>,
    shape: String,
    asking: Option<JoinHandle<Result<String, FeedError>>>,
    ask_at: Instant,
}

impl Drop for SchemaWatch {
    fn drop(&mut self) {
        if let Some(asking) = &self.asking {
            asking.abort();
        }
    }
}

impl SchemaWatch {
    pub(super) fn new(options: Arc<PostgresOptions>, control: Arc<Control>, shape: String) -> Self {
        Self { options, control, shape, asking: None, ask_at: Instant::now() + EVERY }
    }

    /// What they were when the stream began.
    pub(super) fn shape(&self) -> &str {
        &self.shape
    }

    /// Waits until they are something else. Dropping it loses nothing.
    pub(super) async fn changed(&mut self) -> FeedError {
        const DOING: &str = "looking at the tables";
        loop {
            if self.asking.is_none() {
                sleep_until(self.ask_at).await;
                let (options, control) = (self.options.clone(), self.control.clone());
                self.asking = Some(tokio::spawn(async move {
                    catalog::shape(&control, &options.publication, &options.tables).await
                }));
            }
            let asking = self.asking.as_mut().expect("it was just set");
            let answer = asking.await;
            self.asking = None;
            self.ask_at = Instant::now() + EVERY;
            match answer.unwrap_or_else(|err| Err(FeedError::unavailable(DOING, err))) {
                Ok(shape) if shape == self.shape => {}
                Ok(_) => {
                    let change =
                        "a table or the publication was altered; everything is told as changed";
                    return FeedError::unavailable(DOING, change);
                }
                Err(err) => return err,
            }
        }
    }
}
