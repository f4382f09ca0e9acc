//! The shared tier in Redis or Valkey: the fence's rules as scripts, one atomic round trip each.
//!
//! The scripts in `redis/lua` are a second writing of [`coherence::Fence`] and
//! [`coherence::Leases`], which Redis makes necessary: nothing else is atomic there. A differential
//! test holds them to the first.
//!
//! **Buckets.** On a cluster a script sees the keys of one slot. So the keys are divided into
//! buckets, and each is all of this for its keys: state, marks, floor, position ([`buckets`],
//! [`coherence::buckets`]). One server has one bucket.
//!
//! **What survives what.** Tombstones, floor, epoch and applied position have no expiry, and
//! nothing but the tier itself removes them (the eviction policy is checked on connecting). If
//! they are lost nevertheless, the tier shows it: no state, or a state whose tombstones lack their
//! guard, means no standing and no fills until a new incarnation. A server that comes back with
//! older data shows its older applied position, and the next batch finds the gap.
//!
//! **Positions** stay below 2^53, since sorted sets keep scores as doubles: 8 PiB of log. Larger
//! ones are refused, not rounded.

mod batch;
mod buckets;
mod cluster;
mod entry;
mod line;
mod lines;
mod message;
mod metrics;
mod names;
mod options;
mod piece;
mod place;
mod preflight;
mod reply;
mod rights;
mod scripts;
mod sentinel;
mod stream;
mod survey;

use std::sync::Arc;
use std::time::Duration;

use ::redis::ScriptInvocation;
use async_trait::async_trait;
use coherence::buckets::Shown;
use coherence::fence::Gap;
use coherence::{Batch, Epoch, LeaseToken, Lsn, Refusal, Subject, Verdict};
use contract::Key;
use tokio::sync::mpsc;

pub use metrics::RedisMetrics;
pub use options::{RedisLogin, RedisOptions, RedisTls};

use self::buckets::Buckets;
use self::lines::{Call, Lines};
use self::names::Names;
use self::reply::Reply;
use self::scripts::Scripts;
use self::stream::Subscription;
use super::{Fill, NodeMessage, SharedRead, SharedTier, Slide, Standing, TierError};
use crate::survey::Survey;
use crate::together::together;

/// The largest position that a double keeps exactly.
const MAX_LSN: Lsn = Lsn(1 << 53);
/// Tombstones dropped per script.
const COLLECT_AT_ONCE: usize = 1_000;
/// Keys read per script.
const READ_AT_ONCE: usize = 256;
/// Messages waiting for a subscriber in this process; more wait in Redis.
const BACKLOG: usize = 256;

/// Redis or Valkey, 6.2 or later: one server, the primary that sentinels know, or a cluster.
pub struct RedisTier {
    lines: Lines,
    buckets: Buckets,
    scripts: Arc<Scripts>,
    timeout: Duration,
    stream_length: u64,
    tombstones: u64,
    metrics: RedisMetrics,
}

impl RedisTier {
    /// Connects, checks that the server, or each shard's, can keep what the fence needs, and loads the
    /// scripts.
    ///
    /// # Errors
    /// [`TierError::Unsuitable`] says what to change; others mean that it could not be asked.
    pub async fn connect(options: RedisOptions) -> Result<Self, TierError> {
        let scripts = Arc::new(Scripts::new());
        let (lines, buckets) = Lines::connect(&options, &scripts).await?;
        let RedisOptions { timeout, stream_length, tombstones, metrics, .. } = options;
        Ok(Self { lines, buckets, scripts, timeout, stream_length, tombstones, metrics })
    }

    /// The bucket that a key is in, with its names.
    fn bucket(&self, key: &Key) -> (usize, &Names) {
        let bucket = self.buckets.of(key);
        (bucket, self.buckets.names(bucket))
    }

    /// Runs a script on a bucket within the time limit.
    async fn call(&self, bucket: usize, call: &ScriptInvocation<'_>) -> Result<Reply, TierError> {
        self.call_within(self.timeout, bucket, call).await
    }

