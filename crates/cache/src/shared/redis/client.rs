//! Calls of scripts and commands on buckets.

use std::sync::Arc;
use std::time::Duration;

use coherence::buckets::BucketState;
use coherence::{Clock, CoverageDigest, Epoch, Lsn};
use contract::Key;
use futures_util::future::join_all;
use redis::ScriptInvocation;
use redis_transport::{Call, Router, RouterConfig};

use super::buckets::Buckets;
use super::key_names::KeyNames;
use super::metrics::RedisMetrics;
use super::options::RedisOptions;
use super::reply::Reply;
use super::room::Room;
use super::scripts::Scripts;
use super::signatures::{Distrust, Signatures};
use crate::clock::SystemClock;
use crate::shared::error::TierError;
use crate::shared::tier::TierPosition;

/// Tombstones dropped per script.
const TOMBSTONES_PER_CALL: usize = 1_000;

/// Why an entry has to be removed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Unusable {
    Malformed,
    /// Its signature does not allow its use. It has been counted.
    Refused,
}

/// The router, the scripts and the buckets of one tier.
pub(super) struct RedisClient {
    pub(super) router: Router,
    pub(super) buckets: Buckets,
    pub(super) scripts: Arc<Scripts>,
    /// The time limit of a call.
    pub(super) timeout: Duration,
    /// The approximate length limit of the node stream.
    pub(super) stream_length: u64,
    pub(super) metrics: RedisMetrics,
    pub(super) signatures: Signatures,
    pub(super) clock: SystemClock,
    /// Frees memory for invalidations.
    pub(super) room: Room,
}

impl RedisClient {
    pub(super) async fn connect(options: &RedisOptions) -> Result<Self, TierError> {
        let endpoint = options.endpoint()?;
        let prefix = &options.key_prefix();
        let buckets =
            if endpoint.is_cluster() { Buckets::spread(prefix) } else { Buckets::one(prefix) };
        let scripts = Arc::new(Scripts::new());
        let router = Router::connect(RouterConfig {
            endpoint,
            service: "the shared tier",
            buckets: buckets.to_transport(),
            key_pattern: buckets.names(0).acl_pattern.clone(),
            scripts: Arc::clone(&scripts) as _,
            metrics: options.metrics.transport(),
            timeout: options.timeout,
        });
        Ok(Self {
            router: router.await?,
            room: Room::of(buckets.len()),
            buckets,
            scripts,
            timeout: options.timeout,
            stream_length: options.stream_length,
            metrics: options.metrics.clone(),
            signatures: Signatures::new(options.signing.clone(), options.accepts_unsigned),
            clock: SystemClock::start(),
        })
    }

    /// Counts a value that is not used because of its signature.
    pub(super) fn refuse(&self, value: &str, why: Distrust) {
        self.metrics.refuse(value, why, self.clock.wall_ms());
    }

    /// Returns the bucket of a key, with its names.
    pub(super) fn bucket(&self, key: &Key) -> (usize, &KeyNames) {
        let bucket = self.buckets.of(key);
        (bucket, self.buckets.names(bucket))
    }

    /// Runs a script on a bucket, within the tier's time limit.
    pub(super) async fn call(
        &self,
        bucket: usize,
        call: &ScriptInvocation<'_>,
    ) -> Result<Reply, TierError> {
        self.call_within(self.timeout, bucket, call).await
    }

    pub(super) async fn call_within(
        &self,
        limit: Duration,
        bucket: usize,
        call: &ScriptInvocation<'_>,
    ) -> Result<Reply, TierError> {
        let value = self.router.call(bucket, limit, Call::Script(call)).await;
        let parsed = value.map_err(TierError::from).and_then(Reply::parse);
        let (malformed, reply) = parsed.inspect_err(|err| {
            if matches!(err, TierError::Malformed(_)) {
                self.metrics.malformed.inc();
            }
        })?;
        if malformed > 0 {
            tracing::warn!(values = malformed, "removed malformed values under the tier's keys");
            self.metrics.malformed.inc_by(malformed);
        }
        Ok(reply)
    }

