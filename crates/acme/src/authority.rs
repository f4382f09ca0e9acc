//! The authority, as the other parts reach it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use instant_acme::HttpClient;

use crate::client::{AcmeClient, AskedPause, Transport};
use crate::failure::Failure;
use crate::options::AcmeOptions;
use crate::storage::Storage;

/// The time limit of work in the folder; a network file system may hang.
const STORAGE_TIMEOUT: Duration = Duration::from_secs(10);

/// The authority, and the folder of its certificates.
#[derive(Clone)]
pub(crate) struct Authority {
    pub(crate) options: Arc<AcmeOptions>,
    pub(crate) storage: Storage,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) asked_pause: AskedPause,
}

impl Authority {
    pub(crate) fn client(&self) -> Box<dyn HttpClient> {
        let (transport, asked_pause) = (Arc::clone(&self.transport), Arc::clone(&self.asked_pause));
        Box::new(AcmeClient { transport, asked_pause })
    }

    /// Works in the folder.
    pub(crate) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Storage) -> io::Result<T> + Send + 'static,
    ) -> Result<T, Failure> {
        let storage = self.storage.clone();
        let done = tokio::task::spawn_blocking(move || work(&storage));
        match tokio::time::timeout(STORAGE_TIMEOUT, done).await {
            Ok(Ok(done)) => done.map_err(|err| Failure::storage(&err)),
            Ok(Err(err)) => Err(Failure::storage(&err)),
            Err(_) => Err(Failure::storage(&format!("no result within {STORAGE_TIMEOUT:?}"))),
        }
    }
}
