//! Looking at every entry: `SCAN`, which Redis answers a page at a time, and a script that says which
//! of the page's entries count. No step takes long, so nobody waits for the whole.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use coherence::Subject;
use contract::{Key, Pattern, Tag};
use redis::FromRedisValue;
use tokio::time::timeout;

use super::super::TierError;
use super::RedisTier;
use super::reply::failed;
use crate::survey::Survey;

/// Names per page of `SCAN`.
const NAMES_AT_ONCE: usize = 1_000;
/// Entries per script; less than a millisecond of Redis's time.
const ENTRIES_AT_ONCE: usize = 200;
/// What one step may take: nobody reads by it.
const STEP: Duration = Duration::from_secs(2);
/// What all of it may take.
const WHOLE: Duration = Duration::from_secs(20);
/// More entries than this are not told apart, so no more are counted.
const COUNT_AT_MOST: usize = 1_000_000;

/// The entries found so far. `SCAN` may give one twice.
#[derive(Default)]
struct Found {
    survey: Survey,
    seen: HashSet<u64>,
    hasher: RandomState,
}

impl Found {
    fn count(&mut self, key: &Key) {
        if self.seen.insert(self.hasher.hash_one(key)) {
            self.survey.count(key);
        }
    }
}

impl RedisTier {
    /// Counts the entries that the subjects concern.
    pub(super) async fn count_entries(&self, subjects: &[Subject]) -> Result<Survey, TierError> {
        let mut found = Found::default();
        let counting = async {
            for server in self.lines.one_of_each() {
                let mut cursor = None;
                while let Some((next, keys)) = self.page(server, subjects, cursor).await? {
                    keys.iter().for_each(|(_, key)| found.count(key));
                    if found.seen.len() >= COUNT_AT_MOST {
                        found.survey.cut = true;
                        return Ok(());
                    }
                    cursor = Some(next);
                }
            }
            Ok(())
        };
        match timeout(WHOLE, counting).await {
            Ok(done) => done?,
            Err(_) => found.survey.cut = true,
        }
        Ok(found.survey)
    }

    /// Removes the entries that the wildcards among the subjects concern.
    pub(super) async fn sweep_wildcards(&self, subjects: &[Subject]) -> Result<(), TierError> {
        let wildcards: Vec<Subject> =
            subjects.iter().filter(|subject| subject.is_pattern()).cloned().collect();
        if wildcards.is_empty() {
            return Ok(());
        }
        let sweeping = async {
            for server in self.lines.one_of_each() {
                let mut cursor = None;
                while let Some((next, keys)) = self.page(server, &wildcards, cursor).await? {
                    for of_one in keys.chunk_by(|(one, _), (other, _)| one == other) {
                        let keys: Vec<&Key> = of_one.iter().map(|(_, key)| key).collect();
                        self.unlink(of_one[0].0, &keys).await?;
                    }
                    cursor = Some(next);
                }
            }
            Ok(())
        };
        timeout(WHOLE, sweeping).await.unwrap_or(Err(TierError::Timeout(WHOLE)))
    }

    /// The next page behind `cursor` of the server that has the bucket `server`, and the entries on it
    /// that count and are meant, by bucket; `None` behind the last one.
    async fn page(
        &self,
        server: usize,
        subjects: &[Subject],
        cursor: Option<u64>,
    ) -> Result<Option<(u64, Vec<(usize, Key)>)>, TierError> {
        if cursor == Some(0) {
            return Ok(None);
        }
        let mut connection = self.lines.up(server).await?.connection;
        let glob = self.buckets.names(0).entries(only_pattern(subjects));
        let mut command = redis::cmd("SCAN");
        command.arg(cursor.unwrap_or(0)).arg("MATCH").arg(glob);
        command.arg("COUNT").arg(NAMES_AT_ONCE);
        let (next, page): (u64, Vec<Vec<u8>>) =
            within(command.query_async(&mut connection)).await?;
        let ours = |name: &Vec<u8>| self.buckets.entry(str::from_utf8(name).ok()?);
        let mut keys: Vec<(usize, Key)> = page.iter().filter_map(ours).collect();
        if !subjects.iter().any(asks_for_tags) {
            keys.retain(|(_, key)| subjects.iter().any(|subject| subject.concerns(key, &[])));
        }
        keys.sort_by_key(|(bucket, _)| *bucket);
        let mut meant = Vec::new();
        for of_one in keys.chunk_by(|(one, _), (other, _)| one == other) {
            for keys in of_one.chunks(ENTRIES_AT_ONCE) {
                let counting = keys.iter().zip(self.tags(keys).await?);
                meant.extend(counting.filter_map(|(entry, tags)| {
                    let tags = tags?;
                    let concerned =
                        subjects.iter().any(|subject| subject.concerns(&entry.1, &tags));
                    concerned.then(|| entry.clone())
                }));
            }
        }
        Ok(Some((next, meant)))
    }

    /// The tags of each of the entries, which are of one bucket; `None` where none counts.
    async fn tags(&self, keys: &[(usize, Key)]) -> Result<Vec<Option<Vec<Tag>>>, TierError> {
        let bucket = keys[0].0;
        let names = self.buckets.names(bucket);
        let mut call = self.scripts.survey.prepare_invoke();
        call.key(&names.state).key(&names.tombstones).key(&names.evictions);
        for (_, key) in keys {
            call.key(names.entry(key));
        }
        let mut reply = self.call_within(STEP, bucket, &call).await?;
        let mut read = || {
            let line = reply.text()?;
            let tags = || line.split(' ').skip(1).map(|tag| Tag::parse(tag).ok()).collect();
            Ok(if line == "-" { None } else { tags() })
        };
        keys.iter().map(|_| read()).collect()
    }
}

/// Whether an entry's tags have to be known.
fn asks_for_tags(subject: &Subject) -> bool {
    matches!(subject, Subject::Tag(_) | Subject::TagsLike(_))
}

/// The one pattern of keys that all is about, if there is one: then Redis can leave out the others.
fn only_pattern(subjects: &[Subject]) -> Option<&Pattern> {
    match subjects {
        [Subject::KeysLike(pattern)] => Some(pattern),
        _ => None,
    }
}

async fn within<T: FromRedisValue>(
    asked: impl Future<Output = redis::RedisResult<T>>,
) -> Result<T, TierError> {
    match timeout(STEP, asked).await {
        Ok(done) => done.map_err(|err| failed(&err, STEP)),
        Err(_) => Err(TierError::Timeout(STEP)),
    }
}
