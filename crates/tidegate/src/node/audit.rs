//! Adapters between the auditor, HTTP and the data API.

use std::collections::BTreeMap;
use std::path::PathBuf;

use ::node::{AnswerSampler, PeerClient, PeerError};
use access::AccessToken;
use async_trait::async_trait;
use cache::audit::{EntrySummary, LoadTarget, PeerReply};
use cache::{Answer, Policy};
use contract::{Key, percent};
use control::{InspectQuery, InvalidQuery, TierInspector};
use edge::TlsFiles;
use edge::data::{DataApi, Inspected, Sampler};
use http::StatusCode;
use parking_lot::RwLock;

use super::error::NodeError;
use crate::http_client::{Client, Refused, Target, read_token};

/// The longest answer, in bytes; two tiers take less than 1,000.
const ANSWER_BYTES_MAX: usize = 16 * 1024;

/// Asks the admin listeners of other nodes. A node's name is the host and port of its listener.
pub(super) struct HttpPeers {
    clients: BTreeMap<String, Client>,
    /// The access token for them; `None`: they need none.
    token: Option<PeersToken>,
}

impl HttpPeers {
    /// # Errors
    /// [`NodeError::Unsuitable`]: a file of TLS can't be used.
    pub(super) fn new(
        names: &[String],
        files: &TlsFiles,
        token: Option<PeersToken>,
    ) -> Result<Self, NodeError> {
        let client = |name: &String| {
            let target = Target::new(name, files)
                .map_err(|err| NodeError::Unsuitable(format!("[audit] peers: {name}: {err:#}")))?;
            Ok::<_, NodeError>((name.clone(), Client::new(target)))
        };
        let clients = names.iter().map(client).collect::<Result<_, _>>()?;
        Ok(Self { clients, token })
    }
}

/// The access token for other nodes, and its file, which is read again after a refusal.
pub(super) struct PeersToken {
    file: PathBuf,
    token: RwLock<AccessToken>,
}

impl PeersToken {
    /// Reads the file.
    ///
    /// # Errors
    /// [`NodeError::PeersToken`]
    pub(super) fn read(file: PathBuf) -> Result<Self, NodeError> {
        let token = read_token(&file).map_err(|err| NodeError::PeersToken(format!("{err:#}")))?;
        Ok(Self { file, token: RwLock::new(token) })
    }

    fn token(&self) -> AccessToken {
        self.token.read().clone()
    }

    /// Reads the file again. While it can't be read, the token stays, and the nodes refuse it.
    fn read_again(&self) {
        match read_token(&self.file) {
            Ok(token) => *self.token.write() = token,
            Err(err) => {
                tracing::warn!(error = format!("{err:#}"), "[audit] peers_token can't be read")
            }
        }
    }
}

#[async_trait]
impl PeerClient for HttpPeers {
    async fn inspect(
        &self,
        node: &str,
        target: &LoadTarget,
        salt: &str,
    ) -> Result<PeerReply, PeerError> {
        let path = format!(
            "/api/v1/inspect?contract={}&id={}&salt={}",
            percent::encode(&target.contract),
            percent::encode(&target.id),
            percent::encode(salt)
        );
        let Some(client) = self.clients.get(node) else {
            return Err(PeerError::Unreachable(format!("{node} is not configured")));
        };
        let get = async || {
            let token = self.token.as_ref().map(PeersToken::token);
            client.get(&path, token.as_ref(), ANSWER_BYTES_MAX).await
        };
        let body = match (get().await, &self.token) {
            (Err(err), Some(token)) if is_unauthorised(&err) => {
                token.read_again();
                get().await
            }
            (body, _) => body,
        };
        let body = body.map_err(|err| PeerError::Unreachable(format!("{err:#}")))?;
        serde_json::from_slice(&body).map_err(|err| PeerError::Malformed(err.to_string()))
    }
}

/// Returns whether a node does not know the token.
fn is_unauthorised(err: &anyhow::Error) -> bool {
    err.downcast_ref().is_some_and(|Refused { status, .. }| *status == StatusCode::UNAUTHORIZED)
}

/// Samples the answers of the data API.
pub(super) struct SampledAnswers(pub(super) AnswerSampler);

impl Sampler for SampledAnswers {
    fn answered(&self, key: &Key, id: &str, policy: &Policy, answer: &Answer) {
        self.0.answered(key, id, policy, answer);
    }
}

/// Answers the auditors of other nodes.
pub(super) struct NodeInspector {
    pub(super) data: DataApi,
}

#[async_trait]
impl TierInspector for NodeInspector {
    async fn inspect(&self, query: &InspectQuery) -> Result<PeerReply, InvalidQuery> {
        let inspected = self.data.inspect(&query.contract, &query.id).await;
        let Inspected { key, entries, failed } =
            inspected.map_err(|err| InvalidQuery(err.to_string()))?;
        let failed = failed.map(|(tier, err)| {
            tracing::debug!(%key, error = %err, "a tier could not be inspected");
            tier
        });
        Ok(PeerReply {
            key: key.to_string(),
            epoch: self.data.engine_of(&query.contract).and_then(|engine| engine.status().epoch),
            entries: entries.iter().map(|entry| EntrySummary::of(entry, &query.salt)).collect(),
            unread: failed.into_iter().collect(),
        })
    }
}
