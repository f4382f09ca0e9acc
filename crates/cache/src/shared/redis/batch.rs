//! Calls with many keys: reads, touches, chunks of the log, evictions. One script per bucket, all sent at
//! once.

use std::collections::HashMap;
use std::time::Duration;

use coherence::fence::Gap;
use coherence::{Batch, Clock, LeaseToken, Subject, buckets};
use contract::Key;
use futures_util::future::join_all;

use super::client::{RedisClient, Unusable};
use super::reply::ScriptOutcome;
use super::signatures::{Code, Term};
use super::{entry_format, message};
use crate::entry::Entry;
use crate::shared::error::TierError;
use crate::shared::eviction_stamps;
use crate::shared::tier::{Outcome, SharedRead, Touch};

/// Keys read or touched per script.
const KEYS_PER_CALL: usize = 256;

/// The time that a chunk of the log has for each of its subjects, beside that of a lookup: four times what a server that
/// shares its core needs. A script that is given up goes on in the server, so that repeats of it would only add work.
const TIME_PER_SUBJECT: Duration = Duration::from_micros(200);

/// The use of an entry that is read.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Purpose {
    Answer,
    /// The auditor compares it with the database.
    Inspection,
}

/// The result of a lookup, or why its entry has to be removed first.
type KeyRead = Result<SharedRead, Unusable>;

impl RedisClient {
    pub(super) async fn read(
        &self,
        key: &Key,
        lease: Option<Duration>,
    ) -> Result<SharedRead, TierError> {
        self.read_for(Purpose::Answer, key, lease).await
    }

    /// Reads a key as [`read`](Self::read) does without a lease, also past the signed end of its life.
    pub(super) async fn inspect(&self, key: &Key) -> Result<SharedRead, TierError> {
        self.read_for(Purpose::Inspection, key, None).await
    }

    async fn read_for(
        &self,
        purpose: Purpose,
        key: &Key,
        lease: Option<Duration>,
    ) -> Result<SharedRead, TierError> {
        for _ in 0..2 {
            let bucket = self.buckets.of(key);
            match self.read_bucket(purpose, bucket, &[key], &[], lease).await?.pop() {
                Some(Ok(read)) => return Ok(read),
                Some(Err(why)) => self.remove_unusable(key, why).await?,
                None => break,
            }
        }
        Err(TierError::Malformed(format!("entry {key}, again after its removal")))
    }

    pub(super) async fn read_many(
        &self,
        keys: &[Key],
        touches: &[Option<Touch>],
        lease: Option<Duration>,
    ) -> Result<Vec<SharedRead>, TierError> {
        let groups = self.buckets.group(keys, KEYS_PER_CALL);
        let mut calls = Vec::with_capacity(groups.len());
        for (bucket, indices) in &groups {
            let keys: Vec<&Key> = indices.iter().map(|n| &keys[*n]).collect();
            let touches: Vec<_> =
                indices.iter().map(|n| touches.get(*n).copied().flatten()).collect();
            calls.push(async move {
                self.read_bucket(Purpose::Answer, *bucket, &keys, &touches, lease).await
            });
        }
        let replies = join_all(calls).await;
        let all_failed = replies.iter().all(Result::is_err);
        let mut reads = vec![None; keys.len()];
        for ((_, indices), reply) in groups.iter().zip(replies) {
            let reply = match reply {
                Err(err) if all_failed => return Err(err),
                Err(_) => {
                    let read = SharedRead { position: None, outcome: Outcome::Miss };
                    vec![Ok(read); indices.len()]
                }
                Ok(reply) => reply,
            };
            for (n, read) in indices.iter().zip(reply) {
                reads[*n] = Some(match read {
                    Ok(read) => read,
                    Err(why) => {
                        self.remove_unusable(&keys[*n], why).await?;
                        self.read(&keys[*n], lease).await?
                    }
                });
            }
        }
        Ok(reads.into_iter().map(|read| read.expect("each key is in one bucket")).collect())
    }

