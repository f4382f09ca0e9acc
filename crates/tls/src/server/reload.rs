//! The configuration of a listener, replaced when its files change.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use rustls::ServerConfig;
use tokio::sync::watch;

use super::build::Built;
use super::files::{Contents, ServerFiles};
use super::revocation::RevocationList;
use crate::certificate::Certificate;
use crate::failure::TlsFailure;

/// The interval of reading the files.
const READ_INTERVAL: Duration = Duration::from_secs(1);

/// The time limit of a read; a network file system may hang.
const READ_TIMEOUT: Duration = Duration::from_secs(5);

/// The certificates of a listener. Open connections keep the configuration that they began with.
#[derive(Debug)]
pub struct ServerTls {
    files: ServerFiles,
    state: RwLock<State>,
    /// The number of changes of the authorities and revocation lists of clients.
    trust: watch::Sender<u64>,
}

/// The authorities and revocation lists that have accepted the certificate of a client.
#[derive(Debug)]
pub struct ClientTrust(watch::Receiver<u64>);

impl ClientTrust {
    /// Waits until they have changed: they may not accept the certificate any more.
    pub async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            // The listener is gone, and does not change.
            std::future::pending().await
        }
    }
}

#[derive(Debug)]
struct State {
    /// The contents of the files that the configuration was made of.
    contents: Contents,
    config: Arc<ServerConfig>,
    certificates: Arc<[Certificate]>,
    revocation_lists: Arc<[RevocationList]>,
}

impl State {
    fn new(contents: Contents, built: Built) -> Self {
        let Built { config, certificates, revocation_lists } = built;
        let certificates = certificates.into();
        Self { contents, config, certificates, revocation_lists: revocation_lists.into() }
    }
}

impl ServerTls {
    /// Reads the files for the first time.
    ///
    /// # Errors
    /// [`TlsFailure::Misconfigured`]: a listener does not start without valid files.
    pub fn open(files: ServerFiles) -> Result<Self, TlsFailure> {
        let contents = files.read()?;
        let built = files.build(&contents)?;
        let state = RwLock::new(State::new(contents, built));
        Ok(Self { files, state, trust: watch::Sender::default() })
    }

