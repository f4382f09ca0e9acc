//! The claim of the leader, and the mappings that it states.

use std::fmt::Display;

use coherence::buckets::BucketState;
use coherence::{AppliedSchema, Batch, Conflict, Coverage, CoverageDigest, Epoch};

use super::client::RedisClient;
use super::signatures::split_text;
use crate::shared::error::TierError;
use crate::shared::tier::{LeadRequest, Leadership, Led};

impl RedisClient {
    /// Claims the first bucket, and states the mappings there.
    pub(super) async fn lead(&self, request: &LeadRequest) -> Result<Led, TierError> {
        let LeadRequest { claim, history, from, coverage, upto } = request;
        let names = self.buckets.names(0);
        let (epoch, message) = self.stating_message(coverage).await?;
        let history: Vec<String> =
            history.iter().map(|(timeline, left)| format!("{timeline:x}:{}", left.0)).collect();
        let mut call = self.scripts.lead.prepare_invoke();
        call.key(&names.state).key(&names.tombstones).key(&names.stream);
        call.arg(claim.to_string()).arg(format!(" {} ", history.join(" ")));
        call.arg(from.to_string()).arg(state_field(coverage));
        call.arg(epoch).arg(message).arg(self.stream_length);
        match upto {
            Some(upto) => call.arg(upto.0),
            None => call.arg(""),
        };
        let mut reply = self.call_with_room(0, &call).await?;
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

    /// Returns the epoch of the tier, and an empty batch that states the mappings at its position; nothing if it has
    /// no epoch.
    async fn stating_message(&self, coverage: &Coverage) -> Result<(String, String), TierError> {
        let (BucketState::At { epoch, applied, watermark }, _) = self.bucket_position(0).await?
        else {
            return Ok(Default::default());
        };
        let coverage = coverage.digest();
        let events = Vec::new();
        let batch = Batch { epoch, prev: applied, upto: applied, watermark, coverage, events };
        Ok((epoch.to_string(), self.batch_message(&batch, None).0))
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
        self.call_with_room(bucket, &call).await.map(drop)
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

/// The name of the applied schema in its signature.
const SCHEMA: &str = "schema";

impl RedisClient {
    /// Signs the applied schema. The epoch is part of the signature: the record of another one is of no use.
    pub(super) fn sign_schema(&self, epoch: Epoch, text: String) -> String {
        let name = format!("{} {epoch}", self.buckets.names(0).state);
        self.signatures.sign_text(&name, SCHEMA, None, text).0
    }

    /// Parses a recorded schema of `epoch`. One that can't be verified is malformed, and not absent: a definition may have
    /// been altered since the leader wrote its own.
    pub(super) fn parse_schema(
        &self,
        epoch: Epoch,
        record: &[u8],
    ) -> Result<Option<AppliedSchema>, TierError> {
        if record.is_empty() {
            return Ok(None);
        }
        let malformed =
            |err: &dyn Display| TierError::Malformed(format!("the applied schema: {err}"));
        let record = str::from_utf8(record).map_err(|err| malformed(&err))?;
        let (signature, text) = split_text(record);
        let name = format!("{} {epoch}", self.buckets.names(0).state);
        if let Err(why) = self.signatures.verify_text(&name, SCHEMA, signature, text.as_bytes()) {
            self.refuse("the applied schema", why);
            return Err(malformed(&why));
        }
        serde_json::from_str(text).map(Some).map_err(|err| malformed(&err))
    }
}

/// Returns the text in the bucket's state: the digest, and the mappings.
fn state_field(coverage: &Coverage) -> String {
    format!("{} {coverage}", coverage.digest())
}