    /// Reads keys of one bucket in one state, and touches those with a [`Touch`].
    async fn read_bucket(
        &self,
        purpose: Purpose,
        bucket: usize,
        keys: &[&Key],
        touches: &[Option<Touch>],
        lease: Option<Duration>,
    ) -> Result<Vec<KeyRead>, TierError> {
        let names = self.buckets.names(bucket);
        let mut call = self.scripts.read.prepare_invoke();
        call.key(&names.state).key(&names.tombstones).key(&names.evictions);
        match lease {
            Some(ttl) => call.arg(entry_format::millis(ttl)),
            None => call.arg(""),
        };
        let mut tokens = Vec::with_capacity(keys.len());
        for (at, key) in keys.iter().enumerate() {
            // Drawn here: unlike a counter in Redis, it does not start again after a flush.
            let token = LeaseToken(rand::random());
            call.key(names.entry(key)).key(names.lease(key)).arg(token.0);
            match touches.get(at).copied().flatten() {
                Some(touch) => call.arg(encode_touch(touch)),
                None => call.arg(""),
            };
            tokens.push(token);
        }
        let mut reply = self.call(bucket, &call).await?;
        let position = reply.position()?;
        let mut reads = Vec::with_capacity(keys.len());
        for (at, token) in tokens.into_iter().enumerate() {
            let outcome = match position {
                None => Ok(Outcome::Miss),
                Some(_) => match reply.outcome(token)? {
                    ScriptOutcome::Other(outcome) => Ok(outcome),
                    ScriptOutcome::Found { raw, remaining } => {
                        let touch = touches.get(at).copied().flatten();
                        self.decode(purpose, names.entry(keys[at]), raw, touch).map(|entry| {
                            match entry {
                                Some(entry) => Outcome::Found { entry, remaining },
                                None => Outcome::Miss,
                            }
                        })
                    }
                },
            };
            reads.push(outcome.map(|outcome| SharedRead { position, outcome }));
        }
        Ok(reads)
    }

    /// Verifies and parses an entry. `None`: it is of no use to this node, and may be to others.
    fn decode(
        &self,
        purpose: Purpose,
        name: String,
        mut raw: Vec<u8>,
        touch: Option<Touch>,
    ) -> Result<Option<Entry>, Unusable> {
        let refused = |why| {
            self.refuse(&name, why);
            if why.is_useless() { Err(Unusable::Refused) } else { Ok(None) }
        };
        let term = match self.signatures.open(&name, &mut raw) {
            Ok(term) => term,
            Err(why) => return refused(why),
        };
        let entry = entry_format::decode(raw).ok_or(Unusable::Malformed)?;
        // An inspection does not know how far a sliding TTL may have prolonged the life.
        if let Some(term) = term.filter(|_| purpose == Purpose::Answer) {
            let longest = touch.map_or(0, |touch| {
                let lifetime = u64::try_from(touch.max_lifetime.as_millis()).unwrap_or(u64::MAX);
                entry.loaded_wall_ms.saturating_add(lifetime)
            });
            if let Err(why) = term.check(self.clock.wall_ms(), longest) {
                return refused(why);
            }
        }
        Ok(Some(entry))
    }

    /// Returns an entry as the scripts complete it: the part after its stamp, signed.
    pub(super) fn encode(&self, name: &str, epoch: &str, entry: &Entry) -> Vec<u8> {
        let mut content = entry_format::encode(entry);
        let expires_ms = self.clock.wall_ms().saturating_add(entry_format::millis(entry.ttl));
        let term = Term { tau: entry.tau, expires_ms };
        self.signatures.seal(name, epoch, term, &mut content);
        content
    }

    pub(super) async fn touch(&self, uses: &[(Key, Touch)]) -> Result<(), TierError> {
        let mut calls = Vec::new();
        let keys = uses.iter().map(|(key, _)| key);
        for (bucket, indices) in self.buckets.group(keys, KEYS_PER_CALL) {
            let names = self.buckets.names(bucket);
            let mut call = self.scripts.touch.prepare_invoke();
            call.key(&names.state).key(&names.tombstones).key(&names.evictions);
            for (key, touch) in indices.iter().map(|n| &uses[*n]) {
                call.key(names.entry(key)).arg(encode_touch(*touch));
            }
            calls.push(async move { self.call(bucket, &call).await.map(drop) });
        }
        join_all(calls).await.into_iter().collect()
    }

