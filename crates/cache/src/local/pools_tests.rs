use std::time::Duration;

use bytes::Bytes;
use coherence::{Lsn, Mono, Subject};
use contract::{Class, Tag};

use super::entry::{EntryPolicy, LocalEntry};
use super::pools::{Assured, PoolStatus};
use super::tests::{EPOCH, batch, key, local_of};
use super::tier::Local;
use crate::entry::{Content, Entry, Value};

const LIMIT: u64 = 8 << 20;

/// Critical entries are assured of a quarter of the limit.
const QUARTER: Assured = Assured { critical: LIMIT / 4, standard: 0, ephemeral: 0 };

fn entry(id: u32, pool: Class, bytes: usize, tags: &[&str]) -> LocalEntry {
    let value = Value { head: Bytes::new(), body: vec![b'x'; bytes].into() };
    let entry = Entry {
        tau: Lsn(10),
        content: Content::Present(value),
        tags: tags.iter().map(|tag| Tag::parse(tag).unwrap()).collect(),
        loaded_wall_ms: 0,
        changes_at: None,
        cost_us: 0,
        ttl: Duration::from_secs(60),
        seen: Lsn(10),
        definition: 0,
    };
    let policy = EntryPolicy { soft_allowed: false, age_bound: false, pool };
    LocalEntry::new(&key(id), &entry, Mono(0), Mono(u64::MAX), false, policy)
}

fn fill(local: &Local, ids: std::ops::Range<u32>, pool: Class, bytes: usize) {
    for id in ids {
        local.fill(&key(id), entry(id, pool, bytes, &["all"]), EPOCH, &[]);
    }
}

/// Fills and reads each entry several times: the store resists a mere scan.
fn flood(local: &Local, ids: std::ops::Range<u32>, pool: Class) {
    for id in ids {
        fill(local, id..id + 1, pool, 700);
        for again in [id, id, id.saturating_sub(50)] {
            local.get(&key(again));
        }
    }
}

fn served(local: &Local, ids: std::ops::Range<u32>) -> usize {
    ids.filter(|id| local.peek(&key(*id)).is_some()).count()
}

/// Asserts that the accounts agree with the store and that the limit holds.
fn check(local: &Local) -> [PoolStatus; 3] {
    let status = local.status(Mono(0));
    let pools = status.pools;
    assert_eq!(pools.iter().map(|pool| pool.bytes).sum::<u64>(), status.bytes);
    assert_eq!(pools.iter().map(|pool| pool.entries).sum::<u64>(), status.entries as u64);
    assert_eq!(pools.iter().map(|pool| pool.evictions).sum::<u64>(), status.evictions);
    assert!(status.bytes <= LIMIT, "{} bytes", status.bytes);
    let indexed = local.writer.lock().index.keys("all").len();
    assert_eq!(indexed, status.entries);
    pools
}

#[test]
fn ephemeral_flood_evicts_no_critical_entry() {
    let flooded = |assured| {
        let local = local_of(LIMIT, assured);
        fill(&local, 0..1_000, Class::Critical, 700);
        flood(&local, 1_000..40_000, Class::Ephemeral);
        let pools = check(&local);
        (served(&local, 0..1_000), pools)
    };
    let (kept, [critical, _, ephemeral]) = flooded(QUARTER);
    assert_eq!(kept, 1_000);
    assert_eq!((critical.entries, critical.evictions), (1_000, 0));
    assert!(ephemeral.evictions > 15_000, "{ephemeral:?}");
    assert!(ephemeral.bytes > LIMIT / 2, "it uses the memory that the others leave: {ephemeral:?}");
    let (kept, _) = flooded(Assured::default());
    assert!(kept < 1_000, "nothing is assured by default");
}

#[test]
fn pool_beyond_its_share_competes() {
    let local = local_of(LIMIT, QUARTER);
    flood(&local, 0..30_000, Class::Critical);
    let [critical, ..] = check(&local);
    assert!(critical.bytes > LIMIT / 2, "it uses the memory that the others leave: {critical:?}");
    flood(&local, 30_000..90_000, Class::Standard);
    let [critical, standard, _] = check(&local);
    assert!(critical.bytes > LIMIT / 5, "down to its share and no further: {critical:?}");
    assert!(standard.bytes > LIMIT / 2, "{standard:?}");
    let assured = critical.assured_bytes;
    flood(&local, 90_000..120_000, Class::Critical);
    let [critical, ..] = check(&local);
    assert!(critical.bytes >= assured, "and gets it back: {critical:?}");
}

#[test]
fn limit_holds_for_large_assured_entries() {
    for bytes in [10, 5_000, 400_000, 1 << 20, 3 << 20] {
        let assured = Assured { critical: LIMIT / 2, standard: LIMIT * 2 / 5, ephemeral: 0 };
        let local = local_of(LIMIT, assured);
        let count = (4 * LIMIT as usize / (bytes + 500)) as u32;
        for id in 0..count {
            let pool = [Class::Critical, Class::Standard, Class::Ephemeral][id as usize % 3];
            local.fill(&key(id), entry(id, pool, bytes, &["all"]), EPOCH, &[]);
            if bytes > 4_000 {
                check(&local);
            }
        }
        check(&local);
    }
}

#[test]
fn accounts_follow_every_change() {
    let local = local_of(LIMIT, QUARTER);
    fill(&local, 0..100, Class::Critical, 10);
    fill(&local, 0..100, Class::Critical, 2_000);
    let [critical, ..] = check(&local);
    assert_eq!((critical.entries, critical.evictions), (100, 0), "replaced, not evicted");
    let invalidation = |id| batch(10, 11, vec![Subject::Key(key(id))]);
    local.apply(&invalidation(3), Mono(1), true);
    local.evict(&[Subject::Key(key(4))]);
    assert_eq!(check(&local)[0].entries, 98);
    local.reset();
    assert_eq!(
        check(&local),
        [
            PoolStatus { assured_bytes: LIMIT / 4, ..PoolStatus::default() },
            PoolStatus::default(),
            PoolStatus::default()
        ]
    );
}
