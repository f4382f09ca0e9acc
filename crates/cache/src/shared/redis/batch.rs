//! What concerns many keys: reads, pieces of the log, evictions. One script in each bucket, all of them
//! sent at once.

use std::time::Duration;

use coherence::fence::Gap;
use coherence::{Batch, LeaseToken, Subject, buckets};
use contract::Key;

use super::super::{Outcome, SharedRead, Slide, TierError, marks};
use super::{READ_AT_ONCE, RedisTier, entry, message};
use crate::entry::Entry;
use crate::together::together;

impl RedisTier {
    /// Reads keys of one bucket in one state of it; those with a [`Slide`] live on. `None` in an entry's
    /// place: it is not of our making.
    pub(super) async fn read_once(
        &self,
        bucket: usize,
        keys: &[&Key],
        slides: &[Option<Slide>],
        lease: Option<Duration>,
    ) -> Result<Vec<Option<SharedRead>>, TierError> {
        let names = self.buckets.names(bucket);
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
        let mut reply = self.call(bucket, &call).await?;
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

    pub(super) async fn read_all(
        &self,
        keys: &[Key],
        slides: &[Option<Slide>],
        lease: Option<Duration>,
    ) -> Result<Vec<SharedRead>, TierError> {
        let parts = self.buckets.sort(keys, READ_AT_ONCE);
        let mut reading = Vec::with_capacity(parts.len());
        for (bucket, numbers) in &parts {
            let keys: Vec<&Key> = numbers.iter().map(|n| &keys[*n]).collect();
            let slides: Vec<_> =
                numbers.iter().map(|n| slides.get(*n).copied().flatten()).collect();
            reading.push(async move { self.read_once(*bucket, &keys, &slides, lease).await });
        }
        let answers = together(reading).await;
        let nobody = answers.iter().all(Result::is_err);
        let mut reads = vec![None; keys.len()];
        for ((_, numbers), answer) in parts.iter().zip(answers) {
            let answer = match answer {
                Err(err) if nobody => return Err(err),
                Err(_) => {
                    let read = SharedRead { standing: None, outcome: Outcome::Miss };
                    vec![Some(read); numbers.len()]
                }
                Ok(answer) => answer,
            };
            for (n, read) in numbers.iter().zip(answer) {
                reads[*n] = Some(match read {
                    Some(read) => read,
                    None => {
                        self.discard(&keys[*n]).await?;
                        super::SharedTier::read(self, &keys[*n], lease).await?
                    }
                });
            }
        }
        Ok(reads.into_iter().map(|read| read.expect("each key is in one bucket")).collect())
    }

    /// Removes an entry that the scripts take for ours and this side does not.
    pub(super) async fn discard(&self, key: &Key) -> Result<(), TierError> {
        self.metrics.malformed.inc();
        tracing::warn!(%key, "removing an entry of foreign making");
        self.unlink(self.buckets.of(key), &[key]).await
    }

    /// To all buckets, and last to the first one, which publishes it. One of the others that can't be
    /// reached holds up nobody: it shows by its position what it has missed.
    pub(super) async fn apply_piece(&self, piece: &Batch) -> Result<Result<(), Gap>, TierError> {
        let telling = self.buckets.rest().map(|bucket| self.apply_in(bucket, piece));
        let (mut met, mut away) = (Vec::new(), Vec::new());
        for told in together(telling).await {
            match told {
                Ok(told) => met.push(told),
                Err(err @ (TierError::Timeout(_) | TierError::Unavailable(_))) => {
                    away.push(err);
                }
                Err(err) => return Err(err),
            }
        }
        let before = self.metrics.buckets_away.set(away.len() as i64);
        match away.first() {
            Some(err) if before == 0 => {
                tracing::warn!(error = %err, buckets = away.len(), "parts of the shared tier are away");
            }
            None if before > 0 => {
                tracing::info!("all parts of the shared tier can be reached again")
            }
            _ => {}
        }
        if let Err(gap) = buckets::verdict(met) {
            return Ok(Err(gap));
        }
        self.apply_in(0, piece).await
    }

    async fn apply_in(&self, bucket: usize, piece: &Batch) -> Result<Result<(), Gap>, TierError> {
        let names = self.buckets.names(bucket);
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
        let published = if bucket == 0 { message::encode_batch(piece) } else { String::new() };
        call.arg(self.stream_length).arg(published);
        for event in &piece.events {
            for subject in &event.subjects {
                if let Subject::Key(key) = subject
                    && self.buckets.of(key) == bucket
                {
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
        let mut reply = self.call(bucket, &call).await?;
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

    /// In the buckets that have something of it, and last in the first one, which publishes it.
    pub(super) async fn evict_piece(&self, subjects: &[Subject]) -> Result<(), TierError> {
        let meant = |bucket: &usize| {
            subjects.iter().any(|subject| match subject {
                Subject::Key(key) => self.buckets.of(key) == *bucket,
                Subject::Tag(_) | Subject::Everything => true,
                Subject::KeysLike(_) | Subject::TagsLike(_) => false,
            })
        };
        let evicting = self.buckets.rest().filter(meant).map(|n| self.evict_in(n, subjects));
        let rest: Result<(), TierError> = together(evicting).await.into_iter().collect();
        self.evict_in(0, subjects).await.and(rest)
    }

    async fn evict_in(&self, bucket: usize, subjects: &[Subject]) -> Result<(), TierError> {
        let names = self.buckets.names(bucket);
        let everything = subjects.contains(&Subject::Everything);
        let mut call = self.scripts.evict.prepare_invoke();
        call.key(&names.state).key(&names.tombstones).key(&names.evictions).key(&names.stream);
        let published = if bucket == 0 { message::encode_evict(subjects) } else { String::new() };
        call.arg(self.stream_length).arg(published);
        call.arg(marks::LIMIT).arg(if everything { "1" } else { "" });
        for subject in subjects {
            match subject {
                Subject::Key(key) if self.buckets.of(key) == bucket => call.key(names.entry(key)),
                Subject::Tag(tag) => call.arg(tag.as_str()),
                _ => &mut call,
            };
        }
        self.call(bucket, &call).await.map(drop)
    }
}

/// As the scripts take it: the longest life in ms (0: without limit), and the position.
pub(super) fn asked(slide: Slide) -> String {
    let limited = slide.longest != Duration::MAX;
    let longest = if limited { entry::millis(slide.longest) } else { 0 };
    format!("{longest} {}", slide.proven_from.0)
}
