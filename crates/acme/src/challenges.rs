//! The answers to the authority's checks, in the folder that all nodes share: a check reaches any of them.

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

use listen::{Challenges, ComingAnswer};
use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio::sync::Semaphore;

use crate::storage::Storage;

/// The protocol of a check by a handshake (RFC 8737).
const PROTOCOL: &[u8] = b"acme-tls/1";

/// The beginnings of the names of files.
const PREFIX: &str = "challenge-";
const OF_HOST: &str = "challenge-host-";
const OF_TOKEN: &str = "challenge-token-";

/// The answers that are read at once. Others than authorities may ask, too.
const READERS: usize = 16;

/// The time limit of a read; a network file system may hang.
const READ_TIMEOUT: Duration = Duration::from_secs(2);

/// The longest name of a host or token that is looked for.
const NAME_BYTES_MAX: usize = 253;

/// The answers in a folder.
#[derive(Debug)]
pub(crate) struct FolderChallenges {
    storage: Storage,
    readers: Semaphore,
}

impl FolderChallenges {
    pub(crate) fn new(storage: Storage) -> Self {
        Self { storage, readers: Semaphore::new(READERS) }
    }

    async fn read(&self, name: Option<String>) -> io::Result<Option<String>> {
        let Some(name) = name else { return Ok(None) };
        let Ok(_reader) = self.readers.try_acquire() else {
            return Err(io::Error::new(ErrorKind::WouldBlock, "too many checks at once"));
        };
        let storage = self.storage.clone();
        let read = tokio::task::spawn_blocking(move || storage.read(&name));
        let content = tokio::time::timeout(READ_TIMEOUT, read).await;
        let content = content.map_err(|_| io::Error::from(ErrorKind::TimedOut))??;
        Ok(content?.and_then(|content| String::from_utf8(content).ok()))
    }
}

impl Challenges for FolderChallenges {
    fn handshake(&self, host: &str) -> ComingAnswer<'_, Arc<ServerConfig>> {
        let name = name_of(OF_HOST, host);
        Box::pin(async move {
            let pem = self.read(name).await?;
            pem.map(|pem| config_of(&pem).map_err(io::Error::other)).transpose()
        })
    }

    fn token(&self, token: &str) -> ComingAnswer<'_, String> {
        Box::pin(self.read(name_of(OF_TOKEN, token)))
    }
}

/// Returns the name of a file; `None`: there can be none, since `of` is no host or token.
fn name_of(prefix: &str, of: &str) -> Option<String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let is_name = (1..=NAME_BYTES_MAX).contains(&of.len()) && of.bytes().all(is_plain);
    is_name.then(|| format!("{prefix}{of}"))
}

fn config_of(pem: &str) -> Result<Arc<ServerConfig>, Box<dyn std::error::Error + Send + Sync>> {
    let chain = CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_slice(pem.as_bytes())?;
    // Without rustls's own comparison of both, which refuses the critical extension of RFC 8737.
    let certified = CertifiedKey::new(chain, ring::sign::any_supported_type(&key)?);
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// Writes the answer to a handshake for `host`. Returns the name of its file.
pub(crate) fn publish_handshake(
    storage: &Storage,
    host: &str,
    digest: &[u8],
) -> io::Result<String> {
    let made = || {
        let mut params = CertificateParams::new([host.to_owned()])?;
        params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?;
        Ok(format!("{}{}", certificate.pem(), key.serialize_pem()))
    };
    let pem = made().map_err(|err: rcgen::Error| io::Error::other(err))?;
    publish(storage, name_of(OF_HOST, host), &pem)
}

/// Writes the answer to a request for `token`. Returns the name of its file.
pub(crate) fn publish_token(storage: &Storage, token: &str, answer: &str) -> io::Result<String> {
    publish(storage, name_of(OF_TOKEN, token), answer)
}

fn publish(storage: &Storage, name: Option<String>, answer: &str) -> io::Result<String> {
    let malformed = || io::Error::new(ErrorKind::InvalidData, "the authority's token is malformed");
    let name = name.ok_or_else(malformed)?;
    storage.write(&name, answer.as_bytes())?;
    Ok(name)
}

/// Removes all answers.
pub(crate) fn withdraw_all(storage: &Storage) -> io::Result<()> {
    storage.remove_all(PREFIX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn answers_published_and_withdrawn() {
        let root = tempfile::tempdir().expect("a folder");
        let storage = Storage::new(root.path(), "https://ca.example/");
        let challenges = FolderChallenges::new(storage.clone());
        assert_eq!(challenges.token("a_B-9").await.expect("readable"), None);
        publish_token(&storage, "a_B-9", "a_B-9.print").expect("written");
        publish_handshake(&storage, "shop.example", &[7; 32]).expect("written");
        let answer = challenges.token("a_B-9").await.expect("readable");
        assert_eq!(answer.as_deref(), Some("a_B-9.print"));
        let config = challenges.handshake("shop.example").await.expect("readable");
        assert_eq!(config.expect("a check").alpn_protocols, [PROTOCOL]);
        assert!(challenges.handshake("other.example").await.expect("readable").is_none());
        withdraw_all(&storage).expect("removed");
        assert_eq!(challenges.token("a_B-9").await.expect("readable"), None);
    }

    #[tokio::test]
    async fn names_lead_nowhere_else() {
        let root = tempfile::tempdir().expect("a folder");
        let storage = Storage::new(root.path(), "https://ca.example/");
        storage.write("account.json", b"secret").expect("written");
        let challenges = FolderChallenges::new(storage.clone());
        for token in ["", "../account.json", "a/../../account.json", "%2e%2e", "a\0b", "é"] {
            assert_eq!(challenges.token(token).await.expect("no file"), None, "{token:?}");
            assert!(publish_token(&storage, token, "x").is_err(), "{token:?}");
        }
    }
}
