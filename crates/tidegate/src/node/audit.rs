//! Adapters between the auditor, HTTP and the data API.

use ::node::{AnswerSampler, PeerClient, PeerError};
use async_trait::async_trait;
use cache::audit::{EntrySummary, LoadTarget, PeerReply};
use cache::{Answer, Engine, Policy};
use contract::{Key, percent};
use control::{InspectQuery, InvalidQuery, TierInspector};
use edge::data::{DataApi, Inspected, Sampler};

use crate::http_client::Client;

/// The longest answer, in bytes; two tiers take less than 1,000.
const ANSWER_BYTES_MAX: usize = 16 * 1024;

/// Asks the admin listeners of other nodes. A node's name is the host and port of its listener.
pub(super) struct HttpPeers(pub(super) Client);

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
        let body = self.0.get(node, &path, ANSWER_BYTES_MAX).await;
        let body = body.map_err(|err| PeerError::Unreachable(format!("{err:#}")))?;
        serde_json::from_slice(&body).map_err(|err| PeerError::Malformed(err.to_string()))
    }
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
    pub(super) engine: Engine,
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
            epoch: self.engine.status().epoch,
            entries: entries.iter().map(|entry| EntrySummary::of(entry, &query.salt)).collect(),
            unread: failed.into_iter().collect(),
        })
    }
}
