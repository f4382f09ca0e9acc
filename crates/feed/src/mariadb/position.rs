//! Positions in the binary log.

use coherence::Lsn;

/// A byte offset in one of the binary log's files; see [`Lsn::in_binlog`].
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct BinlogPosition(Lsn);

impl BinlogPosition {
    /// Returns `None` if the file's name has no number or the offset is too large.
    pub(super) fn new(file: &str, offset: u64) -> Option<Self> {
        Lsn::in_binlog(file, offset).map(Self)
    }

    /// Converts back from [`lsn`](Self::lsn).
    pub(super) fn of(lsn: Lsn) -> Self {
        Self(lsn)
    }

    pub(super) fn lsn(self) -> Lsn {
        self.0
    }

    pub(super) fn offset(self) -> u64 {
        self.0.0 & 0xffff_ffff
    }

    /// Returns another position in the same file.
    pub(super) fn with_offset(self, offset: u32) -> Self {
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
    fn position_contains_file_number() {
        let position = BinlogPosition::new("binlog.000042", 400).unwrap();
        assert_eq!((position.lsn(), position.offset()), (Lsn(42 << 32 | 400), 400));
        assert!(position.is_in("binlog.000042") && !position.is_in("binlog.000043"));
        assert_eq!(position.with_offset(4), BinlogPosition::of(Lsn(42 << 32 | 4)));
        assert!(position < BinlogPosition::new("binlog.000043", 4).unwrap());
    }
}
