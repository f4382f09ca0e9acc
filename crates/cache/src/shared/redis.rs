//! The shared tier in Redis or Valkey: the fence's rules as scripts, one atomic round trip each.
//!
//! The scripts in `redis/lua` are a second writing of [`coherence::Fence`] and
//! [`coherence::Leases`], which Redis makes necessary: nothing else is atomic there. A differential
//! test holds them to the first.
//!
//! **What survives what.** Tombstones, floor, epoch and applied position have no expiry, and
//! nothing but the tier itself removes them (the eviction policy is checked on connecting). If
//! they are lost nevertheless, the tier shows it: no state, or a state whose tombstones lack their
//! guard, means no standing and no fills until a new incarnation. A server that comes back with
//! older data shows its older applied position, and the next batch finds the gap.
//!
//! **Positions** stay below 2^53, since sorted sets keep scores as doubles: 8 PiB of log. Larger
//! ones are refused, not rounded.

mod entry;
mod line;
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

use ::redis::{ScriptInvocation, Value};
use async_trait::async_trait;
use coherence::fence::Gap;
use coherence::{Batch, Epoch, LeaseToken, Lsn, Refusal, Subject, Verdict};
use contract::Key;
use tokio::sync::mpsc;
use tokio::time::timeout;

pub use metrics::RedisMetrics;
pub use options::{RedisLogin, RedisOptions, RedisTls};

use self::line::{Dial, Line};
use self::names::Names;
use self::reply::{Reply, failed};
use self::scripts::Scripts;
use self::stream::Subscription;
use super::{
    Fill, NodeMessage, Outcome, SharedRead, SharedTier, Slide, Standing, TierError, marks,
};
use crate::entry::Entry;
use crate::patience::in_time;
use crate::survey::Survey;

/// The largest position that a double keeps exactly.
const MAX_LSN: Lsn = Lsn(1 << 53);
/// Tombstones dropped per script.
const COLLECT_AT_ONCE: usize = 1_000;
/// Keys read per script.
const READ_AT_ONCE: usize = 256;
/// Messages waiting for a subscriber in this process; more wait in Redis.
const BACKLOG: usize = 256;

/// Redis or Valkey, 6.2 or later: one server, or the primary that sentinels know.
pub struct RedisTier {
    line: Line,
    names: Names,
    scripts: Arc<Scripts>,
    timeout: Duration,
    stream_length: u64,
    tombstones: u64,
    metrics: RedisMetrics,
}

impl RedisTier {
    /// Connects, checks that the server can keep what the fence needs, and loads the scripts.
    ///
    /// # Errors
    /// [`TierError::Unsuitable`] says what to change; others mean that it could not be asked.
    pub async fn connect(options: RedisOptions) -> Result<Self, TierError> {
        let way = options.place()?.into();
        let (names, scripts) = (Names::new(&options.prefix, 0), Arc::new(Scripts::new()));
        let metrics = options.metrics;
        let dial = Dial {
            way,
            names: names.clone(),
            scripts: Arc::clone(&scripts),
            metrics: metrics.clone(),
        };
        let line = Line::connect(dial, options.timeout).await?;
        Ok(Self {
            line,
            names,
            scripts,
            timeout: options.timeout,
            stream_length: options.stream_length,
            tombstones: options.tombstones,
            metrics,
        })
    }

    /// Runs a script within the time limit.
    async fn call(&self, call: &ScriptInvocation<'_>) -> Result<Reply, TierError> {
        self.call_within(self.timeout, call).await
    }

    async fn call_within(
        &self,
        limit: Duration,
        call: &ScriptInvocation<'_>,
    ) -> Result<Reply, TierError> {
        let asked = async {
            let mut up = self.line.up().await?;
            let answer = call.invoke_async(&mut up.connection).await;
            answer.map_err(|err| {
                self.line.report(&up, &err);
                failed(&err, limit)
            })
        };
        let value: Value = match in_time(limit, asked).await {
            Some(answer) => answer.map_err(|err| self.count(err))?,
            None => return Err(TierError::Timeout(limit)),
        };
        let (malformed, reply) = Reply::open(value).map_err(|err| self.count(err))?;
        if malformed > 0 {
            tracing::warn!(values = malformed, "removed values of foreign making under our keys");
            self.metrics.malformed.inc_by(malformed);
        }
        Ok(reply)
    }

    fn count(&self, err: TierError) -> TierError {
        if matches!(err, TierError::Malformed(_)) {
            self.metrics.malformed.inc();
        }
        err
    }