    /// Removes entries of one bucket.
    pub(super) async fn unlink(&self, bucket: usize, keys: &[&Key]) -> Result<(), TierError> {
        let names = self.buckets.names(bucket);
        let mut command = redis::cmd("UNLINK");
        command.arg(keys.iter().map(|key| names.entry(key)).collect::<Vec<_>>());
        self.router.call(bucket, self.timeout, Call::Command(&command)).await?;
        Ok(())
    }

    /// Removes an entry that the scripts accept and this side does not.
    pub(super) async fn remove_unusable(&self, key: &Key, why: Unusable) -> Result<(), TierError> {
        if matches!(why, Unusable::Malformed) {
            self.metrics.malformed.inc();
            tracing::warn!(%key, "removing a malformed entry");
        }
        self.unlink(self.buckets.of(key), &[key]).await
    }

    /// Returns the position of a bucket, and the mappings that it states.
    pub(super) async fn bucket_position(
        &self,
        bucket: usize,
    ) -> Result<(BucketState, CoverageDigest), TierError> {
        let names = self.buckets.names(bucket);
        let mut call = self.scripts.tier_position.prepare_invoke();
        call.key(&names.state).key(&names.tombstones);
        let position = self.call(bucket, &call).await?.position()?;
        Ok(position.map_or(
            (BucketState::Empty, CoverageDigest::NONE),
            |TierPosition { epoch, applied, watermark, coverage }| {
                (BucketState::At { epoch, applied, watermark }, coverage)
            },
        ))
    }

    /// Returns the position of each bucket, and the mappings that the first one states. All are asked at once.
    ///
    /// # Errors
    /// The first bucket can't be reached, so the tier can't.
    pub(super) async fn bucket_positions(
        &self,
    ) -> Result<(Vec<BucketState>, CoverageDigest), TierError> {
        let buckets = 0..self.buckets.len();
        let mut positions = join_all(buckets.map(|bucket| self.bucket_position(bucket))).await;
        let (first, coverage) = positions.remove(0)?;
        let rest = positions
            .into_iter()
            .map(|position| position.map_or(BucketState::Unreachable, |(state, _)| state));
        Ok(([first].into_iter().chain(rest).collect(), coverage))
    }

    /// Resets one bucket, unless its position has changed from `seen`. Returns whether it was reset.
    pub(super) async fn repair_bucket(
        &self,
        bucket: usize,
        seen: BucketState,
        epoch: Epoch,
        at: Lsn,
    ) -> Result<bool, TierError> {
        let names = self.buckets.names(bucket);
        let mut call = self.scripts.repair.prepare_invoke();
        call.key(&names.state).key(&names.tombstones).key(&names.evictions);
        call.arg(epoch.to_string()).arg(at.0);
        match seen {
            BucketState::At { epoch, .. } => call.arg(epoch.to_string()),
            BucketState::Empty | BucketState::Unreachable => call.arg(""),
        };
        Ok(self.call_with_room(bucket, &call).await?.number()? == 1)
    }

    /// Drops tombstones up to `upto`, and in each bucket the oldest ones beyond `limit`.
    pub(super) async fn drop_tombstones(&self, upto: Lsn, limit: u64) -> Result<u64, TierError> {
        let buckets = 0..self.buckets.len();
        let dropping = buckets.map(|bucket| self.drop_bucket_tombstones(bucket, upto, limit));
        join_all(dropping).await.into_iter().sum()
    }

    async fn drop_bucket_tombstones(
        &self,
        bucket: usize,
        upto: Lsn,
        limit: u64,
    ) -> Result<u64, TierError> {
        let names = self.buckets.names(bucket);
        let mut dropped = 0;
        loop {
            let mut call = self.scripts.collect.prepare_invoke();
            call.key(&names.state).key(&names.tombstones);
            call.arg(upto.0).arg(TOMBSTONES_PER_CALL).arg(limit);
            let mut reply = self.call(bucket, &call).await?;
            dropped += reply.number()?;
            if reply.number()? == 0 {
                return Ok(dropped);
            }
        }
    }
}