    async fn call_within(
        &self,
        limit: Duration,
        bucket: usize,
        call: &ScriptInvocation<'_>,
    ) -> Result<Reply, TierError> {
        let value = self.lines.call(bucket, limit, Call::Script(call)).await;
        let opened = value.and_then(Reply::open);
        let (malformed, reply) = opened.inspect_err(|err| self.count(err))?;
        if malformed > 0 {
            tracing::warn!(values = malformed, "removed values of foreign making under our keys");
            self.metrics.malformed.inc_by(malformed);
        }
        Ok(reply)
    }

    fn count(&self, err: &TierError) {
        if matches!(err, TierError::Malformed(_)) {
            self.metrics.malformed.inc();
        }
    }

    /// Removes entries of one bucket.
    async fn unlink(&self, bucket: usize, keys: &[&Key]) -> Result<(), TierError> {
        let names = self.buckets.names(bucket);
        let mut command = ::redis::cmd("UNLINK");
        command.arg(keys.iter().map(|key| names.entry(key)).collect::<Vec<_>>());
        self.lines.call(bucket, self.timeout, Call::Command(&command)).await.map(drop)
    }

    async fn shown(&self, bucket: usize) -> Result<Shown, TierError> {
        let names = self.buckets.names(bucket);
        let mut call = self.scripts.standing.prepare_invoke();
        call.key(&names.state).key(&names.tombstones);
        Ok(self.call(bucket, &call).await?.standing()?.map_or(
            Shown::Void,
            |Standing { epoch, applied, watermark }| Shown::At { epoch, applied, watermark },
        ))
    }

    /// What each bucket says of itself, all asked at once.
    ///
    /// # Errors
    /// The first one can't be asked, and so the tier can't.
    async fn all_shown(&self) -> Result<Vec<Shown>, TierError> {
        let mut shown = together((0..self.buckets.len()).map(|bucket| self.shown(bucket))).await;
        let first = shown.remove(0)?;
        let rest = shown.into_iter().map(|shown| shown.unwrap_or(Shown::Away));
        Ok([first].into_iter().chain(rest).collect())
    }

    async fn mend_bucket(
        &self,
        bucket: usize,
        seen: Shown,
        epoch: Epoch,
        at: Lsn,
    ) -> Result<bool, TierError> {
        let names = self.buckets.names(bucket);
        let mut call = self.scripts.mend.prepare_invoke();
        call.key(&names.state).key(&names.tombstones).key(&names.evictions);
        call.arg(epoch.to_string()).arg(at.0);
        match seen {
            Shown::At { epoch, .. } => call.arg(epoch.to_string()),
            Shown::Void | Shown::Away => call.arg(""),
        };
        Ok(self.call(bucket, &call).await?.number()? == 1)
    }

    /// Drops tombstones up to `upto`, and in each bucket the oldest of those that are more than `most`.
    async fn drop_tombstones(&self, upto: Lsn, most: u64) -> Result<u64, TierError> {
        exact([upto])?;
        let buckets = 0..self.buckets.len();
        let dropping = buckets.map(|bucket| self.drop_tombstones_of(bucket, upto, most));
        together(dropping).await.into_iter().sum()
    }

    async fn drop_tombstones_of(
        &self,
        bucket: usize,
        upto: Lsn,
        most: u64,
    ) -> Result<u64, TierError> {
        let names = self.buckets.names(bucket);
        let mut dropped = 0;
        loop {
            let mut call = self.scripts.collect.prepare_invoke();
            call.key(&names.state).key(&names.tombstones);
            call.arg(upto.0).arg(COLLECT_AT_ONCE).arg(most);
            let mut reply = self.call(bucket, &call).await?;
            dropped += reply.number()?;
            if reply.number()? == 0 {
                return Ok(dropped);
            }
        }
    }
}

/// Positions that a sorted set would round.
fn exact(positions: impl IntoIterator<Item = Lsn>) -> Result<(), TierError> {
    match positions.into_iter().find(|position| *position > MAX_LSN) {
        None => Ok(()),
        Some(position) => Err(TierError::Unsuitable(format!(
            "position {position} lies past {MAX_LSN}, the last one that Redis keeps exactly"
        ))),
    }
}

