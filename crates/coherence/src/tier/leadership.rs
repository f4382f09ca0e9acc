//! Leadership of a shared tier: which database it follows, and who may change that.
//!
//! The leader of a log claims the tier for its database and renews the claim. While the claim is live, a node of
//! another database does not replace it: two databases that take turns would void each other's entries, and an
//! operator has to decide. A claim that is not renewed expires.
//!
//! A database that was promoted from the claimed one replaces a live claim, if it has everything that the tier has
//! applied. A copy of the files has the original's identity; the start of its server tells them apart.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use crate::position::{Log, Lsn};
use crate::rules::{Rule, on};

/// A claim lives this long after it was renewed: several times as long as the pauses between renewals.
pub const CLAIM_LIFETIME: Duration = Duration::from_secs(5);

/// The claim of a leader.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Claim {
    /// The process that leads: a random number.
    pub node: u64,
    /// The log that it follows.
    pub log: Log,
    /// A digest of the name under which the database tracks its followers (PostgreSQL: the slot). Two
    /// followers under one name exclude each other.
    pub slot: u64,
    /// The database and the slot, for people.
    pub label: Arc<str>,
}

/// The timelines before a log's own one, each with the position at which it was left.
pub type History = Arc<[(u32, Lsn)]>;

/// The reason why a live claim stands.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Conflict {
    /// It is of another database.
    Database,
    /// It is of another timeline of the same database, from which the candidate was not promoted without a loss.
    Timeline,
    /// It is of another server with the same files: an original and its copy, or the server was restarted and
    /// the claim is about to expire.
    Server,
    /// It is of another slot of the same database.
    Slot,
    /// It has the form of a later version, which begins with `v` and a number. It stands while it lives.
    Version,
}

impl Conflict {
    const ALL: [Self; 5] =
        [Self::Database, Self::Timeline, Self::Server, Self::Slot, Self::Version];

    /// Returns the name used in scripts, metrics and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Database => "database",
            Self::Timeline => "timeline",
            Self::Server => "server",
            Self::Slot => "slot",
            Self::Version => "version",
        }
    }

    /// Returns the conflict with this [name](Self::as_str).
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|conflict| conflict.as_str() == name)
    }
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Database => "another database",
            Self::Timeline => "another timeline of this database",
            Self::Server => "another server with a copy of this database",
            Self::Slot => "another slot of this database",
            Self::Version => "a database that a later version of Tidegate leads",
        })
    }
}

impl Claim {
    /// Decides whether this claim may replace `current`, the live claim of a tier that has applied `applied`.
    /// `history`: the timelines before this claim's own.
    ///
    /// # Errors
    /// The live claim stands.
    pub fn replaces(
        &self,
        current: Option<&Self>,
        applied: Option<Lsn>,
        history: &[(u32, Lsn)],
    ) -> Result<(), Conflict> {
        let Some(current) = current.filter(|_| on(Rule::LiveClaimStands)) else { return Ok(()) };
        if current.node == self.node {
            return Ok(());
        }
        let (own, other) = (self.log.run(), current.log.run());
        if own.system != other.system {
            return Err(Conflict::Database);
        }
        if own.timeline != other.timeline {
            let left = history.iter().find(|(timeline, _)| *timeline == other.timeline);
            let has_all = left.is_some_and(|(_, at)| applied.is_none_or(|applied| applied <= *at));
            return if has_all { Ok(()) } else { Err(Conflict::Timeline) };
        }
        if own.server != other.server {
            return Err(Conflict::Server);
        }
        if self.slot != current.slot { Err(Conflict::Slot) } else { Ok(()) }
    }
}

impl fmt::Display for Claim {
    /// Writes `node.system.timeline.server.slot label`, with numbers in hexadecimal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { node, log: Log { system, timeline, server }, slot, label } = self;
        write!(f, "{node:x}.{system:x}.{timeline:x}.{server:x}.{slot:x} {label}")
    }
}

/// A text that is not a claim.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("it is not a claim of a leader")]
pub struct ParseClaimError;

impl FromStr for Claim {
    type Err = ParseClaimError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let (numbers, label) = text.split_once(' ')?;
            let mut numbers = numbers.split('.');
            let mut hex = || u64::from_str_radix(numbers.next()?, 16).ok();
            let (node, system, timeline, server, slot) = (hex()?, hex()?, hex()?, hex()?, hex()?);
            let log = Log { system, timeline: u32::try_from(timeline).ok()?, server };
            numbers.next().is_none().then(|| Self { node, log, slot, label: label.into() })
        };
        parse().ok_or(ParseClaimError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: Log = Log { system: 1, timeline: 2, server: 3 << 32 | 7 };

    fn claim(node: u64, log: Log) -> Claim {
        Claim { node, log, slot: 5, label: "shop, slot tidegate".into() }
    }

    fn replaces(candidate: &Claim, applied: u64, history: &[(u32, Lsn)]) -> Result<(), Conflict> {
        candidate.replaces(Some(&claim(1, LOG)), Some(Lsn(applied)), history)
    }

    #[test]
    fn slot_holder_succeeds_at_once() {
        assert_eq!(replaces(&claim(2, LOG), 10, &[]), Ok(()));
        let crashed = Log { server: LOG.server + 1, ..LOG };
        assert_eq!(replaces(&claim(2, crashed), 10, &[]), Ok(()), "the same start of the server");
        assert_eq!(claim(2, LOG).replaces(None, None, &[]), Ok(()));
    }

    #[test]
    fn leader_moves_with_its_source() {
        let other = Log { system: 9, ..LOG };
        assert_eq!(replaces(&claim(1, other), 10, &[]), Ok(()));
    }

    #[test]
    fn foreign_database_refused() {
        let refused = |log: Log| replaces(&claim(2, log), 10, &[(1, Lsn(5))]);
        assert_eq!(refused(Log { system: 9, ..LOG }), Err(Conflict::Database));
        assert_eq!(refused(Log { server: 4 << 32, ..LOG }), Err(Conflict::Server), "a copy");
        assert_eq!(
            refused(Log { timeline: 1, ..LOG }),
            Err(Conflict::Timeline),
            "a deposed primary"
        );
        let slot = Claim { slot: 6, ..claim(2, LOG) };
        assert_eq!(replaces(&slot, 10, &[]), Err(Conflict::Slot));
    }

    #[test]
    fn promotion_needs_everything_applied() {
        let promoted = claim(2, Log { timeline: 3, server: 9 << 32, ..LOG });
        let history = [(1, Lsn(5)), (2, Lsn(20))];
        assert_eq!(replaces(&promoted, 20, &history), Ok(()));
        assert_eq!(replaces(&promoted, 21, &history), Err(Conflict::Timeline), "commits are lost");
        assert_eq!(replaces(&promoted, 4, &history[..1]), Err(Conflict::Timeline), "a side branch");
    }

    #[test]
    fn claim_round_trips_as_text() {
        let claim = claim(u64::MAX, LOG);
        assert_eq!(claim.to_string().parse(), Ok(claim));
        for text in ["", "1.2.3.4 x", "1.2.3.4.5", "1.2.3.4.5.6 x", "1.2.1ffffffff.4.5 x"] {
            assert_eq!(text.parse::<Claim>(), Err(ParseClaimError), "{text}");
        }
    }
}
