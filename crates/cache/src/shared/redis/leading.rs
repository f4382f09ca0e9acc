//! The claim of the leader, and the mappings that it states.

use coherence::{Conflict, Coverage, CoverageDigest};

use super::client::RedisClient;
use crate::shared::error::TierError;
use crate::shared::tier::{LeadRequest, Leadership, Led};

impl RedisClient {
    /// Claims the first bucket, and states the mappings there.
    pub(super) async fn lead(&self, request: &LeadRequest) -> Result<Led, TierError> {
        let LeadRequest { claim, history, from, coverage, upto } = request;
        let names = self.buckets.names(0);
        let history: Vec<String> =
            history.iter().map(|(timeline, left)| format!("{timeline:x}:{}", left.0)).collect();
        let mut call = self.scripts.lead.prepare_invoke();
        call.key(&names.state).key(&names.tombstones).key(&names.stream);
        call.arg(claim.to_string()).arg(format!(" {} ", history.join(" ")));
        call.arg(from.to_string()).arg(state_field(coverage));
        call.arg(coverage.digest().0).arg(self.stream_length);
        match upto {
            Some(upto) => call.arg(upto.0),
            None => call.arg(""),
        };
        let mut reply = self.call(0, &call).await?;
        match reply.text()?.as_str() {
            "granted" => Ok(Led::Granted),
            "changed" => Ok(Led::Changed),
            name => {
                let conflict = Conflict::from_name(name)
                    .ok_or_else(|| TierError::Malformed(format!("verdict {name:?}")))?;
                Ok(Led::Refused(conflict, reply.text()?.into()))
            }
        }
    }

    /// States the mappings in another bucket. One that has stated others than those before is reset later.
    pub(super) async fn cover_bucket(
        &self,
        bucket: usize,
        request: &LeadRequest,
    ) -> Result<(), TierError> {
        let LeadRequest { from, coverage, upto, .. } = request;
        let names = self.buckets.names(bucket);
        let mut call = self.scripts.cover.prepare_invoke();
        call.key(&names.state).key(&names.tombstones);
        call.arg(from.to_string()).arg(state_field(coverage));
        match upto {
            Some(upto) => call.arg(upto.0),
            None => call.arg(""),
        };
        self.call(bucket, &call).await.map(drop)
    }

    pub(super) async fn leadership(&self) -> Result<Leadership, TierError> {
        let names = self.buckets.names(0);
        let mut call = self.scripts.leadership.prepare_invoke();
        call.key(&names.state).key(&names.tombstones);
        let mut reply = self.call(0, &call).await?;
        let (claim, field) = (reply.text()?, reply.text()?);
        let (stated, list) = field.split_once(' ').unwrap_or(("0", ""));
        let stated = CoverageDigest(u64::from_str_radix(stated, 16).unwrap_or_default());
        // A list that does not have the stated digest covers nothing.
        let coverage = list.parse::<Coverage>().unwrap_or_default();
        let coverage = if coverage.digest() == stated { coverage } else { Coverage::default() };
        Ok(Leadership { claim: claim.parse().ok(), stated, coverage })
    }
}

/// Returns the text in the bucket's state: the digest, and the mappings.
fn state_field(coverage: &Coverage) -> String {
    format!("{} {coverage}", coverage.digest())
}
