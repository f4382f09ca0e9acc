//! The tier: each call of [`SharedTier`] as scripts on its buckets.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use coherence::buckets::{self, BucketState};
use coherence::fence::Gap;
use coherence::{
    AppliedSchema, Batch, CoverageDigest, Epoch, LeaseToken, Lsn, Refusal, Subject, Verdict,
};
use contract::Key;
use futures_util::future::join_all;
use tokio::sync::mpsc;

use super::batch_chunk::{MAX_SUBJECTS, chunks};
use super::client::RedisClient;
use super::entry_format;
use super::options::RedisOptions;
use super::stream::Subscription;
use crate::shared::error::TierError;
use crate::shared::tier::{
    Fill, LeadRequest, Leadership, Led, NodeMessage, NodeRecord, SharedRead, SharedTier,
    TierPosition, Touch,
};
use crate::survey::Survey;

/// The largest position that a double stores exactly.
const MAX_LSN: Lsn = Lsn(1 << 53);
/// The chunks that are on their way to Redis at once, some hundred KiB each.
const CHUNKS_IN_FLIGHT: usize = 4;
/// Messages that wait for a subscriber in this process. Further ones wait in Redis.
const BACKLOG: usize = 256;

/// Redis or Valkey, 6.2 or later: one server, the primary that sentinels know, or a cluster.
pub struct RedisTier {
    client: RedisClient,
    tombstones: u64,
}

impl RedisTier {
    /// Connects, checks that the server, or each shard's, can keep the state of the fence, and loads the
    /// scripts.
    ///
    /// # Errors
    /// [`TierError::Unsuitable`] tells what to change. Other errors mean that a server could not be asked.
    pub async fn connect(options: RedisOptions) -> Result<Self, TierError> {
        let client = RedisClient::connect(&options).await?;
        Ok(Self { client, tombstones: options.tombstones })
    }
}

/// Checks that a sorted set stores the positions exactly.
///
/// # Errors
/// It would round one of them.
fn check_exact(positions: impl IntoIterator<Item = Lsn>) -> Result<(), TierError> {
    match positions.into_iter().find(|position| *position > MAX_LSN) {
        None => Ok(()),
        Some(position) => Err(TierError::Unsuitable(format!(
            "position {position} lies past {MAX_LSN}, the last one that Redis stores exactly"
        ))),
    }
}

