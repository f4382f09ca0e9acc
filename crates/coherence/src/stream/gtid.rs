//! Global transaction ids of a binary log, and sets of them.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// Ranges of one source that a set keeps. Beyond it, the lowest are forgotten.
const MAX_RANGES: usize = 64;

/// A global transaction id: `0-1-42` of MariaDB (domain, server, number), `UUID:42` or `UUID:TAG:42` of MySQL.
///
/// The transactions of one source are numbered in the order of the log, as a rule without gaps. On MariaDB the
/// source is the domain: a server that takes over continues its numbers.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Gtid {
    source: String,
    number: u64,
}

/// A text that is not a global transaction id.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("{0:?} is not a global transaction id such as 0-1-42 or UUID:42")]
pub struct ParseGtidError(String);

impl FromStr for Gtid {
    type Err = ParseGtidError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parsed = match text.rsplit_once(':') {
            Some((source, number)) => of_mysql(source, number),
            None => of_mariadb(text),
        };
        parsed.filter(|gtid| gtid.number > 0).ok_or_else(|| ParseGtidError(text.to_owned()))
    }
}

fn of_mysql(source: &str, number: &str) -> Option<Gtid> {
    const GROUPS: [usize; 5] = [8, 4, 4, 4, 12];
    let (uuid, tag) = source.split_once(':').unwrap_or((source, ""));
    let groups: Vec<&str> = uuid.split('-').collect();
    let is_uuid = groups.len() == GROUPS.len()
        && groups.iter().zip(GROUPS).all(|(group, length)| {
            group.len() == length && group.bytes().all(|byte| byte.is_ascii_hexdigit())
        });
    let is_tag = tag.len() <= 32 && tag.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    (is_uuid && is_tag)
        .then(|| Some(Gtid { source: source.to_ascii_lowercase(), number: number.parse().ok()? }))?
}

fn of_mariadb(text: &str) -> Option<Gtid> {
    let mut parts = text.split('-');
    let (domain, server) = (parts.next()?, parts.next()?);
    let number = parts.next()?.parse().ok()?;
    let (domain, _): (u32, u32) = (domain.parse().ok()?, server.parse().ok()?);
    parts.next().is_none().then(|| Gtid { source: domain.to_string(), number })
}

impl fmt::Display for Gtid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.source, self.number)
    }
}

/// The transactions that are accounted for.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct GtidSet(BTreeMap<String, Vec<(u64, u64)>>);

impl GtidSet {
    /// Returns the set of these transactions and of all earlier ones of their sources.
    #[must_use]
    pub fn up_to(last: &[Gtid]) -> Self {
        let mut set = Self::default();
        for gtid in last {
            set.add(&gtid.source, 1, gtid.number);
        }
        set
    }

    /// Adds a transaction.
    pub fn insert(&mut self, gtid: &Gtid) {
        self.add(&gtid.source, gtid.number, gtid.number);
    }

    /// Adds the transaction before `gtid`.
    pub fn insert_predecessor(&mut self, gtid: &Gtid) {
        self.add(&gtid.source, gtid.number - 1, gtid.number - 1);
    }

    /// Adds all transactions of `other`.
    pub fn extend(&mut self, other: &Self) {
        for (source, ranges) in &other.0 {
            for (first, last) in ranges {
                self.add(source, *first, *last);
            }
        }
    }

    /// Whether the set contains the transaction.
    #[must_use]
    pub fn contains(&self, gtid: &Gtid) -> bool {
        self.has(&gtid.source, gtid.number)
    }

    /// Whether the transaction is the first one of its source, or the set contains the one before it.
    #[must_use]
    pub fn contains_predecessor(&self, gtid: &Gtid) -> bool {
        gtid.number == 1 || self.has(&gtid.source, gtid.number - 1)
    }

    /// Returns the number of sources.
    #[must_use]
    pub fn sources(&self) -> usize {
        self.0.len()
    }

