//! Memory for invalidations in a Redis that is full.
//!
//! With `noeviction` Redis refuses every write once its memory is used up, and with `volatile-*` too where no key with an
//! expiry is left. An invalidation may not wait for that: entries are removed until it can be written.

use std::sync::atomic::Ordering;
use std::time::Duration;

use coherence::Clock;
use contract::Key;
use redis::ScriptInvocation;
use redis_transport::reply_within;
use tokio::time::timeout;

use super::client::RedisClient;
use super::reply::Reply;
use super::room::Memory;
use crate::shared::error::TierError;

/// Names per page of `SCAN`.
const NAMES_PER_PAGE: usize = 500;
/// The time limit of one step, and of all.
const STEP_TIMEOUT: Duration = Duration::from_secs(1);
const FREE_TIMEOUT: Duration = Duration::from_secs(5);
/// Attempts to write before the error is returned. Others may fill the memory that was freed.
const ATTEMPTS: usize = 4;
/// Redis releases large values in the background.
const RELEASE_PAUSE: Duration = Duration::from_millis(2);

impl RedisClient {
    /// Runs a script that writes an invalidation, or the state of the fence. In a full Redis entries are removed until
    /// it can be written.
    pub(super) async fn call_with_room(
        &self,
        bucket: usize,
        call: &ScriptInvocation<'_>,
    ) -> Result<Reply, TierError> {
        self.call_with_room_within(self.timeout, bucket, call).await
    }

    /// As [`call_with_room`](Self::call_with_room), with another time limit for each attempt.
    pub(super) async fn call_with_room_within(
        &self,
        limit: Duration,
        bucket: usize,
        call: &ScriptInvocation<'_>,
    ) -> Result<Reply, TierError> {
        for _ in 0..ATTEMPTS {
            match self.call_within(limit, bucket, call).await {
                Err(TierError::Full(_)) => self.free_entries(bucket).await?,
                reply => return reply,
            }
        }
        self.call_within(limit, bucket, call).await
    }

    /// Removes entries of the bucket's server until a tenth of its memory is free.
    async fn free_entries(&self, bucket: usize) -> Result<(), TierError> {
        let _busy = self.room.busy.lock().await;
        let mut removed = 0;
        let freeing = async {
            let mut passes = 0;
            loop {
                let memory = self.memory(bucket).await?;
                if memory.is_free() {
                    return Ok(memory);
                }
                let keys = self.next_page(bucket, &mut passes).await?;
                if passes > 1 && removed == 0 {
                    return Err(TierError::Full(format!(
                        "{} MiB are used, and none of them by entries; raise maxmemory",
                        memory.used >> 20
                    )));
                }
                for of_one in keys.chunk_by(|(one, _), (other, _)| one == other) {
                    let names: Vec<&Key> = of_one.iter().map(|(_, key)| key).collect();
                    self.unlink(of_one[0].0, &names).await?;
                    removed += names.len();
                }
                if passes > 1 {
                    return Ok(memory);
                }
                tokio::time::sleep(RELEASE_PAUSE).await;
            }
        };
        let freed = timeout(FREE_TIMEOUT, freeing).await;
        self.metrics.freed.inc_by(removed as u64);
        let memory = freed.unwrap_or(Err(TierError::Timeout(FREE_TIMEOUT)))?;
        self.log_freed(removed, &memory);
        Ok(())
    }

    /// Returns the entries on the next page of the bucket's server, by bucket. Counts the ends of passes.
    async fn next_page(
        &self,
        bucket: usize,
        passes: &mut u32,
    ) -> Result<Vec<(usize, Key)>, TierError> {
        let cursor = &self.room.cursors[bucket];
        let mut connection = self.router.connected(bucket).await?.shared();
        let mut command = redis::cmd("SCAN");
        command.arg(cursor.load(Ordering::Relaxed));
        command.arg("MATCH").arg(self.buckets.names(0).entries_glob(None));
        command.arg("COUNT").arg(NAMES_PER_PAGE);
        let (next, page): (u64, Vec<Vec<u8>>) =
            reply_within(STEP_TIMEOUT, command.query_async(&mut connection)).await?;
        cursor.store(next, Ordering::Relaxed);
        *passes += u32::from(next == 0);
        let parse = |name: &Vec<u8>| self.buckets.entry(str::from_utf8(name).ok()?);
        let mut keys: Vec<(usize, Key)> = page.iter().filter_map(parse).collect();
        keys.sort_by_key(|(bucket, _)| *bucket);
        Ok(keys)
    }

    async fn memory(&self, bucket: usize) -> Result<Memory, TierError> {
        let mut connection = self.router.connected(bucket).await?.shared();
        let mut command = redis::cmd("INFO");
        command.arg("memory");
        let info: String = reply_within(STEP_TIMEOUT, command.query_async(&mut connection)).await?;
        Memory::parse(&info).ok_or_else(|| {
            TierError::Malformed("INFO has no used_memory or no maxmemory".to_owned())
        })
    }

    fn log_freed(&self, entries: usize, memory: &Memory) {
        if !self.room.is_line_due(self.clock.wall_ms()) {
            return;
        }
        let Memory { used, max, policy } = memory;
        tracing::warn!(
            entries,
            used,
            maxmemory = max,
            policy,
            "Redis was full: removed entries to write an invalidation. Raise maxmemory, or let Redis evict: \
             CONFIG SET maxmemory-policy volatile-lru"
        );
    }
}
