//! Proofs of entries by their own tier and by the logs of other sources.

use coherence::{JointProof, Mono};
use contract::Key;

use super::foreign::ForeignProof;
use super::rules::Rules;
use super::tiers::TierStack;
use crate::entry::Entry;
use crate::local::LocalEntry;
use crate::shared::{Outcome, SharedRead};

impl Rules {
    /// The proof of an entry by the other logs that it depends on; `None`: it depends on none.
    fn foreign_of(&self, entry: &Entry) -> Option<&dyn ForeignProof> {
        self.foreign.as_deref().filter(|foreign| foreign.concerns(entry))
    }

    /// The time as of which an entry is proven by all logs that it depends on, where its own tier is proven as of
    /// `own`; `None`: a commit in another log may have invalidated it.
    pub(super) fn prove_jointly(
        &self,
        key: &Key,
        entry: &Entry,
        own: Option<Mono>,
    ) -> Option<Option<Mono>> {
        let Some(foreign) = self.foreign_of(entry) else { return Some(own) };
        match foreign.prove(key, entry, own) {
            JointProof::Stands(proven) => Some(proven),
            JointProof::Fallen => None,
        }
    }

    /// As [`prove_jointly`](Self::prove_jointly), of an entry of the in-process tier. The proof of a soft-stale one is
    /// that of its own log alone, so it does not stand.
    #[inline]
    pub(super) fn prove_local(
        &self,
        key: &Key,
        found: (LocalEntry, Option<Mono>),
    ) -> Option<(LocalEntry, Option<Mono>)> {
        if self.foreign.is_none() { Some(found) } else { self.prove_local_jointly(key, found) }
    }

    // Apart from the above, which every hit runs: most data is of one source.
    #[cold]
    fn prove_local_jointly(
        &self,
        key: &Key,
        (entry, own): (LocalEntry, Option<Mono>),
    ) -> Option<(LocalEntry, Option<Mono>)> {
        let shared = entry.to_entry();
        if entry.is_soft() && self.foreign_of(&shared).is_some() {
            return None;
        }
        let proven = self.prove_jointly(key, &shared, own)?;
        Some((entry, proven))
    }
}

impl TierStack {
    /// Fetches the witnesses of an entry of the shared tier. Returns whether it stands by the other logs.
    pub(super) async fn stands_elsewhere(
        &self,
        rules: &Rules,
        key: &Key,
        read: &SharedRead,
    ) -> bool {
        let Outcome::Found { entry, .. } = &read.outcome else { return true };
        match rules.foreign_of(entry) {
            Some(foreign) => foreign.fetch(key, entry).await,
            None => true,
        }
    }
}