    fn has(&self, source: &str, number: u64) -> bool {
        let within = |(first, last): &(u64, u64)| (*first..=*last).contains(&number);
        self.0.get(source).is_some_and(|ranges| ranges.iter().any(within))
    }

    fn add(&mut self, source: &str, first: u64, last: u64) {
        let ranges = match self.0.get_mut(source) {
            Some(ranges) => ranges,
            None => self.0.entry(source.to_owned()).or_default(),
        };
        if let Some(newest) = ranges.last_mut()
            && newest.1.checked_add(1) == Some(first)
        {
            newest.1 = last;
            return;
        }
        ranges.push((first, last));
        ranges.sort_unstable();
        let mut merged: Vec<(u64, u64)> = Vec::with_capacity(ranges.len());
        for &(first, last) in ranges.iter() {
            match merged.last_mut() {
                Some(before) if first <= before.1.saturating_add(1) => {
                    before.1 = before.1.max(last);
                }
                _ => merged.push((first, last)),
            }
        }
        // A transaction that is forgotten counts as missing later, never as delivered.
        merged.drain(..merged.len().saturating_sub(MAX_RANGES));
        *ranges = merged;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: &str = "3E11FA47-71CA-11E1-9E33-C80AA9429562";

    fn gtid(text: &str) -> Gtid {
        text.parse().unwrap_or_else(|err| panic!("{err}"))
    }

    #[test]
    fn ids_of_both_databases_parsed() {
        assert_eq!(gtid("0-1-42"), gtid("0-2-42"), "a domain's numbers go on on another server");
        assert_ne!(gtid("0-1-42"), gtid("1-1-42"));
        assert_eq!(
            gtid(&format!("{UUID}:23")).to_string(),
            "3e11fa47-71ca-11e1-9e33-c80aa9429562:23"
        );
        assert_ne!(gtid(&format!("{UUID}:a:23")), gtid(&format!("{UUID}:23")));
        for text in [
            "",
            "0-1",
            "0-1-0",
            "0-1-2-3",
            "0-x-3",
            "file=mysql-bin.000003,pos=154",
            "571:53195832",
            "3E11FA47:1",
            "3E11FA47-71CA-11E1-9E33-C80AA9429562:",
            "3E11FA47-71CA-11E1-9E33-C80AA9429562:1-5",
            "3E11FA47-71CA-11E1-9E33-C80AA9429562:a b:1",
            "0-1-99999999999999999999",
        ] {
            assert!(text.parse::<Gtid>().is_err(), "{text}");
        }
    }

    #[test]
    fn set_knows_gaps() {
        let mut set = GtidSet::up_to(&[gtid("0-1-5")]);
        assert!(set.contains(&gtid("0-1-1")) && set.contains(&gtid("0-1-5")));
        assert!(!set.contains(&gtid("0-1-6")) && set.contains_predecessor(&gtid("0-1-6")));
        assert!(!set.contains_predecessor(&gtid("0-1-7")));
        assert!(set.contains_predecessor(&gtid("3-1-1")), "the first one of its domain");
        // Blocks of numbers, as members of a replication group use them.
        for text in ["0-1-1000001", "0-1-6", "0-1-1000002", "0-1-7"] {
            set.insert(&gtid(text));
        }
        assert!(set.contains(&gtid("0-1-7")) && !set.contains(&gtid("0-1-8")));
        assert!(set.contains_predecessor(&gtid("0-1-1000003")));
        let mut other = GtidSet::default();
        other.extend(&set);
        assert_eq!((other.sources(), other), (1, set));
    }

    #[test]
    fn scattered_numbers_bounded() {
        let mut set = GtidSet::default();
        for number in (1..1_000).map(|n| n * 3) {
            set.insert(&gtid(&format!("0-1-{number}")));
        }
        assert!(set.contains(&gtid("0-1-2997")) && !set.contains(&gtid("0-1-3")));
        assert_eq!(set.0["0"].len(), MAX_RANGES);
    }
}