#[async_trait]
impl SharedTier for RedisTier {
    async fn read(&self, key: &Key, lease: Option<Duration>) -> Result<SharedRead, TierError> {
        for _ in 0..2 {
            let bucket = self.buckets.of(key);
            match self.read_once(bucket, &[key], &[], lease).await?.pop() {
                Some(Some(read)) => return Ok(read),
                _ => self.discard(key).await?,
            }
        }
        Err(TierError::Malformed(format!("entry {key}, again after its removal")))
    }

    async fn read_many(
        &self,
        keys: &[Key],
        lease: Option<Duration>,
    ) -> Result<Vec<SharedRead>, TierError> {
        self.read_using(keys, &[], lease).await
    }

    /// One script in each bucket, all at once. Keys in a bucket that can't be reached are missed there,
    /// without proof.
    async fn read_using(
        &self,
        keys: &[Key],
        slides: &[Option<Slide>],
        lease: Option<Duration>,
    ) -> Result<Vec<SharedRead>, TierError> {
        self.read_all(keys, slides, lease).await
    }

    async fn touch(&self, uses: &[(Key, Slide)]) -> Result<(), TierError> {
        let mut touching = Vec::new();
        for (bucket, numbers) in self.buckets.sort(uses.iter().map(|(key, _)| key), READ_AT_ONCE) {
            let names = self.buckets.names(bucket);
            let mut call = self.scripts.touch.prepare_invoke();
            call.key(&names.state).key(&names.tombstones).key(&names.evictions);
            for (key, slide) in numbers.iter().map(|n| &uses[*n]) {
                call.key(names.entry(key)).arg(batch::asked(*slide));
            }
            touching.push(async move { self.call(bucket, &call).await.map(drop) });
        }
        together(touching).await.into_iter().collect()
    }

    async fn fill(&self, fill: &Fill) -> Result<Verdict, TierError> {
        exact([fill.entry.tau])?;
        let (bucket, names) = self.bucket(&fill.key);
        let mut call = self.scripts.fill.prepare_invoke();
        call.key(&names.state).key(&names.tombstones).key(&names.evictions);
        call.key(names.entry(&fill.key)).key(names.lease(&fill.key));
        call.arg(fill.epoch.to_string()).arg(fill.entry.tau.0);
        match fill.lease {
            Some(token) => call.arg(token.0),
            None => call.arg(""),
        };
        call.arg(entry::millis(fill.entry.ttl)).arg(entry::encode(&fill.entry));
        for tag in fill.entry.tags.iter() {
            call.arg(Subject::Tag(tag.clone()).to_string());
        }
        let verdict = self.call(bucket, &call).await?.text()?;
        match verdict.as_str() {
            "accept" => Ok(Verdict::Accept),
            name => Refusal::from_name(name)
                .map(Verdict::Refuse)
                .ok_or_else(|| TierError::Malformed(format!("verdict {verdict:?}"))),
        }
    }

    async fn renew(&self, key: &Key, lease: LeaseToken, ttl: Duration) -> Result<bool, TierError> {
        let (bucket, names) = self.bucket(key);
        let mut call = self.scripts.renew.prepare_invoke();
        call.key(&names.state).key(&names.tombstones).key(names.lease(key));
        call.arg(lease.0).arg(entry::millis(ttl));
        Ok(self.call(bucket, &call).await?.number()? == 1)
    }

    async fn release(&self, key: &Key, lease: LeaseToken) -> Result<(), TierError> {
        let (bucket, names) = self.bucket(key);
        let mut call = self.scripts.release.prepare_invoke();
        call.key(&names.state).key(&names.tombstones).key(names.lease(key));
        call.arg(lease.0);
        self.call(bucket, &call).await.map(drop)
    }

