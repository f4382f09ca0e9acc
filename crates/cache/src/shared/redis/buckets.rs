//! Into which buckets the keys are divided, and in which slots of a cluster these lie.
//!
//! One server has one bucket. On a cluster there are [`SPREAD`], one in the middle of each sixteenth of the
//! slots, so that shards with equal shares of the slots have about equal shares of the keys.

use contract::Key;

use super::names::Names;

/// Buckets on a cluster. Each commit costs a script in every one; more of them would share the load among
/// more shards than this.
const SPREAD: u16 = 16;
/// Slots of a cluster.
const SLOTS: u16 = 16_384;
/// How far from the middle a bucket may lie.
const OFF: u16 = 64;

/// The names of all buckets; the first is the tier's own.
#[derive(Clone, Debug)]
pub(super) struct Buckets {
    all: Vec<Names>,
}

impl Buckets {
    /// One for everything.
    pub(super) fn one(prefix: &str) -> Self {
        Self { all: vec![Names::new(&format!("{prefix}:0"))] }
    }

    /// Spread over the slots of a cluster: `{tg:0.…}`, `{tg:1.…}`, … What stands behind the point makes the
    /// slot lie where it shall.
    pub(super) fn spread(prefix: &str) -> Self {
        let name = |bucket: u16| {
            let middle = (2 * bucket + 1) * (SLOTS / SPREAD / 2);
            let mut tags = (0..).map(|salt| format!("{prefix}:{bucket}.{salt}"));
            tags.find(|tag| slot(tag).abs_diff(middle) < OFF).expect("about one in 128 is good")
        };
        Self { all: (0..SPREAD).map(|bucket| Names::new(&name(bucket))).collect() }
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn names(&self, bucket: usize) -> &Names {
        &self.all[bucket]
    }

    /// All buckets but the first.
    pub(super) fn rest(&self) -> std::ops::Range<usize> {
        1..self.all.len()
    }

    /// In which bucket a key is; the same on all nodes and in all versions.
    pub(super) fn of(&self, key: &Key) -> usize {
        if self.all.len() == 1 { 0 } else { usize::from(crc16(key.as_bytes())) % self.all.len() }
    }

    /// The slot of each bucket.
    pub(super) fn slots(&self) -> Vec<u16> {
        self.all.iter().map(|names| slot(names.tag())).collect()
    }

    /// Of which bucket and key this is the entry, if it is one of ours.
    pub(super) fn entry(&self, name: &str) -> Option<(usize, Key)> {
        let mut found = self.all.iter().enumerate();
        found.find_map(|(bucket, names)| Some((bucket, names.key(name)?)))
    }

    /// The numbers of the keys, by bucket, at most so many together; buckets without any are left out.
    pub(super) fn sort<'k>(
        &self,
        keys: impl IntoIterator<Item = &'k Key>,
        at_most: usize,
    ) -> Vec<(usize, Vec<usize>)> {
        let mut sorted = vec![Vec::new(); self.all.len()];
        keys.into_iter().enumerate().for_each(|(n, key)| sorted[self.of(key)].push(n));
        let mut parts = Vec::new();
        for (bucket, numbers) in sorted.iter().enumerate() {
            parts.extend(numbers.chunks(at_most).map(|numbers| (bucket, numbers.to_vec())));
        }
        parts
    }
}

/// The slot of a key whose hash tag this is.
fn slot(tag: &str) -> u16 {
    crc16(tag.as_bytes()) % SLOTS
}

/// CRC-16/XMODEM, as in the cluster's specification.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte) << 8, |crc: u16, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_is_that_of_the_specification() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
    }

    #[test]
    fn each_bucket_has_its_sixteenth_of_the_slots() {
        for prefix in ["tg", "a-rather-long-prefix-of-32-chars"] {
            let slots = Buckets::spread(prefix).slots();
            for (bucket, slot) in slots.into_iter().enumerate() {
                assert_eq!(usize::from(slot) / 1_024, bucket, "{prefix}");
                assert!((448..=576).contains(&(slot % 1_024)), "{prefix} {slot}");
            }
        }
    }

    #[test]
    fn keys_are_spread_evenly_and_found_again() {
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
        assert_eq!(buckets.of(&key), 2, "changes with no version");
        assert_eq!(Buckets::one("tg").of(&key), 0);
    }
}
