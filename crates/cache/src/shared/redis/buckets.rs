//! The buckets that the keys are divided into, and their slots on a cluster.
//!
//! A single server has one bucket. A cluster has [`SPREAD`], one in the middle of each sixteenth of the
//! slots, so that shards with equal shares of the slots have about equal shares of the keys.

use contract::Key;

use redis_transport::{Bucket, SLOTS, crc16, hash_slot};

use super::key_names::KeyNames;

/// The number of buckets on a cluster. Each commit runs a script in every bucket; more buckets would
/// spread the load over more than 16 shards.
const SPREAD: u16 = 16;
/// The distance from the middle that a bucket's slot may have.
const MAX_DISTANCE: u16 = 64;

/// The names of all buckets. The first bucket has the node stream and decides on the tier's epoch.
#[derive(Clone, Debug)]
pub(super) struct Buckets {
    all: Vec<KeyNames>,
}

impl Buckets {
    /// Creates one bucket for all keys.
    pub(super) fn one(prefix: &str) -> Self {
        Self { all: vec![KeyNames::new(&format!("{prefix}:0"))] }
    }

    /// Creates buckets that are spread over the slots of a cluster: `{tg:0.…}`, `{tg:1.…}`, … The number
    /// after the point is chosen so that the slot is near the middle of its sixteenth.
    pub(super) fn spread(prefix: &str) -> Self {
        let name = |bucket: u16| {
            let middle = (2 * bucket + 1) * (SLOTS / SPREAD / 2);
            let mut tags = (0..).map(|salt| format!("{prefix}:{bucket}.{salt}"));
            tags.find(|tag| hash_slot(tag).abs_diff(middle) < MAX_DISTANCE)
                .expect("about one in 128 is near enough")
        };
        Self { all: (0..SPREAD).map(|bucket| KeyNames::new(&name(bucket))).collect() }
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn names(&self, bucket: usize) -> &KeyNames {
        &self.all[bucket]
    }

    /// Returns all buckets but the first.
    pub(super) fn rest(&self) -> std::ops::Range<usize> {
        1..self.all.len()
    }

    /// Returns the bucket of a key: the same on all nodes and in all versions.
    pub(super) fn of(&self, key: &Key) -> usize {
        if self.all.len() == 1 { 0 } else { usize::from(crc16(key.as_bytes())) % self.all.len() }
    }

    /// Returns the buckets for the transport.
    pub(super) fn to_transport(&self) -> Vec<Bucket> {
        let bucket = |names: &KeyNames| Bucket {
            slot: hash_slot(names.tag()),
            probe_key: names.rehearsal.clone(),
        };
        self.all.iter().map(bucket).collect()
    }

    /// Returns the bucket and the key of an entry with this name, if it is a name of this tier.
    pub(super) fn entry(&self, name: &str) -> Option<(usize, Key)> {
        let mut found = self.all.iter().enumerate();
        found.find_map(|(bucket, names)| Some((bucket, names.key(name)?)))
    }

    /// Groups the indices of the keys by bucket, at most `limit` in a group.
    pub(super) fn group<'k>(
        &self,
        keys: impl IntoIterator<Item = &'k Key>,
        limit: usize,
    ) -> Vec<(usize, Vec<usize>)> {
        let mut grouped = vec![Vec::new(); self.all.len()];
        keys.into_iter().enumerate().for_each(|(n, key)| grouped[self.of(key)].push(n));
        let mut parts = Vec::new();
        for (bucket, numbers) in grouped.iter().enumerate() {
            parts.extend(numbers.chunks(limit).map(|numbers| (bucket, numbers.to_vec())));
        }
        parts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_lie_in_their_sixteenth() {
        for prefix in ["tg", "a-rather-long-prefix-of-32-chars"] {
            let slots = Buckets::spread(prefix).to_transport();
            for (bucket, Bucket { slot, .. }) in slots.into_iter().enumerate() {
                assert_eq!(usize::from(slot) / 1_024, bucket, "{prefix}");
                assert!((448..=576).contains(&(slot % 1_024)), "{prefix} {slot}");
            }
        }
    }

    #[test]
    fn keys_spread_evenly() {
        let (buckets, mut counts) = (Buckets::spread("tg"), [0; SPREAD as usize]);
        for n in 0..16_000 {
            let key = Key::parse(&format!("v1:catalog:price:{n}")).expect("a key");
            let bucket = buckets.of(&key);
            counts[bucket] += 1;
            let name = buckets.names(bucket).entry(&key);
            assert_eq!(buckets.entry(&name), Some((bucket, key)));
        }
        assert!(counts.iter().all(|count| (800..1_200).contains(count)), "{counts:?}");
        let key = Key::parse("v1:catalog:price:42").expect("a key");
        assert_eq!(buckets.of(&key), 2, "the same in every version");
        assert_eq!(Buckets::one("tg").of(&key), 0);
    }
}
