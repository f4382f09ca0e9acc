//! The schema under which the log was applied.
//!
//! The log contains rows and no definitions. Statements that alter a table, a view, a partition or the
//! publication can change rows behind a name, or keep later changes out of the log, without an event. Each
//! object of the catalogue that the contracts depend on has a digest, which does not return to an earlier
//! value when the object is altered back. The leader reads the digests, checks that the log is complete under them, invalidates through the
//! log everything that depends on an object that differs, and then records the digests with the position of that
//! invalidation: the [`AppliedSchema`].
//!
//! **A sample proves a tier only under the applied schema**: the digests that were read together with the
//! sample are the recorded ones, and the tier has applied the recorded position. [`SchemaGate`] is that rule.
//!
//! Reason: a definition that was altered before the sample is part of the sample's digests. If these are the
//! recorded ones, the leader read them after the alteration, and its invalidation lies after every change
//! that the log missed because of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::position::{Epoch, Lsn};
use crate::rules::{Rule, on};

/// The digests of the objects of the catalogue, by the objects' names.
pub type ObjectDigests = BTreeMap<String, u64>;

/// The schema that the log was applied under, as the leader records it in the shared tier.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AppliedSchema {
    /// The position of the last invalidation that a change of the schema caused. Zero if there was none.
    pub position: Lsn,
    /// The objects that the leader's contracts depend on.
    pub objects: ObjectDigests,
}

impl AppliedSchema {
    /// Returns the objects of `own` that are new or have another digest here.
    pub fn changed<'a>(&self, own: &'a ObjectDigests) -> impl Iterator<Item = &'a str> {
        own.iter().filter(|(name, digest)| self.objects.get(*name) != Some(digest)).map(first)
    }

    /// Returns whether no object of `own` has another digest here. An object that the leader does not know
    /// belongs to a contract that the leader does not apply.
    #[must_use]
    pub fn covers(&self, own: &ObjectDigests) -> bool {
        own.iter()
            .all(|(name, digest)| self.objects.get(name).is_none_or(|recorded| recorded == digest))
    }
}

fn first<'a>((name, _): (&'a String, &u64)) -> &'a str {
    name
}

/// Returns the digest of a whole schema: the sum of its objects' digests, as a database can compute it.
#[must_use]
pub fn total_digest(objects: &ObjectDigests) -> u64 {
    objects.values().fold(0, |total, digest| total.wrapping_add(*digest))
}

/// One node's decision which samples prove its tiers.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct SchemaGate {
    adopted: Option<Adopted>,
    /// A sample since the adoption had another digest.
    has_differed: bool,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Adopted {
    epoch: Epoch,
    digest: u64,
    position: Lsn,
}

/// The verdict on a sample.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SampleVerdict {
    /// It proves a tier that has applied the log up to this position.
    Proves(Lsn),
    /// It proves nothing until the node has adopted the schema that the leader has applied.
    Differs,
    /// As [`Differs`](Self::Differs); and the schema is an adopted one again after a sample without it, since an
    /// object of the catalogue came and went. The recorded invalidation may lie before that, so the node has
    /// to invalidate everything through the log, and to adopt that position.
    Returned,
}

impl SchemaGate {
    /// Adopts the schema with this [`total_digest`], which an [`AppliedSchema`] of `epoch` covers. Everything
    /// that this node derives from the schema has to be derived again before.
    pub fn adopt(&mut self, epoch: Epoch, digest: u64, position: Lsn) {
        self.adopted = Some(Adopted { epoch, digest, position });
        self.has_differed = false;
    }

    /// Judges a sample of the log's end with this digest, for tiers of `epoch`.
    #[must_use]
    pub fn judge(&mut self, epoch: Option<Epoch>, digest: u64, end: Lsn) -> SampleVerdict {
        if !on(Rule::ProofNeedsAppliedSchema) {
            return SampleVerdict::Proves(end);
        }
        let Some(adopted) = &self.adopted else { return SampleVerdict::Differs };
        if adopted.digest != digest {
            self.has_differed = true;
            return SampleVerdict::Differs;
        }
        if self.has_differed {
            return SampleVerdict::Returned;
        }
        match Some(adopted.epoch) == epoch {
            true => SampleVerdict::Proves(end.max(adopted.position)),
            false => SampleVerdict::Differs,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn objects(digests: &[(&str, u64)]) -> ObjectDigests {
        digests.iter().map(|(name, digest)| ((*name).to_owned(), *digest)).collect()
    }

    #[test]
    fn changed_objects_are_not_covered() {
        let applied = AppliedSchema {
            position: Lsn(7),
            objects: objects(&[("a", 1), ("b", 2), ("gone", 3)]),
        };
        let changed = |own: &[(&str, u64)]| {
            let own = objects(own);
            let changed: Vec<String> = applied.changed(&own).map(str::to_owned).collect();
            (changed.join(","), applied.covers(&own))
        };
        assert_eq!(changed(&[("a", 1), ("b", 2)]), (String::new(), true));
        assert_eq!(changed(&[("a", 1), ("b", 9)]), ("b".to_owned(), false));
        assert_eq!(changed(&[("a", 1), ("new", 4)]), ("new".to_owned(), true));
    }

    #[test]
    fn sample_proves_only_adopted_schema() {
        let epoch = Epoch { system: 1, ..Epoch::default() };
        let other = Epoch { incarnation: 1, ..epoch };
        let mut gate = SchemaGate::default();
        let differs = SampleVerdict::Differs;
        assert_eq!(gate.judge(Some(epoch), 5, Lsn(10)), differs, "nothing is known at the start");
        gate.adopt(epoch, 5, Lsn(20));
        assert_eq!(gate.judge(Some(epoch), 5, Lsn(10)), SampleVerdict::Proves(Lsn(20)));
        assert_eq!(gate.judge(Some(epoch), 5, Lsn(30)), SampleVerdict::Proves(Lsn(30)));
        assert_eq!(gate.judge(Some(other), 5, Lsn(30)), differs, "another epoch");
        assert_eq!(gate.judge(None, 5, Lsn(30)), differs, "no epoch");
        assert_eq!(gate.judge(Some(epoch), 6, Lsn(30)), differs, "altered since");
    }

    #[test]
    fn returned_schema_is_adopted_anew() {
        let epoch = Epoch::default();
        let mut gate = SchemaGate::default();
        gate.adopt(epoch, 5, Lsn(20));
        assert_eq!(gate.judge(Some(epoch), 6, Lsn(30)), SampleVerdict::Differs);
        for _ in 0..2 {
            assert_eq!(gate.judge(Some(epoch), 5, Lsn(40)), SampleVerdict::Returned);
        }
        gate.adopt(epoch, 5, Lsn(45));
        assert_eq!(gate.judge(Some(epoch), 5, Lsn(40)), SampleVerdict::Proves(Lsn(45)));
    }

    #[test]
    fn total_wraps_around() {
        assert_eq!(total_digest(&objects(&[("a", u64::MAX), ("b", 2)])), 1);
        assert_eq!(total_digest(&ObjectDigests::new()), 0);
    }
}