    /// Applies a chunk to all buckets, and last to the first bucket, which publishes it. Another bucket that
    /// can't be reached delays nothing: its position shows the gap. `message`: the chunk's, signed; `in_flight`: the
    /// number of chunks that are on their way, this one included, for each of which the tier has its [time](chunk_limit).
    pub(super) async fn apply_chunk(
        &self,
        chunk: &Batch,
        message: &str,
        in_flight: u32,
    ) -> Result<Result<(), Gap>, TierError> {
        let limit = chunk_limit(self.timeout, chunk) * in_flight;
        let calls =
            self.buckets.rest().map(|bucket| self.apply_to_bucket(bucket, chunk, "", limit));
        let (mut verdicts, mut unreachable) = (Vec::new(), Vec::new());
        for reply in join_all(calls).await {
            match reply {
                Ok(verdict) => verdicts.push(verdict),
                Err(err @ (TierError::Timeout(_) | TierError::Unavailable(_))) => {
                    unreachable.push(err);
                }
                Err(err) => return Err(err),
            }
        }
        let before = self.metrics.buckets_unreachable.set(unreachable.len() as i64);
        match unreachable.first() {
            Some(err) if before == 0 => {
                let buckets = unreachable.len();
                tracing::warn!(error = %err, buckets, "parts of the shared tier are away");
            }
            None if before > 0 => {
                tracing::info!("all parts of the shared tier can be reached again")
            }
            _ => {}
        }
        if let Err(gap) = buckets::worst_gap(verdicts) {
            return Ok(Err(gap));
        }
        self.apply_to_bucket(0, chunk, message, limit).await
    }

    /// Returns the message of a chunk, signed, and its signature. `after`: the signature of the chunk before it in
    /// the same batch.
    pub(super) fn batch_message(
        &self,
        chunk: &Batch,
        after: Option<Code>,
    ) -> (String, Option<Code>) {
        let (stream, text) = (&self.buckets.names(0).stream, message::encode_batch(chunk));
        self.signatures.sign_text(stream, "batch", after, text)
    }

    async fn apply_to_bucket(
        &self,
        bucket: usize,
        chunk: &Batch,
        message: &str,
        limit: Duration,
    ) -> Result<Result<(), Gap>, TierError> {
        let names = self.buckets.names(bucket);
        let mut call = self.scripts.apply.prepare_invoke();
        call.key(&names.state).key(&names.tombstones).key(&names.evictions).key(&names.stream);
        let (epoch, format) = (chunk.epoch.to_string(), self.signatures.format(false));
        call.arg(format!("{epoch} {} {format}", chunk.coverage)).arg(chunk.prev.0);
        call.arg(chunk.upto.0);
        call.arg(chunk.watermark.0);
        let subjects = || {
            let of = |event: &'_ coherence::Event| event.lsn.0;
            chunk.events.iter().flat_map(move |e| e.subjects.iter().map(move |s| (s, of(e))))
        };
        let everything = subjects().filter(|(subject, _)| **subject == Subject::Everything);
        call.arg(everything.map(|(_, lsn)| lsn).max().unwrap_or(0));
        call.arg(self.stream_length).arg(message);
        for event in &chunk.events {
            for subject in &event.subjects {
                if let Subject::Key(key) = subject
                    && self.buckets.of(key) == bucket
                {
                    let name = names.entry(key);
                    call.key(&name).arg(event.lsn.0);
                    match event.renewal(key) {
                        Some(renewal) => {
                            let entry = Entry::renewed(event, renewal);
                            let entry = self.encode(&name, &epoch, &entry);
                            call.arg(entry_format::millis(renewal.ttl)).arg(entry)
                        }
                        None => call.arg(0).arg(""),
                    };
                }
            }
        }
        // Many rows of a backlog share a tag; only its newest event counts.
        let mut newest = HashMap::new();
        for (subject, lsn) in subjects() {
            if matches!(subject, Subject::Tag(_)) || subject.is_pattern() {
                let newest = newest.entry(subject).or_insert(lsn);
                *newest = lsn.max(*newest);
            }
        }
        for (subject, lsn) in newest {
            call.arg(subject.to_string()).arg(lsn);
        }
        let mut reply = self.call_with_room_within(limit, bucket, &call).await?;
        match reply.text()?.as_str() {
            "applied" => Ok(Ok(())),
            "unproven" => Ok(Err(Gap::Unproven)),
            "epoch" => {
                let tier = reply.text()?;
                // A state with a malformed epoch counts as no state.
                Ok(Err(tier.parse().map_or(Gap::Unproven, |tier| Gap::Epoch { tier })))
            }
            "coverage" => Ok(Err(Gap::Coverage { tier: reply.coverage()? })),
            "missing" => Ok(Err(Gap::Missing { applied: reply.lsn()?, prev: chunk.prev })),
            other => Err(TierError::Malformed(format!("verdict {other:?}"))),
        }
    }

