//! Where something stands in the binary log.

use coherence::Lsn;

/// A byte of one of the binary log's files; see [`Lsn::in_binlog`].
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Place(Lsn);

impl Place {
    /// `None` where there are no positions.
    pub(super) fn new(file: &str, offset: u64) -> Option<Self> {
        Lsn::in_binlog(file, offset).map(Self)
    }

    /// For positions that were places once.
    pub(super) fn of(lsn: Lsn) -> Self {
        Self(lsn)
    }

    pub(super) fn lsn(self) -> Lsn {
        self.0
    }

    pub(super) fn offset(self) -> u64 {
        self.0.0 & 0xffff_ffff
    }

    /// Another place in the same file.
    pub(super) fn at(self, offset: u32) -> Self {
        Self(Lsn(self.0.0 >> 32 << 32 | u64::from(offset)))
    }

    /// Whether it lies in the file of this name.
    pub(super) fn is_in(self, file: &str) -> bool {
        Self::new(file, self.offset()) == Some(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_knows_its_file() {
        let place = Place::new("binlog.000042", 400).unwrap();
        assert_eq!((place.lsn(), place.offset()), (Lsn(42 << 32 | 400), 400));
        assert!(place.is_in("binlog.000042") && !place.is_in("binlog.000043"));
        assert_eq!(place.at(4), Place::of(Lsn(42 << 32 | 4)));
        assert!(place < Place::new("binlog.000043", 4).unwrap());
    }
}
