//! A client of one server, whose files may change while it runs.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::client::TlsStream;

use crate::failure::TlsFailure;
use crate::options::{Roots, TlsOptions};
use crate::pem::Content;

/// The least time between two reads of the files.
const READ_INTERVAL: Duration = Duration::from_secs(1);

/// Connects to one server. Its files are read when it first connects, and again for later connections: a
/// renewed certificate needs no restart. While they can't be used, the last ones count.
#[derive(Debug)]
pub struct TlsClient {
    options: TlsOptions,
    state: Mutex<State>,
}

/// The files that a connection was made with.
#[derive(Debug)]
pub struct TlsVersion {
    client: Arc<TlsClient>,
    config: Arc<ClientConfig>,
}

impl TlsVersion {
    /// Whether a new connection would be made with the same files, as far as is known. They are read again beside the
    /// caller, so a change is known with a later call.
    #[must_use]
    pub fn is_current(&self) -> bool {
        if self.client.recent().is_none() {
            let client = Arc::clone(&self.client);
            tokio::task::spawn_blocking(move || client.read_files());
        }
        let state = self.client.state.lock();
        state.config.as_ref().is_none_or(|config| Arc::ptr_eq(config, &self.config))
    }
}

#[derive(Debug, Default)]
struct State {
    read_at: Option<Instant>,
    /// The contents of the files that the configuration was made of.
    contents: Vec<Content>,
    config: Option<Arc<ClientConfig>>,
    /// Why they could not be used since.
    failure: Option<String>,
}

impl TlsClient {
    /// Creates a client. No file is read.
    #[must_use]
    pub fn new(options: TlsOptions) -> Self {
        Self { options, state: Mutex::default() }
    }

    /// Reads the files for the first time.
    ///
    /// # Errors
    /// [`TlsFailure::Misconfigured`].
    pub fn check(&self) -> Result<(), TlsFailure> {
        self.read_files().map(drop)
    }

    /// Encrypts a connection to `host`, a name or an address, whose certificate has to be for it. Returns the version
    /// of the files with it.
    ///
    /// # Errors
    /// [`TlsFailure`].
    pub async fn connect(
        self: &Arc<Self>,
        host: &str,
        stream: TcpStream,
    ) -> Result<(TlsStream<TcpStream>, TlsVersion), TlsFailure> {
        let config = self.config().await?;
        let stream = self.options.connect(Arc::clone(&config), host, stream).await?;
        Ok((stream, TlsVersion { client: Arc::clone(self), config }))
    }

    async fn config(self: &Arc<Self>) -> Result<Arc<ClientConfig>, TlsFailure> {
        if let Some(config) = self.recent() {
            return Ok(config);
        }
        let client = Arc::clone(self);
        let reading = tokio::task::spawn_blocking(move || client.read_files());
        reading.await.map_err(TlsFailure::lost)?
    }

    /// Returns the configuration, unless its files are to be read again.
    fn recent(&self) -> Option<Arc<ClientConfig>> {
        let mut state = self.state.lock();
        let config = state.config.clone()?;
        let now = Instant::now();
        if state.read_at.is_some_and(|at| now < at + READ_INTERVAL) {
            return Some(config);
        }
        state.read_at = Some(now);
        None
    }

    fn read_files(&self) -> Result<Arc<ClientConfig>, TlsFailure> {
        let contents = self.contents();
        {
            let mut state = self.state.lock();
            if let (Some(config), true) = (&state.config, state.contents == contents) {
                let config = Arc::clone(config);
                state.failure = None;
                return Ok(config);
            }
        }
        let made = self.options.client_config().map(Arc::new);
        let mut state = self.state.lock();
        state.read_at = Some(Instant::now());
        match (made, &state.config) {
            (Ok(config), _) => {
                state.contents = contents;
                state.failure = None;
                state.config = Some(Arc::clone(&config));
                Ok(config)
            }
            (Err(err), None) => Err(err),
            (Err(err), Some(config)) => {
                let (config, reason) = (Arc::clone(config), err.to_string());
                if state.failure.as_ref() != Some(&reason) {
                    tracing::warn!(reason, "changed TLS files can't be used; the last ones count");
                    state.failure = Some(reason);
                }
                Ok(config)
            }
        }
    }

    /// Returns the contents of the files; of a file that can't be read, nothing.
    fn contents(&self) -> Vec<Content> {
        let TlsOptions { roots, identity, .. } = &self.options;
        let mut paths: Vec<&PathBuf> = Vec::new();
        if let Roots::File(path) = roots {
            paths.push(path);
        }
        if let Some(identity) = identity {
            paths.extend([&identity.certificate, &identity.key]);
        }
        let read = |path| Content(std::fs::read(path).unwrap_or_default());
        paths.into_iter().map(read).collect()
    }
}
