//! Entries that depend on several logs: a page that shows rows of two databases.
//!
//! Each log has a tier of its own, with its own fence, epoch and bound. One of these tiers stores the value. Every
//! other one stores a *witness* under the same key and tags: a number that the load of the value has drawn. An event
//! of a log removes the witness as it would remove the value. So the value misses no applied commit of a log while
//! the tier of that log has its witness.
//!
//! The witness has to be of the same load: one of a later load says nothing about an older value, which may have been
//! stored over a newer one by a slow load.

use crate::clock::Mono;
use crate::rules::{Rule, on};

/// The number that a load draws for its value and its witnesses.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct LoadId(pub u64);

/// The witness that the tier of one log has.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Witness {
    /// The load that it is of.
    pub load: LoadId,
    /// The time as of which its tier is proven; `None`: nothing is proven.
    pub proven: Option<Mono>,
}

/// The proof of a value by the tiers of all logs that it depends on.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum JointProof {
    /// It misses no commit that the tiers have applied, and every commit before this time is in it; `None`: one of the
    /// tiers proves nothing.
    Stands(Option<Mono>),
    /// A witness is missing: a commit may have invalidated the value.
    Fallen,
}

/// Returns the proof of the value of a load. `witnesses`: those of all logs that the value depends on besides that of
/// the tier that stores it. `own`: the time as of which that tier is proven; `None` where the value does not depend on
/// its log.
#[must_use]
pub fn prove(
    load: LoadId,
    own: Option<Option<Mono>>,
    witnesses: impl IntoIterator<Item = Option<Witness>>,
) -> JointProof {
    let mut oldest = own;
    for witness in witnesses {
        let witness = match witness {
            Some(witness) if witness.load == load || !on(Rule::WitnessOfSameLoad) => witness,
            None if !on(Rule::WitnessOfEveryLog) => continue,
            Some(_) | None => return JointProof::Fallen,
        };
        // `None` is less than every time: one tier without a proof leaves none.
        oldest = Some(oldest.map_or(witness.proven, |oldest| oldest.min(witness.proven)));
    }
    JointProof::Stands(oldest.flatten())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOAD: LoadId = LoadId(7);

    fn witness(load: u64, proven: Option<u64>) -> Option<Witness> {
        Some(Witness { load: LoadId(load), proven: proven.map(Mono) })
    }

    #[test]
    fn oldest_log_decides() {
        let prove = |own: Option<Option<u64>>, witnesses: &[Option<Witness>]| {
            super::prove(LOAD, own.map(|own| own.map(Mono)), witnesses.iter().copied())
        };
        let stands = |at: Option<u64>| JointProof::Stands(at.map(Mono));
        assert_eq!(prove(Some(Some(5)), &[]), stands(Some(5)));
        assert_eq!(prove(Some(Some(5)), &[witness(7, Some(3))]), stands(Some(3)));
        assert_eq!(prove(Some(Some(5)), &[witness(7, Some(8))]), stands(Some(5)));
        assert_eq!(prove(None, &[witness(7, Some(8))]), stands(Some(8)));
        assert_eq!(prove(Some(None), &[witness(7, Some(8))]), stands(None));
        assert_eq!(prove(Some(Some(5)), &[witness(7, None)]), stands(None));
        assert_eq!(prove(Some(Some(5)), &[witness(7, Some(9)), witness(7, None)]), stands(None));
        assert_eq!(prove(None, &[]), stands(None));
    }

    #[test]
    fn missing_witness_or_other_load_proves_nothing() {
        let own = Some(Some(Mono(5)));
        assert_eq!(prove(LOAD, own, [None]), JointProof::Fallen);
        assert_eq!(prove(LOAD, own, [witness(7, Some(5)), None]), JointProof::Fallen);
        assert_eq!(prove(LOAD, own, [witness(8, Some(5))]), JointProof::Fallen);
    }
}