    /// Evicts from the buckets that the subjects concern, and last from the first bucket, which publishes the
    /// message.
    pub(super) async fn evict_chunk(&self, subjects: &[Subject]) -> Result<(), TierError> {
        let concerned = |bucket: &usize| {
            subjects.iter().any(|subject| match subject {
                Subject::Key(key) => self.buckets.of(key) == *bucket,
                Subject::Tag(_) | Subject::Everything => true,
                Subject::KeysLike(_) | Subject::TagsLike(_) => false,
            })
        };
        let buckets = self.buckets.rest().filter(concerned);
        let calls = buckets.map(|bucket| self.evict_from_bucket(bucket, subjects));
        let rest: Result<(), TierError> = join_all(calls).await.into_iter().collect();
        self.evict_from_bucket(0, subjects).await.and(rest)
    }

    async fn evict_from_bucket(
        &self,
        bucket: usize,
        subjects: &[Subject],
    ) -> Result<(), TierError> {
        let names = self.buckets.names(bucket);
        let everything = subjects.contains(&Subject::Everything);
        let mut call = self.scripts.evict.prepare_invoke();
        call.key(&names.state).key(&names.tombstones).key(&names.evictions).key(&names.stream);
        let message = if bucket == 0 {
            let text = message::encode_evict(subjects);
            self.signatures.sign_text(&names.stream, "evict", None, text).0
        } else {
            String::new()
        };
        call.arg(self.stream_length).arg(message);
        call.arg(eviction_stamps::LIMIT).arg(if everything { "1" } else { "" });
        for subject in subjects {
            match subject {
                Subject::Key(key) if self.buckets.of(key) == bucket => call.key(names.entry(key)),
                Subject::Tag(tag) => call.arg(tag.as_str()),
                _ => &mut call,
            };
        }
        self.call_with_room(bucket, &call).await.map(drop)
    }
}

/// Returns the time that a server has for the script of a chunk.
fn chunk_limit(lookup: Duration, chunk: &Batch) -> Duration {
    let subjects: usize = chunk.events.iter().map(|event| event.subjects.len()).sum();
    lookup + TIME_PER_SUBJECT * u32::try_from(subjects).unwrap_or(u32::MAX)
}

/// Encodes a touch for the scripts: the maximum lifetime in ms (0: unlimited), and the position.
fn encode_touch(touch: Touch) -> String {
    let limited = touch.max_lifetime != Duration::MAX;
    let max_lifetime = if limited { entry_format::millis(touch.max_lifetime) } else { 0 };
    format!("{max_lifetime} {}", touch.proven_from.0)
}

#[cfg(test)]
mod tests {
    use coherence::{Cause, CoverageDigest, Epoch, Event, Lsn};

    use super::*;

    #[test]
    fn large_chunk_has_more_time_than_lookup() {
        let epoch = Epoch { system: 1, timeline: 1, server: 1, incarnation: 1 };
        let chunk = |subjects: usize| {
            let subjects = vec![Subject::Everything; subjects];
            let cause = Cause::Commit;
            let event =
                Event { lsn: Lsn(1), cause, committed_us: 0, subjects, renewals: Vec::new() };
            let (prev, coverage) = (Lsn(0), CoverageDigest::NONE);
            Batch { epoch, prev, upto: Lsn(1), watermark: Lsn(1), coverage, events: vec![event] }
        };
        let lookup = Duration::from_millis(50);
        assert_eq!(chunk_limit(lookup, &chunk(0)), lookup);
        assert_eq!(chunk_limit(lookup, &chunk(1_000)), Duration::from_millis(250));
    }
}
