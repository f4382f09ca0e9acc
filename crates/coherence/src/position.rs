//! Positions in the database's commit log, and the epochs that they belong to.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A position in one source's commit log.
///
/// PostgreSQL: the *end* LSN of a commit record (bytes of WAL). SQLite: the change-log number.
/// MariaDB: the binary log's file number and, in the lower 32 bits, the offset of the commit's end.
/// Positions of different epochs are not comparable.
#[derive(
    Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize,
)]
pub struct Lsn(pub u64);

impl Lsn {
    /// Before every commit.
    pub const ZERO: Self = Self(0);
    /// Beyond every commit.
    pub const MAX: Self = Self(u64::MAX);

    /// Returns the position of a byte of a file of MariaDB's binary log, such as `binlog.000042`.
    ///
    /// `None` for other names, beyond 2²¹ files (positions stay below 2⁵³), and beyond 4 GiB of a file,
    /// where MariaDB's protocol has no positions.
    #[must_use]
    pub fn in_binlog(file: &str, offset: u64) -> Option<Self> {
        let (_, digits) = file.rsplit_once('.')?;
        let number: u64 =
            digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())??;
        (number < 1 << 21 && offset < 1 << 32).then_some(Self(number << 32 | offset))
    }
}

impl fmt::Display for Lsn {
    /// PostgreSQL's `pg_lsn` form, `XXXXXXXX/XXXXXXXX` without leading zeros.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xffff_ffff)
    }
}

/// A text that is not a position or not an epoch.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("{text:?} is not {expected}")]
pub struct ParsePositionError {
    text: String,
    expected: &'static str,
}

impl FromStr for Lsn {
    type Err = ParsePositionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let (high, low) = text.split_once('/')?;
            let high = u32::from_str_radix(high, 16).ok()?;
            let low = u32::from_str_radix(low, 16).ok()?;
            Some(Self(u64::from(high) << 32 | u64::from(low)))
        };
        parse().ok_or_else(|| ParsePositionError {
            text: text.to_owned(),
            expected: "a log position such as 16/B374D848",
        })
    }
}

/// One unbroken history of a log and of a tier that follows it.
///
/// Entries of another epoch are unproven and count as absent. The epoch changes when the database
/// failed over or may have lost commits, when the slot was created again, and when a tier lost its
/// tombstones (flush, restart, failover of a shard).
#[derive(
    Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize,
)]
pub struct Epoch {
    /// The database's own identity: a digest of its system and of the database in it (PostgreSQL:
    /// `system_identifier` and the database's OID).
    pub system: u64,
    /// Its timeline, which grows with each promotion.
    pub timeline: u32,
    /// The [digest](server_digest) of the server's start, which changes with each restart and crash.
    pub server: u64,
    /// A random number, drawn at each epoch reset.
    pub incarnation: u64,
}

/// One log: positions can be compared within it, and only there. Several [epochs](Epoch) of a tier may
/// follow the same log.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Log {
    /// The database's own identity.
    pub system: u64,
    /// Its timeline.
    pub timeline: u32,
    /// The [digest](server_digest) of the server's start.
    pub server: u64,
}

/// The part of a [server digest](server_digest) that stands for the start of the server.
const RUN: u64 = 0xffff_ffff_0000_0000;

/// Returns the digest of a server's start: `started` is the time of the start, then after a space anything
/// else that shows that a process of the server has crashed. The same on every node and in every build.
#[must_use]
pub fn server_digest(started: &str) -> u64 {
    let (run, crashes) = started.split_once(' ').unwrap_or((started, ""));
    contract::fnv1a(run.bytes()) & RUN | contract::fnv1a(crashes.bytes()) & !RUN
}

impl Log {
    /// Returns the log without the start of the server that writes it. A restart keeps every position
    /// that was flushed, and tiers apply flushed commits only; a failover begins another timeline, in
    /// which the same positions hold other commits.
    #[must_use]
    pub fn lineage(self) -> Self {
        Self { server: 0, ..self }
    }

    /// Returns the log as a sample or a connection to its server names it: with the start of the server and
    /// without its crashes. Two servers that write at the same time differ in it, even where one is a copy of
    /// the other's files.
    #[must_use]
    pub fn run(self) -> Self {
        Self { server: self.server & RUN, ..self }
    }
}

impl Epoch {
    /// Returns the log that this epoch follows.
    #[must_use]
    pub fn log(self) -> Log {
        Log { system: self.system, timeline: self.timeline, server: self.server }
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}.{:x}.{:x}.{:x}", self.system, self.timeline, self.server, self.incarnation)
    }
}

impl FromStr for Epoch {
    type Err = ParsePositionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let mut parts = text.split('.');
            let mut hex = || u64::from_str_radix(parts.next()?, 16).ok();
            let (system, timeline, server, incarnation) = (hex()?, hex()?, hex()?, hex()?);
            let timeline = u32::try_from(timeline).ok()?;
            parts.next().is_none().then_some(Self { system, timeline, server, incarnation })
        };
        parse().ok_or_else(|| ParsePositionError {
            text: text.to_owned(),
            expected: "an epoch (system.timeline.server.incarnation in hexadecimal)",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lsn_round_trips_as_text() {
        for lsn in [Lsn(0), Lsn(0x16_B374_D848), Lsn(u64::MAX)] {
            assert_eq!(lsn.to_string().parse(), Ok(lsn));
        }
        assert!("16B374D848".parse::<Lsn>().is_err());
    }

    #[test]
    fn binlog_offsets_are_positions() {
        assert_eq!(Lsn::in_binlog("binlog.000042", 4), Some(Lsn(42 << 32 | 4)));
        let last = Lsn::in_binlog("shop.db-bin.2097151", (1 << 32) - 1);
        assert_eq!(last, Some(Lsn((1 << 53) - 1)));
        assert_eq!(Lsn::in_binlog("binlog.2097152", 4), None);
        assert_eq!(Lsn::in_binlog("binlog.000001", 1 << 32), None);
        for name in ["", "binlog", "binlog.", "binlog.00a", "binlog.-1"] {
            assert_eq!(Lsn::in_binlog(name, 4), None, "{name}");
        }
    }

    #[test]
    fn crash_changes_digest_but_no_run() {
        let log = |started: &str| Log { system: 1, timeline: 1, server: server_digest(started) };
        let (before, crashed, restarted) = (log("10.5 3"), log("10.5 4"), log("11.5 3"));
        assert_ne!(before, crashed);
        assert_eq!(before.run(), crashed.run());
        assert_ne!(before.run(), restarted.run());
        assert_eq!(before.run(), log("10.5").run());
        assert_eq!(before.lineage(), restarted.lineage());
    }

    #[test]
    fn epoch_round_trips_as_text() {
        let epoch = Epoch { system: u64::MAX, timeline: 3, server: 7, incarnation: 0 };
        assert_eq!(epoch.to_string().parse(), Ok(epoch));
        assert!("1.2.3".parse::<Epoch>().is_err());
        assert!("1.2.3.4.5".parse::<Epoch>().is_err());
        assert!("1.1ffffffff.3.4".parse::<Epoch>().is_err());
    }
}
