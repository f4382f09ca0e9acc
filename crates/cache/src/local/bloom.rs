//! A Bloom filter of keys.

use coherence::{KeySet, Mono};
use contract::Key;
use fastbloom::BloomFilter;

/// A Bloom filter with room for a number of keys. Its hash is keyed, so that false positives can't be
/// constructed without the seed.
pub(crate) struct Bloom {
    filter: BloomFilter,
    /// Added keys that seemed new. Short of the true number by the false positives among them.
    keys: u64,
    room: u64,
    /// The time at which the scan of its keys began.
    pub(super) scanned: ClockReading,
}

/// A time on both clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClockReading {
    pub(crate) mono: Mono,
    pub(crate) wall_ms: u64,
}

impl Bloom {
    /// Creates a filter with room for `room` keys. When it is full, a share of `false_positives` of all other
    /// keys seem to be in it.
    pub(crate) fn new(room: u64, false_positives: f64, seed: u128, scanned: ClockReading) -> Self {
        let bits = usize::try_from(bytes(room, false_positives) * 8).unwrap_or(usize::MAX);
        let items = usize::try_from(room).unwrap_or(usize::MAX);
        let filter = BloomFilter::with_num_bits(bits).seed(&seed).expected_items(items);
        Self { filter, keys: 0, room, scanned }
    }

    pub(crate) fn keys(&self) -> u64 {
        self.keys
    }

    /// Whether it has more keys than it has room for, so that its rate of false positives is exceeded.
    pub(crate) fn is_full(&self) -> bool {
        self.keys > self.room
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.filter.num_bits() as u64 / 8
    }
}

impl KeySet for Bloom {
    fn insert(&mut self, key: &Key) {
        let known = self.filter.insert(key.as_str());
        self.keys += u64::from(!known);
    }

    fn may_contain(&self, key: &Key) -> bool {
        self.filter.contains(key.as_str())
    }
}

/// Returns the bytes that a filter takes: −ln(p) / ln(2)² bits per key.
pub(crate) fn bytes(keys: u64, false_positives: f64) -> u64 {
    let bits = -false_positives.ln() / std::f64::consts::LN_2.powi(2);
    (keys as f64 * bits / 8.0).ceil().max(8.0) as u64
}

/// Returns the number of keys that fit into `bytes`.
pub(crate) fn max_keys(bytes: u64, false_positives: f64) -> u64 {
    let bits = -false_positives.ln() / std::f64::consts::LN_2.powi(2);
    (bytes as f64 * 8.0 / bits) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCANNED: ClockReading = ClockReading { mono: Mono(0), wall_ms: 0 };

    fn key(id: u64) -> Key {
        Key::parse(&format!("v1:catalog:price:{id}")).expect("a key")
    }

    #[test]
    fn false_positive_rate_holds() {
        let mut bloom = Bloom::new(20_000, 0.01, 7, SCANNED);
        (0..20_000).for_each(|id| bloom.insert(&key(id)));
        assert!((0..20_000).all(|id| bloom.may_contain(&key(id))));
        let wrong = (20_000..120_000).filter(|id| bloom.may_contain(&key(*id))).count();
        assert!((500..1_500).contains(&wrong), "{wrong} of 100,000 seem known");
        assert!(bloom.keys() > 19_500 && !bloom.is_full(), "{}", bloom.keys());
        assert_eq!(bloom.bytes(), bytes(20_000, 0.01).div_ceil(8) * 8);
        let again = max_keys(bloom.bytes(), 0.01);
        assert!((19_990..20_020).contains(&again), "{again}");
    }

    #[test]
    fn seed_determines_false_positives() {
        let seems_known = |seed| {
            let mut bloom = Bloom::new(100, 0.1, seed, SCANNED);
            (0..100).for_each(|id| bloom.insert(&key(id)));
            (100..10_000).filter(|id| bloom.may_contain(&key(*id))).collect::<Vec<_>>()
        };
        assert_eq!(seems_known(1), seems_known(1));
        assert_ne!(
            seems_known(1),
            seems_known(2),
            "false positives can't be constructed without the seed"
        );
    }
}
