//! Coverage: the mappings of rows to keys and tags that the leader applies.
//!
//! Only the leader maps row changes to invalidations. A contract of another node whose mapping the leader does
//! not apply is invalidated by nothing, so no tier may prove an entry of it. The leader states its mappings in
//! the tier, and each batch names them by their digest.
//!
//! A leader that brings a new mapping states it only after an invalidation of every entry that depends on it has
//! passed through the log. So entries from before, which no event has reached, are void.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::position::Lsn;
use crate::rules::{Rule, on};

/// The digest of a [`Coverage`]. Equal sets have equal digests, on every node and in every build.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct CoverageDigest(pub u64);

impl CoverageDigest {
    /// The digest of the empty coverage.
    pub const NONE: Self = Self(0);
}

impl fmt::Display for CoverageDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

/// A set of mappings, each by its fingerprint.
///
/// As text: the fingerprints in hexadecimal, ascending, with commas between them.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Coverage(BTreeSet<u64>);

/// A text that is not a coverage.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("{0:?} is not a list of fingerprints")]
pub struct ParseCoverageError(String);

impl Coverage {
    /// Returns the coverage of these mappings.
    #[must_use]
    pub fn of(mappings: impl IntoIterator<Item = u64>) -> Self {
        Self(mappings.into_iter().collect())
    }

    /// Returns the digest that stands for this set in batches and positions.
    #[must_use]
    pub fn digest(&self) -> CoverageDigest {
        if self.0.is_empty() {
            return CoverageDigest::NONE;
        }
        CoverageDigest(contract::fnv1a(self.0.iter().flat_map(|mapping| mapping.to_le_bytes())))
    }

    /// Returns whether the leader applies all of the mappings that an entry depends on.
    #[must_use]
    pub fn covers(&self, needed: &[u64]) -> bool {
        needed.iter().all(|mapping| self.0.contains(mapping)) || !on(Rule::CoverageNeeded)
    }

    /// Returns whether all mappings of `other` are in this set.
    #[must_use]
    pub fn includes(&self, other: &Self) -> bool {
        self.0.is_superset(&other.0)
    }

    /// Returns the mappings that both have: those that stay covered where a leader with the mappings of `other`
    /// takes over.
    #[must_use]
    pub fn kept_by(&self, other: &Self) -> Self {
        if !on(Rule::CoverageGainedByEvent) {
            return other.clone();
        }
        Self(self.0.intersection(&other.0).copied().collect())
    }

    /// Returns the mappings that are not in `other`.
    pub fn beyond<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = u64> + 'a {
        self.0.difference(&other.0).copied()
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, mapping) in self.0.iter().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            write!(f, "{comma}{mapping:x}")?;
        }
        Ok(())
    }
}

impl FromStr for Coverage {
    type Err = ParseCoverageError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let mapping = |text: &str| u64::from_str_radix(text, 16).ok();
        let mappings = text.split(',').map(mapping).collect::<Option<_>>();
        mappings.map(Self).ok_or_else(|| ParseCoverageError(text.chars().take(80).collect()))
    }
}

/// Returns whether a leader that has applied the log up to `own` may state its mappings in a tier that has applied
/// it up to `applied`. Beyond its own position another leader, which was replaced, may have applied events without
/// these mappings. `own`: `None` where nothing has to be caught up with, because no mapping is new, or no entry is
/// left after an epoch reset.
#[must_use]
pub fn has_caught_up(own: Option<Lsn>, applied: Option<Lsn>) -> bool {
    let behind = own.zip(applied).is_some_and(|(own, applied)| own < applied);
    !behind || !on(Rule::StatedWhenCaughtUp)
}

/// Returns whether an entry that was made by the contract with the fingerprint `definition` may be served by one
/// with the fingerprint `own`.
#[must_use]
pub fn is_of_definition(definition: u64, own: u64) -> bool {
    definition == own || !on(Rule::EntryOfOwnDefinition)
}

/// The coverage of a tier as one node knows it: the digest in the last batch, and the set that the digest
/// stands for, once the node has learned it.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct KnownCoverage {
    /// The mappings of this node's own contracts.
    own: Coverage,
    /// The last other set that was learned.
    learned: Coverage,
}

impl KnownCoverage {
    /// Creates the knowledge of a node with these contracts.
    #[must_use]
    pub fn new(own: Coverage) -> Self {
        Self { own, learned: Coverage::default() }
    }

    /// Returns the mappings of this node's own contracts.
    #[must_use]
    pub fn own(&self) -> &Coverage {
        &self.own
    }

    /// Records a set that a leader has stated.
    pub fn learn(&mut self, stated: Coverage) {
        self.learned = stated;
    }

    /// Returns the set with this digest; `None`: it was not learned yet.
    #[must_use]
    pub fn with_digest(&self, digest: CoverageDigest) -> Option<&Coverage> {
        [&self.own, &self.learned].into_iter().find(|known| known.digest() == digest)
    }

    /// Returns whether a tier whose leader has stated the set with this digest may prove an entry that depends on
    /// the mappings. An unknown mapping is not covered.
    #[must_use]
    pub fn covers(&self, digest: CoverageDigest, needed: &[u64]) -> bool {
        if needed.is_empty() {
            return true;
        }
        match self.with_digest(digest) {
            Some(known) => known.covers(needed),
            None => !on(Rule::CoverageNeeded),
        }
    }

    /// Returns whether all contracts of this node are covered under the digest.
    #[must_use]
    pub fn covers_own(&self, digest: CoverageDigest) -> bool {
        self.own.0.is_empty()
            || self.with_digest(digest).is_some_and(|known| known.includes(&self.own))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn unknown_digest_covers_nothing() {
        let old = Coverage::of([1, 2]);
        let mut known = KnownCoverage::new(Coverage::of([1, 3]));
        assert!(known.covers(known.own().digest(), &[1, 3]));
        assert!(!known.covers(old.digest(), &[1]), "its set is not known yet");
        assert!(known.covers(old.digest(), &[]), "nothing is needed");
        known.learn(old.clone());
        assert!(known.covers(old.digest(), &[1]));
        assert!(!known.covers(old.digest(), &[1, 3]));
        assert!(!known.covers_own(old.digest()));
        assert!(!known.covers(CoverageDigest::NONE, &[1]));
    }

    proptest! {
        #[test]
        fn takeover_keeps_common_mappings(
            old in proptest::collection::btree_set(0_u64..6, 0..6),
            new in proptest::collection::btree_set(0_u64..6, 0..6),
        ) {
            let (old, new) = (Coverage(old), Coverage(new));
            let kept = old.kept_by(&new);
            for mapping in 0..6 {
                let both = old.covers(&[mapping]) && new.covers(&[mapping]);
                prop_assert_eq!(kept.covers(&[mapping]), both);
            }
            prop_assert_eq!(kept.digest() == new.digest(), old.includes(&new));
            prop_assert_eq!(new.to_string().parse(), Ok(new.clone()));
        }

        #[test]
        fn malformed_text_never_panics(text in ".{0,40}") {
            let _ = text.parse::<Coverage>();
        }
    }
}
