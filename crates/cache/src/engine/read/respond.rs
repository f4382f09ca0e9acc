//! Answers from outcomes, counted in the metrics.

use coherence::{CausalToken, Mono};
use contract::{Key, Unproven};

use crate::engine::answer::{Answer, Stale, Tier};
use crate::engine::error::ReadError;
use crate::engine::load::{LoadOutcome, LoadRequest};
use crate::engine::policy::Policy;
use crate::engine::rules::Rules;
use crate::engine::tiers::TierStack;
use crate::local::LocalEntry;
use crate::origin::OriginErrorKind;

impl TierStack {
    /// Answers from an outcome.
    pub(crate) fn answer(&self, rules: &Rules, outcome: LoadOutcome, collapsed: bool) -> Answer {
        let now = self.now();
        let result = match (&outcome.stale, outcome.entry.is_absent()) {
            (Some(stale), _) => stale.as_str(),
            (None, _) if outcome.entry.is_soft() => "soft",
            (None, true) => "absent",
            (None, _) if outcome.tier == Tier::Origin => "miss",
            (None, _) => "hit",
        };
        self.metrics.read(rules, outcome.tier.as_str(), result);
        if collapsed {
            self.metrics.collapsed(rules);
        }
        Answer {
            entry: outcome.entry,
            tier: outcome.tier,
            now,
            proven: outcome.as_of,
            stale: outcome.stale,
            collapsed,
            stored: outcome.stored,
            body: outcome.body,
        }
    }

    /// Answers from the outcome of a request, unless it may lack the write of the reader's token.
    pub(crate) fn answer_of(
        &self,
        request: &LoadRequest,
        outcome: LoadOutcome,
        joined: bool,
    ) -> Result<Answer, ReadError> {
        if outcome.violates_token(request) {
            return Err(self.unproven_error(request.rules(), outcome.as_of));
        }
        Ok(self.answer(request.rules(), outcome, joined))
    }

    /// Answers from a local entry that is not proven to be within its contract.
    pub(crate) fn stale_answer(
        &self,
        rules: &Rules,
        entry: LocalEntry,
        as_of: Option<Mono>,
        why: Stale,
    ) -> Answer {
        self.metrics.read(rules, Tier::Local.as_str(), why.as_str());
        Answer::local(entry, as_of, self.now(), Some(why))
    }

    /// Answers a failed read with the entry of the in-process tier, if the contract allows it. An entry that
    /// is there *now* has not been invalidated during the load.
    pub(crate) fn stale_if_error(
        &self,
        key: &Key,
        policy: &Policy,
        token: Option<CausalToken>,
        err: ReadError,
    ) -> Result<Answer, ReadError> {
        let rules = &policy.rules;
        let may_be_covered = !matches!(&err, ReadError::Unproven { .. })
            && !matches!(&err, ReadError::Origin(err) if err.kind == OriginErrorKind::BadRequest);
        let found = if may_be_covered && rules.tiers.local {
            self.get_local(key, rules, token)
        } else {
            None
        };
        if let Some((entry, proven)) = found
            && !entry.is_uncacheable()
            && rules.is_retained(&entry, &*self.clock)
        {
            let (as_of, now) = (entry.as_of(proven), self.now());
            if !entry.is_soft() && rules.unproven == Unproven::ServeStale {
                return Ok(self.stale_answer(rules, entry, as_of, Stale::OriginFailed));
            }
            // A soft-stale entry, or one whose value has changed by the clock, is within its contract as long as its budget
            // lasts, and then it is not served: by the contract of every reader.
            let is_usable = match entry.is_soft() {
                true => now < entry.expires(),
                false => entry.may_outlast_its_change(),
            };
            if is_usable && rules.is_within_budget(as_of, now) {
                self.metrics.read(rules, Tier::Local.as_str(), "soft");
                return Ok(Answer::local(entry, as_of, now, None));
            }
        }
        self.metrics.read(rules, "none", err.as_str());
        Err(err)
    }
}
