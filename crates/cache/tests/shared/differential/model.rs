//! The naive model.

use std::collections::BTreeMap;

use bytes::Bytes;
use cache::entry::{Content, Entry, Value};
use cache::shared::{Fill, LeadRequest, Leadership, Led, TierPosition};
use coherence::coverage::has_caught_up;
use coherence::fence::Gap;
use coherence::{Batch, Claim, Coverage, Fence, Offer, Refusal, Renewal, Subject, Verdict};
use contract::Key;

/// The number of `Age` steps in the TTL of an entry.
pub(super) const AGES: u32 = 8;

/// The rules of `coherence`, with naive collections of entries and lease holders.
#[derive(Default)]
pub(super) struct Model {
    pub(super) fence: Fence,
    pub(super) entries: BTreeMap<Key, Entry>,
    /// The `Age` steps that each entry has left.
    left: BTreeMap<Key, u32>,
    /// The index of the present lease of each key.
    pub(super) holders: BTreeMap<Key, usize>,
    claim: Option<Claim>,
    /// The claim has not expired.
    pub(super) is_live: bool,
    pub(super) coverage: Coverage,
}

impl Model {
    pub(super) fn position(&self) -> Option<TierPosition> {
        let (applied, watermark) = (self.fence.applied(), self.fence.watermark());
        let coverage = self.fence.coverage();
        self.fence.epoch().map(|epoch| TierPosition { epoch, applied, watermark, coverage })
    }

    pub(super) fn lead(&mut self, request: &LeadRequest) -> Led {
        let LeadRequest { claim, history, from, coverage, upto } = request;
        let live = self.claim.as_ref().filter(|_| self.is_live);
        let applied = self.fence.epoch().map(|_| self.fence.applied());
        if let Err(conflict) = claim.replaces(live, applied, history) {
            return Led::Refused(conflict, live.expect("it stands").label.clone());
        }
        if self.coverage.digest() != *from || !has_caught_up(*upto, applied) {
            return Led::Changed;
        }
        (self.claim, self.is_live) = (Some(claim.clone()), true);
        self.coverage.clone_from(coverage);
        self.fence.state_coverage(coverage.digest());
        Led::Granted
    }

    pub(super) fn leadership(&self) -> Leadership {
        let claim = self.claim.clone().filter(|_| self.is_live);
        Leadership { claim, stated: self.coverage.digest(), coverage: self.coverage.clone() }
    }

    pub(super) fn fill(&mut self, fill: &Fill, lease: Option<usize>) -> Verdict {
        let offer = Offer {
            key: &fill.key,
            tags: &fill.entry.tags,
            tau: fill.entry.tau,
            epoch: fill.epoch,
            stored: self.entries.get(&fill.key).map(|entry| entry.tau),
        };
        let mut verdict = self.fence.admit(offer);
        if let Some(lease) = lease {
            let holder = self.holders.get(&fill.key).copied();
            if holder == Some(lease) {
                self.holders.remove(&fill.key);
            } else if verdict == Verdict::Accept && holder.is_some() {
                verdict = Verdict::Refuse(Refusal::Lease);
            }
        }
        if verdict == Verdict::Accept {
            self.store(&fill.key, fill.entry.clone());
        }
        verdict
    }

    pub(super) fn apply(&mut self, batch: &Batch) -> Result<(), Gap> {
        self.fence.apply(batch)?;
        self.is_live = self.claim.is_some();
        for event in &batch.events {
            for subject in &event.subjects {
                let Subject::Key(key) = subject else { continue };
                if self.entries.get(key).is_none_or(|entry| entry.tau >= event.lsn) {
                    continue;
                }
                let Some(old) = self.entries.remove(key) else { continue };
                let renewal = event.renewal(key);
                let same = renewal.filter(|renewal| renewal.definition == old.definition);
                let Some(Renewal { value, tags, ttl, definition, .. }) = same else { continue };
                let (tau, epoch) = (event.lsn, batch.epoch);
                let offer = Offer { key, tags, tau, epoch, stored: None };
                if self.fence.admit(offer) == Verdict::Accept {
                    let content = match value {
                        Some(text) => Content::Present(Value {
                            head: Bytes::new(),
                            body: Bytes::copy_from_slice(text.as_bytes()),
                        }),
                        None => Content::Absent,
                    };
                    let renewed = Entry {
                        tau,
                        content,
                        tags: tags[..].into(),
                        loaded_wall_ms: 0,
                        changes_at: None,
                        cost_us: 0,
                        ttl: *ttl,
                        seen: tau,
                        definition: *definition,
                    };
                    self.store(key, renewed);
                }
            }
        }
        self.drop_invalid();
        Ok(())
    }

    fn store(&mut self, key: &Key, entry: Entry) {
        self.entries.insert(key.clone(), entry);
        self.left.insert(key.clone(), AGES);
    }

    pub(super) fn touch(&mut self, key: &Key) {
        let Some(entry) = self.entries.get_mut(key).filter(|entry| entry.is_present()) else {
            return;
        };
        if self.left.insert(key.clone(), AGES) != Some(AGES) {
            entry.tau = self.fence.confirm(key, &entry.tags, entry.tau).expect("it is valid");
        }
    }

    pub(super) fn age(&mut self) {
        self.holders.clear();
        let left = &mut self.left;
        self.entries.retain(|key, _| {
            let left = left.get_mut(key).expect("every entry has a rest");
            *left -= 1;
            *left > 0
        });
    }

    pub(super) fn drop_invalid(&mut self) {
        let fence = &self.fence;
        self.entries.retain(|key, entry| fence.stands(key, &entry.tags, entry.tau));
    }

    pub(super) fn evict(&mut self, subjects: &[Subject]) {
        self.entries.retain(|key, entry| {
            !subjects.iter().any(|subject| subject.concerns(key, &entry.tags))
        });
    }
}