    /// A batch of many subjects goes in pieces; each is atomic in each bucket, and they chain.
    async fn apply(&self, batch: &Batch) -> Result<Result<(), Gap>, TierError> {
        exact([batch.prev, batch.upto, batch.watermark])?;
        exact(batch.events.iter().map(|event| event.lsn))?;
        for piece in piece::cut(batch) {
            if let Err(gap) = self.apply_piece(&piece).await? {
                return Ok(Err(gap));
            }
        }
        Ok(Ok(()))
    }

    async fn evict(&self, subjects: &[Subject]) -> Result<(), TierError> {
        // Before the nodes hear of it, or they would fetch the entries again.
        self.sweep_wildcards(subjects).await?;
        for piece in subjects.chunks(piece::MAX_SUBJECTS) {
            self.evict_piece(piece).await?;
        }
        Ok(())
    }

    async fn survey(&self, subjects: &[Subject]) -> Result<Survey, TierError> {
        self.count_entries(subjects).await
    }

    /// The first bucket comes first here: its epoch is the tier's, so that nobody who follows an older
    /// one mends a bucket back. Buckets that can't be reached follow when they can.
    async fn incarnate(&self, epoch: Epoch, at: Lsn, watermark: Lsn) -> Result<(), TierError> {
        exact([at, watermark])?;
        let begin = async |bucket: usize| {
            let names = self.buckets.names(bucket);
            let start = Batch { epoch, prev: at, upto: at, watermark, events: Vec::new() };
            let message = if bucket == 0 { message::encode_batch(&start) } else { String::new() };
            let mut call = self.scripts.incarnate.prepare_invoke();
            call.key(&names.state).key(&names.tombstones).key(&names.evictions).key(&names.stream);
            call.arg(epoch.to_string()).arg(at.0).arg(watermark.0);
            call.arg(self.stream_length).arg(message);
            self.call(bucket, &call).await.map(drop)
        };
        begin(0).await?;
        for away in
            together(self.buckets.rest().map(begin)).await.into_iter().filter_map(Result::err)
        {
            tracing::warn!(error = %away, "a bucket does not know yet that a new history has begun");
        }
        Ok(())
    }

    async fn mend(&self, epoch: Epoch, at: Lsn) -> Result<bool, TierError> {
        if self.buckets.len() == 1 {
            return Ok(false);
        }
        exact([at])?;
        let seen = self.all_shown().await?;
        // Asked again, after the others: a history that somebody has begun since then is in it first.
        let first = self.shown(0).await?;
        if !matches!(first, Shown::At { epoch: its, .. } if its == epoch) {
            return Ok(false);
        }
        let lost = self.buckets.rest().filter(|n| coherence::buckets::is_lost(seen[*n], epoch, at));
        let mending = lost.map(|bucket| self.mend_bucket(bucket, seen[bucket], epoch, at));
        let mended = together(mending).await.into_iter().collect::<Result<Vec<_>, _>>()?;
        let count = mended.into_iter().filter(|mended| *mended).count();
        self.metrics.buckets_begun.inc_by(count as u64);
        Ok(count > 0)
    }

    fn is_divided(&self) -> bool {
        self.buckets.len() > 1
    }

    async fn standing(&self) -> Result<Option<Standing>, TierError> {
        let standing = coherence::buckets::standing(&self.all_shown().await?);
        Ok(standing.map(|(epoch, applied, watermark)| Standing { epoch, applied, watermark }))
    }

    async fn collect(&self, upto: Lsn) -> Result<u64, TierError> {
        self.drop_tombstones(upto, MAX_LSN.0).await
    }

    async fn make_room(&self) -> Result<u64, TierError> {
        // Tags' are in every bucket, so the buckets' shares are more than the whole.
        let share = if self.is_divided() { self.tombstones / 4 } else { self.tombstones };
        self.drop_tombstones(Lsn::ZERO, share).await
    }

    fn subscribe(&self) -> mpsc::Receiver<NodeMessage> {
        let (messages, receiver) = mpsc::channel(BACKLOG);
        let subscription = Subscription {
            lines: self.lines.clone(),
            names: self.buckets.names(0).clone(),
            scripts: Arc::clone(&self.scripts),
            messages,
            metrics: self.metrics.clone(),
        };
        tokio::spawn(subscription.run());
        receiver
    }
}