    /// Reads the keys in one state of the server; those with a [`Slide`] live on. `None` in an entry's
    /// place: it is not of our making.
    async fn read_once(
        &self,
        keys: &[Key],
        slides: &[Option<Slide>],
        lease: Option<Duration>,
    ) -> Result<Vec<Option<SharedRead>>, TierError> {
        let names = &self.names;
        let mut call = self.scripts.read.prepare_invoke();
        call.key(&names.state).key(&names.tombstones).key(&names.evictions);
        match lease {
            Some(ttl) => call.arg(entry::millis(ttl)),
            None => call.arg(""),
        };
        let mut tokens = Vec::with_capacity(keys.len());
        for (at, key) in keys.iter().enumerate() {
            // Drawn here: unlike a counter in Redis it does not begin again after a flush.
            let token = LeaseToken(rand::random());
            call.key(names.entry(key)).key(names.lease(key)).arg(token.0);
            match slides.get(at).copied().flatten() {
                Some(slide) => call.arg(asked(slide)),
                None => call.arg(""),
            };
            tokens.push(token);
        }
        let mut reply = self.call(&call).await?;
        let standing = reply.standing()?;
        let mut reads = Vec::with_capacity(keys.len());
        for token in tokens {
            let outcome = match standing {
                None => Some(Outcome::Miss),
                Some(_) => reply.outcome(token)?,
            };
            reads.push(outcome.map(|outcome| SharedRead { standing, outcome }));
        }
        Ok(reads)
    }

    /// Removes an entry that the scripts take for ours and this side does not.
    async fn discard(&self, key: &Key) -> Result<(), TierError> {
        self.metrics.malformed.inc();
        tracing::warn!(%key, "removing an entry of foreign making");
        let mut connection = self.line.up().await?.connection;
        let mut command = ::redis::cmd("UNLINK");
        command.arg(self.names.entry(key));
        match timeout(self.timeout, command.query_async::<u64>(&mut connection)).await {
            Ok(done) => done.map(drop).map_err(|err| failed(&err, self.timeout)),
            Err(_) => Err(TierError::Timeout(self.timeout)),
        }
    }

    async fn apply_piece(&self, piece: &Batch) -> Result<Result<(), Gap>, TierError> {
        let names = &self.names;
        let mut call = self.scripts.apply.prepare_invoke();
        call.key(&names.state).key(&names.tombstones).key(&names.evictions).key(&names.stream);
        call.arg(piece.epoch.to_string()).arg(piece.prev.0).arg(piece.upto.0);
        call.arg(piece.watermark.0);
        let subjects = || {
            let of = |event: &'_ coherence::Event| event.lsn.0;
            piece.events.iter().flat_map(move |e| e.subjects.iter().map(move |s| (s, of(e))))
        };
        let everything = subjects().filter(|(subject, _)| **subject == Subject::Everything);
        call.arg(everything.map(|(_, lsn)| lsn).max().unwrap_or(0));
        call.arg(self.stream_length).arg(message::encode_batch(piece));
        for event in &piece.events {
            for subject in &event.subjects {
                if let Subject::Key(key) = subject {
                    call.key(names.entry(key)).arg(event.lsn.0);
                    match event.renewal(key) {
                        Some(renewal) => {
                            let entry = entry::encode(&Entry::renewed(event, renewal));
                            call.arg(entry::millis(renewal.ttl)).arg(entry)
                        }
                        None => call.arg(0).arg(""),
                    };
                }
            }
        }
        for (subject, lsn) in subjects() {
            if matches!(subject, Subject::Tag(_)) || subject.is_pattern() {
                call.arg(subject.to_string()).arg(lsn);
            }
        }
        let mut reply = self.call(&call).await?;
        match reply.text()?.as_str() {
            "applied" => Ok(Ok(())),
            "unproven" => Ok(Err(Gap::Unproven)),
            "epoch" => {
                let tier = reply.text()?;
                // A text that is no epoch is no state either.
                Ok(Err(tier.parse().map_or(Gap::Unproven, |tier| Gap::Epoch { tier })))
            }
            "missing" => Ok(Err(Gap::Missing { applied: reply.lsn()?, prev: piece.prev })),
            other => Err(TierError::Malformed(format!("verdict {other:?}"))),
        }
    }

    async fn evict_piece(&self, subjects: &[Subject]) -> Result<(), TierError> {
        let names = &self.names;
        let everything = subjects.contains(&Subject::Everything);
        let mut call = self.scripts.evict.prepare_invoke();
        call.key(&names.state).key(&names.tombstones).key(&names.evictions).key(&names.stream);
        call.arg(self.stream_length).arg(message::encode_evict(subjects));
        call.arg(marks::LIMIT).arg(if everything { "1" } else { "" });
        for subject in subjects {
            match subject {
                Subject::Key(key) => call.key(names.entry(key)),
                Subject::Tag(tag) => call.arg(tag.as_str()),
                _ => &mut call,
            };
        }
        self.call(&call).await.map(drop)
    }

