//! A set of keys in few bits each.

use coherence::{Mono, Names};
use contract::Key;
use fastbloom::BloomFilter;

/// A Bloom filter with room for a number of keys. Its hash is keyed: who does not know the seed can't
/// look for ids that it takes for known ones.
pub(crate) struct Bloom {
    filter: BloomFilter,
    /// Keys that were not known before; short of the true number by the false positives among them.
    keys: u64,
    room: u64,
    /// When its keys began to be read.
    pub(super) read: When,
}

/// A moment on both clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct When {
    pub(crate) mono: Mono,
    pub(crate) wall_ms: u64,
}

impl Bloom {
    /// With room for `room` keys; once it is full, a share of `false_positives` of all others seem
    /// known.
    pub(crate) fn new(room: u64, false_positives: f64, seed: u128, read: When) -> Self {
        let bits = usize::try_from(bytes(room, false_positives) * 8).unwrap_or(usize::MAX);
        let items = usize::try_from(room).unwrap_or(usize::MAX);
        let filter = BloomFilter::with_num_bits(bits).seed(&seed).expected_items(items);
        Self { filter, keys: 0, room, read }
    }

    pub(crate) fn keys(&self) -> u64 {
        self.keys
    }

    /// Whether it holds more than it was made for, so that more of all others seem known.
    pub(crate) fn is_full(&self) -> bool {
        self.keys > self.room
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.filter.num_bits() as u64 / 8
    }
}

impl Names for Bloom {
    fn add(&mut self, key: &Key) {
        let known = self.filter.insert(key.as_str());
        self.keys += u64::from(!known);
    }

    fn may_hold(&self, key: &Key) -> bool {
        self.filter.contains(key.as_str())
    }
}

/// What a filter takes: −ln(p) / ln(2)² bits for each key.
pub(crate) fn bytes(keys: u64, false_positives: f64) -> u64 {
    let bits = -false_positives.ln() / std::f64::consts::LN_2.powi(2);
    (keys as f64 * bits / 8.0).ceil().max(8.0) as u64
}

/// The most keys that fit into `bytes`.
pub(crate) fn most(bytes: u64, false_positives: f64) -> u64 {
    let bits = -false_positives.ln() / std::f64::consts::LN_2.powi(2);
    (bytes as f64 * 8.0 / bits) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const THEN: When = When { mono: Mono(0), wall_ms: 0 };

    fn key(id: u64) -> Key {
        Key::parse(&format!("v1:catalog:price:{id}")).expect("a key")
    }

    #[test]
    fn it_misses_nothing_and_keeps_its_rate() {
        let mut bloom = Bloom::new(20_000, 0.01, 7, THEN);
        (0..20_000).for_each(|id| bloom.add(&key(id)));
        assert!((0..20_000).all(|id| bloom.may_hold(&key(id))));
        let wrong = (20_000..120_000).filter(|id| bloom.may_hold(&key(*id))).count();
        assert!((500..1_500).contains(&wrong), "{wrong} of 100,000 seem known");
        assert!(bloom.keys() > 19_500 && !bloom.is_full(), "{}", bloom.keys());
        assert_eq!(bloom.bytes(), bytes(20_000, 0.01).div_ceil(8) * 8);
        let again = most(bloom.bytes(), 0.01);
        assert!((19_990..20_020).contains(&again), "{again}");
    }

    #[test]
    fn one_seed_gives_one_filter() {
        let seems_known = |seed| {
            let mut bloom = Bloom::new(100, 0.1, seed, THEN);
            (0..100).for_each(|id| bloom.add(&key(id)));
            (100..10_000).filter(|id| bloom.may_hold(&key(*id))).collect::<Vec<_>>()
        };
        assert_eq!(seems_known(1), seems_known(1));
        assert_ne!(seems_known(1), seems_known(2), "nobody can prepare ids for it");
    }
}