    /// Returns the configuration for a new connection.
    #[must_use]
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.state.read().config)
    }

    /// Returns the trust in the clients of connections with [`config`](Self::config), which was taken before it.
    #[must_use]
    pub fn client_trust(&self) -> ClientTrust {
        ClientTrust(self.trust.subscribe())
    }

    /// Returns the lists of revoked client certificates.
    #[must_use]
    pub fn revocation_lists(&self) -> Arc<[RevocationList]> {
        Arc::clone(&self.state.read().revocation_lists)
    }

    /// Returns the certificates, in the order of the configuration.
    #[must_use]
    pub fn certificates(&self) -> Arc<[Certificate]> {
        Arc::clone(&self.state.read().certificates)
    }

    /// Reads the files again and again; never ends. `report` gets the reason why they can't be used, if they can't.
    pub async fn run(self: Arc<Self>, mut report: impl FnMut(&Self, Option<String>)) {
        loop {
            let failure = self.read_again().await;
            report(&self, failure);
            tokio::time::sleep(READ_INTERVAL).await;
        }
    }

    async fn read_again(self: &Arc<Self>) -> Option<String> {
        let server = Arc::clone(self);
        let reading = tokio::task::spawn_blocking(move || server.take(server.files.read()));
        match tokio::time::timeout(READ_TIMEOUT, reading).await {
            Ok(Ok(failure)) => failure,
            Ok(Err(err)) => Some(err.to_string()),
            Err(_) => Some(format!("certificates were not read within {READ_TIMEOUT:?}")),
        }
    }

    /// Takes the result of a read. The whole contents are compared: neither a time stamp nor a size shows every
    /// change. Returns the reason why they can't be used, if they can't: the last ones count then. So half of a
    /// renewed pair changes nothing until the other half is there.
    fn take(&self, read: Result<Contents, TlsFailure>) -> Option<String> {
        let made = match read {
            Ok(contents) if contents == self.state.read().contents => Ok(None),
            Ok(contents) => self.files.build(&contents).map(|built| Some((contents, built))),
            Err(err) => Err(err),
        };
        match made {
            Ok(Some((contents, built))) => {
                let names: Vec<_> = built.certificates.iter().map(Certificate::label).collect();
                tracing::info!(certificates = names.join(", "), "certificates read again");
                let mut state = self.state.write();
                let has_same_trust = contents.has_trust_of(&state.contents);
                *state = State::new(contents, built);
                if !has_same_trust {
                    self.trust.send_modify(|changes| *changes += 1);
                }
                None
            }
            Ok(None) => None,
            Err(err) => Some(format!("{err}; the last certificates are served")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::super::files::MinVersion;
    use super::*;
    use crate::options::Identity;

    fn files(folder: &Path, made: &harness::Certificates) -> ServerFiles {
        for (from, to) in [("server.pem", "cert"), ("server.key", "key")] {
            fs::copy(made.path(from), folder.join(to)).expect("copied");
        }
        let pair = Identity { certificate: folder.join("cert"), key: folder.join("key") };
        ServerFiles {
            certificates: vec![pair],
            managed: Vec::new(),
            client_ca: None,
            client_crl: None,
            min_version: MinVersion::default(),
            alpn: &[],
        }
    }

    #[test]
    fn half_of_a_pair_changes_nothing() {
        let made = harness::Certificates::make().expect("certificates");
        let folder = tempfile::tempdir().expect("a folder");
        let server = ServerTls::open(files(folder.path(), &made)).expect("valid");
        let take = || server.take(server.files.read());
        let label = || server.certificates()[0].label().to_owned();
        let before = server.config();
        assert_eq!((take(), label()), (None, "localhost".to_owned()));
        assert!(Arc::ptr_eq(&before, &server.config()), "unchanged files make nothing new");

        fs::copy(made.path("other-name.pem"), folder.path().join("cert")).expect("copied");
        let failure = take().expect("the key is that of the other certificate");
        assert!(failure.contains("is not the key of"), "{failure}");
        assert!(Arc::ptr_eq(&before, &server.config()));
        let key = made.pem("other-name.key").expect("it is there");
        fs::write(folder.path().join("key"), &key[..key.len() / 2]).expect("written");
        assert!(take().is_some(), "half of a file");
        assert!(Arc::ptr_eq(&before, &server.config()));
        fs::write(folder.path().join("key"), &key).expect("written");
        assert_eq!((take(), label()), (None, "db.example.com".to_owned()));

        fs::remove_file(folder.path().join("cert")).expect("removed");
        assert!(take().expect("no file").contains("can't be read"));
        assert_eq!(label(), "db.example.com");
    }

    #[test]
    fn unusable_files_name_remedy() {
        let made = harness::Certificates::make().expect("certificates");
        let folder = tempfile::tempdir().expect("a folder");
        let valid = files(folder.path(), &made);
        let open = |certificate: &str, key: &str, ca: Option<&str>| {
            let pair = Identity { certificate: made.path(certificate), key: made.path(key) };
            let files = ServerFiles {
                certificates: vec![pair],
                client_ca: ca.map(|name| made.path(name)),
                ..valid.clone()
            };
            ServerTls::open(files).err().map(|err| err.to_string()).unwrap_or_default()
        };
        assert_eq!(open("server.pem", "server.key", Some("ca.pem")), "");
        for (certificate, key, ca, problem) in [
            ("none.pem", "server.key", None, "can't be read"),
            ("server.key", "server.key", None, "has no certificate"),
            ("server.pem", "server.pem", None, "has no key"),
            ("server.pem", "client.key", None, "is not the key of"),
            ("server.pem", "server.key", Some("server.key"), "client_ca = "),
        ] {
            let text = open(certificate, key, ca);
            assert!(text.contains(problem), "{certificate} {key}: {text}");
        }
    }
}