    /// Drops tombstones up to `upto`, and the oldest of those that are more than `most`.
    async fn drop_tombstones(&self, upto: Lsn, most: u64) -> Result<u64, TierError> {
        exact([upto])?;
        let mut dropped = 0;
        loop {
            let mut call = self.scripts.collect.prepare_invoke();
            call.key(&self.names.state).key(&self.names.tombstones);
            call.arg(upto.0).arg(COLLECT_AT_ONCE).arg(most);
            let mut reply = self.call(&call).await?;
            dropped += reply.number()?;
            if reply.number()? == 0 {
                return Ok(dropped);
            }
        }
    }
}

/// As the scripts take it: the longest life in ms (0: without limit), and the position.
fn asked(slide: Slide) -> String {
    let limited = slide.longest != Duration::MAX;
    let longest = if limited { entry::millis(slide.longest) } else { 0 };
    format!("{longest} {}", slide.proven_from.0)
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
            match self.read_once(std::slice::from_ref(key), &[], lease).await?.pop() {
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

    async fn read_using(
        &self,
        keys: &[Key],
        slides: &[Option<Slide>],
        lease: Option<Duration>,
    ) -> Result<Vec<SharedRead>, TierError> {
        let mut reads = Vec::with_capacity(keys.len());
        let mut slides = slides.chunks(READ_AT_ONCE);
        for keys in keys.chunks(READ_AT_ONCE) {
            let slides = slides.next().unwrap_or_default();
            for (key, read) in keys.iter().zip(self.read_once(keys, slides, lease).await?) {
                reads.push(match read {
                    Some(read) => read,
                    None => {
                        self.discard(key).await?;
                        self.read(key, lease).await?
                    }
                });
            }
        }
        Ok(reads)
    }

    async fn touch(&self, uses: &[(Key, Slide)]) -> Result<(), TierError> {
        let names = &self.names;
        for uses in uses.chunks(READ_AT_ONCE) {
            let mut call = self.scripts.touch.prepare_invoke();
            call.key(&names.state).key(&names.tombstones).key(&names.evictions);
            for (key, slide) in uses {
                call.key(names.entry(key)).arg(asked(*slide));
            }
            self.call(&call).await?;
        }
        Ok(())
    }

    async fn fill(&self, fill: &Fill) -> Result<Verdict, TierError> {
        exact([fill.entry.tau])?;
        let names = &self.names;
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
        let verdict = self.call(&call).await?.text()?;
        match verdict.as_str() {
            "accept" => Ok(Verdict::Accept),
            name => Refusal::from_name(name)
                .map(Verdict::Refuse)
                .ok_or_else(|| TierError::Malformed(format!("verdict {verdict:?}"))),
        }
    }

    async fn renew(&self, key: &Key, lease: LeaseToken, ttl: Duration) -> Result<bool, TierError> {
        let mut call = self.scripts.renew.prepare_invoke();
        call.key(&self.names.state).key(&self.names.tombstones).key(self.names.lease(key));
        call.arg(lease.0).arg(entry::millis(ttl));
        Ok(self.call(&call).await?.number()? == 1)
    }

    async fn release(&self, key: &Key, lease: LeaseToken) -> Result<(), TierError> {
        let mut call = self.scripts.release.prepare_invoke();
        call.key(&self.names.state).key(&self.names.tombstones).key(self.names.lease(key));
        call.arg(lease.0);
        self.call(&call).await.map(drop)
    }

    /// A batch of many subjects goes in pieces; each is atomic, and they chain.
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

    async fn incarnate(&self, epoch: Epoch, at: Lsn, watermark: Lsn) -> Result<(), TierError> {
        exact([at, watermark])?;
        let names = &self.names;
        let start = Batch { epoch, prev: at, upto: at, watermark, events: Vec::new() };
        let mut call = self.scripts.incarnate.prepare_invoke();
        call.key(&names.state).key(&names.tombstones).key(&names.evictions).key(&names.stream);
        call.arg(epoch.to_string()).arg(at.0).arg(watermark.0);
        call.arg(self.stream_length).arg(message::encode_batch(&start));
        self.call(&call).await.map(drop)
    }

    async fn standing(&self) -> Result<Option<Standing>, TierError> {
        let mut call = self.scripts.standing.prepare_invoke();
        call.key(&self.names.state).key(&self.names.tombstones);
        self.call(&call).await?.standing()
    }

    async fn collect(&self, upto: Lsn) -> Result<u64, TierError> {
        self.drop_tombstones(upto, MAX_LSN.0).await
    }

    async fn make_room(&self) -> Result<u64, TierError> {
        self.drop_tombstones(Lsn::ZERO, self.tombstones).await
    }

    fn subscribe(&self) -> mpsc::Receiver<NodeMessage> {
        let (messages, receiver) = mpsc::channel(BACKLOG);
        let subscription = Subscription {
            line: self.line.clone(),
            names: self.names.clone(),
            scripts: Arc::clone(&self.scripts),
            messages,
            metrics: self.metrics.clone(),
        };
        tokio::spawn(subscription.run());
        receiver
    }
}
