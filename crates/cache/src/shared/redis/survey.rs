//! Passes over all entries: `SCAN`, which Redis answers page by page, and a script that returns the valid
//! entries of a page. No step takes long, and a survey rests after each page, so other calls are not delayed.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use coherence::{Clock, Subject};
use contract::{Key, Pattern, Tag};
use redis_transport::reply_within;
use tokio::time::timeout;

use super::client::RedisClient;
use crate::shared::error::TierError;
use crate::survey::Survey;

/// Names per page of `SCAN`.
const NAMES_PER_PAGE: usize = 1_000;
/// Entries per script: less than a millisecond of Redis's time.
const ENTRIES_PER_CALL: usize = 200;
/// The time limit of one step. No reader waits for it.
const STEP_TIMEOUT: Duration = Duration::from_secs(2);
/// The longest rest of a survey after a page.
const REST_MAX: Duration = Duration::from_millis(50);
/// The time limit of a whole pass.
const PASS_TIMEOUT: Duration = Duration::from_secs(20);
/// The number of entries that are counted at most, since each has to be remembered.
const COUNT_MAX: usize = 1_000_000;

/// The entries found so far. `SCAN` may return one twice.
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

impl RedisClient {
    /// Counts the valid entries that the subjects concern.
    pub(super) async fn count_entries(&self, subjects: &[Subject]) -> Result<Survey, TierError> {
        let mut found = Found::default();
        let counting = async {
            for server in self.router.one_bucket_per_server() {
                let mut cursor = None;
                loop {
                    let begun = self.clock.mono();
                    let page = self.page(server, subjects, cursor).await?;
                    let Some((next, keys)) = page else { break };
                    keys.iter().for_each(|(_, key)| found.count(key));
                    if found.seen.len() >= COUNT_MAX {
                        found.survey.cut = true;
                        return Ok::<(), TierError>(());
                    }
                    cursor = Some(next);
                    // Half of the time belongs to other calls.
                    let rest = self.clock.mono().since(begun).min(REST_MAX);
                    tokio::time::sleep(rest).await;
                }
            }
            Ok(())
        };
        match timeout(PASS_TIMEOUT, counting).await {
            Ok(done) => done?,
            Err(_) => found.survey.cut = true,
        }
        Ok(found.survey)
    }

    /// Removes the entries that match the wildcards among the subjects.
    pub(super) async fn remove_wildcards(&self, subjects: &[Subject]) -> Result<(), TierError> {
        let wildcards: Vec<Subject> =
            subjects.iter().filter(|subject| subject.is_pattern()).cloned().collect();
        if wildcards.is_empty() {
            return Ok(());
        }
        let removing = async {
            for server in self.router.one_bucket_per_server() {
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
        timeout(PASS_TIMEOUT, removing).await.unwrap_or(Err(TierError::Timeout(PASS_TIMEOUT)))
    }

    /// Returns the cursor of the next page of the server that has the bucket `server`, and the valid
    /// entries on this page that the subjects concern, by bucket. `None`: the last page was read.
    async fn page(
        &self,
        server: usize,
        subjects: &[Subject],
        cursor: Option<u64>,
    ) -> Result<Option<(u64, Vec<(usize, Key)>)>, TierError> {
        if cursor == Some(0) {
            return Ok(None);
        }
        let mut connection = self.router.connected(server).await?.shared();
        let glob = self.buckets.names(0).entries_glob(only_pattern(subjects));
        let mut command = redis::cmd("SCAN");
        command.arg(cursor.unwrap_or(0)).arg("MATCH").arg(glob);
        command.arg("COUNT").arg(NAMES_PER_PAGE);
        let (next, page): (u64, Vec<Vec<u8>>) =
            reply_within(STEP_TIMEOUT, command.query_async(&mut connection)).await?;
        let parse = |name: &Vec<u8>| self.buckets.entry(str::from_utf8(name).ok()?);
        let mut keys: Vec<(usize, Key)> = page.iter().filter_map(parse).collect();
        if !subjects.iter().any(needs_tags) {
            keys.retain(|(_, key)| subjects.iter().any(|subject| subject.concerns(key, &[])));
        }
        keys.sort_by_key(|(bucket, _)| *bucket);
        let mut meant = Vec::new();
        for of_one in keys.chunk_by(|(one, _), (other, _)| one == other) {
            for keys in of_one.chunks(ENTRIES_PER_CALL) {
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

    /// Returns the tags of each entry of one bucket. `None`: the entry is not valid.
    async fn tags(&self, keys: &[(usize, Key)]) -> Result<Vec<Option<Vec<Tag>>>, TierError> {
        let bucket = keys[0].0;
        let names = self.buckets.names(bucket);
        let mut call = self.scripts.survey.prepare_invoke();
        call.key(&names.state).key(&names.tombstones).key(&names.evictions);
        for (_, key) in keys {
            call.key(names.entry(key));
        }
        let mut reply = self.call_within(STEP_TIMEOUT, bucket, &call).await?;
        let mut read = || {
            let line = reply.text()?;
            let tags = || line.split(' ').skip(1).map(|tag| Tag::parse(tag).ok()).collect();
            Ok(if line == "-" { None } else { tags() })
        };
        keys.iter().map(|_| read()).collect()
    }
}

/// Whether an entry's tags are needed to decide whether the subject concerns it.
fn needs_tags(subject: &Subject) -> bool {
    matches!(subject, Subject::Tag(_) | Subject::TagsLike(_))
}

/// Returns the pattern of keys, if it is the only subject: then Redis can filter by it.
fn only_pattern(subjects: &[Subject]) -> Option<&Pattern> {
    match subjects {
        [Subject::KeysLike(pattern)] => Some(pattern),
        _ => None,
    }
}