impl RedisTier {
    /// Applies chunks one after the other. The first gap is the tier's.
    async fn apply_in_turn(
        &self,
        chunks: &[(Cow<'_, Batch>, String)],
    ) -> Result<Result<(), Gap>, TierError> {
        for (chunk, message) in chunks {
            if let Err(gap) = self.client.apply_chunk(chunk, message, 1).await? {
                return Ok(Err(gap));
            }
        }
        Ok(Ok(()))
    }
}

#[async_trait]
impl SharedTier for RedisTier {
    async fn read(&self, key: &Key, lease: Option<Duration>) -> Result<SharedRead, TierError> {
        self.client.read(key, lease).await
    }

    async fn read_many(
        &self,
        keys: &[Key],
        lease: Option<Duration>,
    ) -> Result<Vec<SharedRead>, TierError> {
        self.client.read_many(keys, &[], lease).await
    }

    /// One script per bucket, all at once. Keys of a bucket that can't be reached are misses without proof.
    async fn read_and_touch(
        &self,
        keys: &[Key],
        touches: &[Option<Touch>],
        lease: Option<Duration>,
    ) -> Result<Vec<SharedRead>, TierError> {
        self.client.read_many(keys, touches, lease).await
    }

    async fn touch(&self, uses: &[(Key, Touch)]) -> Result<(), TierError> {
        self.client.touch(uses).await
    }

    async fn inspect(&self, key: &Key) -> Result<SharedRead, TierError> {
        self.client.inspect(key).await
    }

    async fn fill(&self, fill: &Fill) -> Result<Verdict, TierError> {
        check_exact([fill.entry.tau])?;
        let (bucket, names) = self.client.bucket(&fill.key);
        let mut call = self.client.scripts.fill.prepare_invoke();
        call.key(&names.state).key(&names.tombstones).key(&names.evictions);
        call.key(names.entry(&fill.key)).key(names.lease(&fill.key));
        call.arg(fill.epoch.to_string()).arg(fill.entry.tau.0);
        match fill.lease {
            Some(token) => call.arg(token.0),
            None => call.arg(""),
        };
        let (name, epoch) = (names.entry(&fill.key), fill.epoch.to_string());
        let entry = self.client.encode(&name, &epoch, &fill.entry);
        let format = self.client.signatures.format(fill.entry.changes_at.is_some());
        call.arg(entry_format::millis(fill.entry.ttl)).arg(format).arg(entry);
        for tag in fill.entry.tags.iter() {
            call.arg(Subject::Tag(tag.clone()).to_string());
        }
        let verdict = self.client.call(bucket, &call).await?.text()?;
        match verdict.as_str() {
            "accept" => Ok(Verdict::Accept),
            "full" => Err(TierError::Full("it did not store an entry".to_owned())),
            name => Refusal::from_name(name)
                .map(Verdict::Refuse)
                .ok_or_else(|| TierError::Malformed(format!("verdict {verdict:?}"))),
        }
    }

    async fn renew(&self, key: &Key, lease: LeaseToken, ttl: Duration) -> Result<bool, TierError> {
        let (bucket, names) = self.client.bucket(key);
        let mut call = self.client.scripts.renew.prepare_invoke();
        call.key(&names.state).key(&names.tombstones).key(names.lease(key));
        call.arg(lease.0).arg(entry_format::millis(ttl));
        Ok(self.client.call(bucket, &call).await?.number()? == 1)
    }

    async fn release(&self, key: &Key, lease: LeaseToken) -> Result<(), TierError> {
        let (bucket, names) = self.client.bucket(key);
        let mut call = self.client.scripts.release.prepare_invoke();
        call.key(&names.state).key(&names.tombstones).key(names.lease(key));
        call.arg(lease.0);
        self.client.call(bucket, &call).await.map(drop)
    }

    /// A batch of many subjects is sent in chunks. Each is atomic in each bucket, and they chain: one that
    /// overtakes another is not applied.
    async fn apply(&self, batch: &Batch) -> Result<Result<(), Gap>, TierError> {
        check_exact([batch.prev, batch.upto, batch.watermark])?;
        check_exact(batch.events.iter().map(|event| event.lsn))?;
        let mut after = None;
        let chunks: Vec<_> = chunks(batch)
            .into_iter()
            .map(|chunk| {
                let (message, code) = self.client.batch_message(&chunk, after);
                after = code;
                (chunk, message)
            })
            .collect();
        // A cluster's first bucket must not publish a chunk before the others have applied it.
        if chunks.len() > 1 && !self.is_divided() {
            for sent in chunks.chunks(CHUNKS_IN_FLIGHT) {
                let sent = (1..)
                    .zip(sent)
                    .map(|(n, (chunk, message))| self.client.apply_chunk(chunk, message, n));
                let replies = join_all(sent).await.into_iter();
                let verdicts = replies.collect::<Result<Vec<_>, _>>()?;
                if verdicts.iter().any(Result::is_err) {
                    return self.apply_in_turn(&chunks).await;
                }
            }
            return Ok(Ok(()));
        }
        self.apply_in_turn(&chunks).await
    }

    async fn evict(&self, subjects: &[Subject]) -> Result<(), TierError> {
        // Before the nodes receive the message, or they would fetch the entries again.
        self.client.remove_wildcards(subjects).await?;
        for chunk in subjects.chunks(MAX_SUBJECTS) {
            self.client.evict_chunk(chunk).await?;
        }
        Ok(())
    }

    async fn survey(&self, subjects: &[Subject]) -> Result<Survey, TierError> {
        self.client.count_entries(subjects).await
    }

    /// The first bucket is reset first: its epoch is the tier's, so that a leader of an older epoch
    /// repairs no bucket back. Buckets that can't be reached follow later.
    async fn reset_epoch(&self, epoch: Epoch, at: Lsn, watermark: Lsn) -> Result<(), TierError> {
        check_exact([at, watermark])?;
        let client = &self.client;
        let reset = async |bucket: usize| {
            let names = client.buckets.names(bucket);
            let coverage = CoverageDigest::NONE;
            let start =
                Batch { epoch, prev: at, upto: at, watermark, coverage, events: Vec::new() };
            let message =
                if bucket == 0 { client.batch_message(&start, None).0 } else { String::new() };
            let mut call = client.scripts.reset_epoch.prepare_invoke();
            call.key(&names.state).key(&names.tombstones).key(&names.evictions).key(&names.stream);
            call.arg(epoch.to_string()).arg(at.0).arg(watermark.0);
            call.arg(client.stream_length).arg(message);
            client.call_with_room(bucket, &call).await.map(drop)
        };
        reset(0).await?;
        let rest = join_all(client.buckets.rest().map(reset)).await;
        for err in rest.into_iter().filter_map(Result::err) {
            tracing::warn!(error = %err, "a bucket could not be reset to the new epoch yet");
        }
        Ok(())
    }

    async fn repair(&self, epoch: Epoch, at: Lsn) -> Result<bool, TierError> {
        let client = &self.client;
        if client.buckets.len() == 1 {
            return Ok(false);
        }
        check_exact([at])?;
        let (seen, _) = client.bucket_positions().await?;
        // Read again after the others: the first bucket is reset first, so it shows an epoch reset since
        // then.
        let (first, _) = client.bucket_position(0).await?;
        if !matches!(first, BucketState::At { epoch: current, .. } if current == epoch) {
            return Ok(false);
        }
        let lost =
            client.buckets.rest().filter(|bucket| buckets::needs_reset(seen[*bucket], epoch, at));
        let repairs = lost.map(|bucket| client.repair_bucket(bucket, seen[bucket], epoch, at));
        let repaired = join_all(repairs).await.into_iter().collect::<Result<Vec<_>, _>>()?;
        let count = repaired.into_iter().filter(|repaired| *repaired).count();
        client.metrics.buckets_reset.inc_by(count as u64);
        Ok(count > 0)
    }

    /// The first bucket decides; the others follow, as far as they can be reached.
    async fn lead(&self, request: &LeadRequest) -> Result<Led, TierError> {
        let led = self.client.lead(request).await?;
        if led == Led::Granted {
            let rest = self.client.buckets.rest();
            let covered = join_all(rest.map(|bucket| self.client.cover_bucket(bucket, request)));
            for err in covered.await.into_iter().filter_map(Result::err) {
                tracing::warn!(error = %err, "a bucket does not know the leader's contracts yet");
            }
        }
        Ok(led)
    }

    async fn leadership(&self) -> Result<Leadership, TierError> {
        self.client.leadership().await
    }

    fn is_divided(&self) -> bool {
        self.client.buckets.len() > 1
    }

    async fn position(&self) -> Result<Option<TierPosition>, TierError> {
        let (positions, coverage) = self.client.bucket_positions().await?;
        let position = buckets::standing(&positions);
        Ok(position.map(|(epoch, applied, watermark)| TierPosition {
            epoch,
            applied,
            watermark,
            coverage,
        }))
    }

    async fn applied_schema(&self) -> Result<Option<(Epoch, Option<AppliedSchema>)>, TierError> {
        let names = self.client.buckets.names(0);
        let mut call = self.client.scripts.schema.prepare_invoke();
        call.key(&names.state).key(&names.tombstones);
        let mut reply = self.client.call(0, &call).await?;
        if reply.is_empty() {
            return Ok(None);
        }
        let (epoch, schema) = (reply.text()?, reply.bytes()?);
        let epoch = epoch
            .parse()
            .map_err(|_| TierError::Malformed(format!("the epoch {epoch:?} of a schema")))?;
        Ok(Some((epoch, self.client.parse_schema(epoch, &schema)?)))
    }

    async fn record_schema(&self, epoch: Epoch, schema: &AppliedSchema) -> Result<bool, TierError> {
        check_exact([schema.position])?;
        let text = serde_json::to_string(schema)
            .map_err(|err| TierError::Malformed(format!("the applied schema: {err}")))?;
        let text = self.client.sign_schema(epoch, text);
        let names = self.client.buckets.names(0);
        let mut call = self.client.scripts.schema.prepare_invoke();
        call.key(&names.state).key(&names.tombstones).arg(epoch.to_string()).arg(text);
        Ok(self.client.call_with_room(0, &call).await?.number()? == 1)
    }

    async fn collect(&self, upto: Lsn) -> Result<u64, TierError> {
        check_exact([upto])?;
        self.client.drop_tombstones(upto, MAX_LSN.0).await
    }

    async fn trim_tombstones(&self) -> Result<u64, TierError> {
        // Every bucket has the tombstones of tags, so the shares of the buckets add up to more than the
        // whole.
        let share = if self.is_divided() { self.tombstones / 4 } else { self.tombstones };
        self.client.drop_tombstones(Lsn::ZERO, share).await
    }

    async fn announce(
        &self,
        record: &NodeRecord,
        life: Duration,
    ) -> Result<Vec<NodeRecord>, TierError> {
        let mut call = self.client.scripts.announce.prepare_invoke();
        call.key(&self.client.buckets.names(0).nodes);
        call.arg(&record.id).arg(&record.text).arg(entry_format::millis(life));
        let mut reply = self.client.call(0, &call).await?;
        let mut others = Vec::new();
        while !reply.is_empty() {
            let text = String::from_utf8_lossy(&reply.bytes()?).into_owned();
            let (id, text) = text.split_once(' ').unwrap_or((&text, ""));
            others.push(NodeRecord { id: id.to_owned(), text: text.to_owned() });
        }
        Ok(others)
    }

    fn subscribe(&self) -> mpsc::Receiver<NodeMessage> {
        let (messages, receiver) = mpsc::channel(BACKLOG);
        let subscription = Subscription {
            router: self.client.router.clone(),
            names: self.client.buckets.names(0).clone(),
            scripts: Arc::clone(&self.client.scripts),
            messages,
            metrics: self.client.metrics.clone(),
            signatures: self.client.signatures.clone(),
            clock: self.client.clock.clone(),
        };
        tokio::spawn(subscription.run());
        receiver
    }
}
