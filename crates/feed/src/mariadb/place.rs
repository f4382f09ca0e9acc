//! Where something stands in the binary log.

use coherence::Lsn;

/// Positions are kept as doubles in places (Redis's sorted sets), so they stay below 2⁵³.
const MAX_FILE: u64 = (1 << 21) - 1;

/// A byte of one of the binary log's files.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Place {
    /// The number at the end of the file's name; below 2²¹.
    file: u32,
    offset: u32,
}

impl Place {
    /// `None` beyond 2²¹ files, or in a file beyond 4 GiB (a transaction is never divided, so a huge one
    /// makes a huge file): the protocol has no positions there.
    pub(super) fn new(file: u64, offset: u64) -> Option<Self> {
        let file = (file <= MAX_FILE).then_some(file)?;
        Some(Self { file: u32::try_from(file).ok()?, offset: u32::try_from(offset).ok()? })
    }

    pub(super) fn of(lsn: Lsn) -> Option<Self> {
        Self::new(lsn.0 >> 32, lsn.0 & 0xffff_ffff)
    }

    pub(super) fn lsn(self) -> Lsn {
        Lsn(u64::from(self.file) << 32 | u64::from(self.offset))
    }

    pub(super) fn file(self) -> u32 {
        self.file
    }

    pub(super) fn offset(self) -> u32 {
        self.offset
    }
}

/// `binlog.000042` → 42; more than six digits once there are more than a million files.
pub(super) fn file_number(name: &str) -> Option<u64> {
    let (_, digits) = name.rsplit_once('.')?;
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_position_and_back() {
        let place = Place::new(MAX_FILE, u64::from(u32::MAX)).unwrap();
        assert_eq!(place.lsn(), Lsn((1 << 53) - 1));
        assert_eq!(Place::of(place.lsn()), Some(place));
        assert!(Place::new(2, 4).unwrap() > Place::new(1, 1 << 31).unwrap());
        assert_eq!(Place::new(MAX_FILE + 1, 4), None);
        assert_eq!(Place::new(1, 1 << 32), None);
    }

    #[test]
    fn files_are_known_by_their_number() {
        assert_eq!(file_number("binlog.000042"), Some(42));
        assert_eq!(file_number("shop.db-bin.1234567"), Some(1_234_567));
        for name in ["", "binlog", "binlog.", "binlog.00a", "binlog.-1"] {
            assert_eq!(file_number(name), None, "{name}");
        }
    }
}
