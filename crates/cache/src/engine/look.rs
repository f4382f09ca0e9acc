//! What the in-process tier has under a key, judged by the policy.

use std::sync::Arc;

use coherence::governor::{self, Use};
use coherence::{After, Mono};
use contract::{Key, freshness};

use super::load::within;
use super::{Inner, Policy};
use crate::entry::Content;
use crate::local::Held;

/// The judgement.
pub(super) enum Look {
    /// Good. `refresh`: it is this reader's lot to renew it ahead of its end.
    Fresh { held: Arc<Held>, as_of: Option<Mono>, refresh: bool },
    /// A commit has made it old, and its contract may spend so much of its budget. `refresh`: it is
    /// this reader's lot to have it loaded again.
    Soft { held: Arc<Held>, as_of: Mono, refresh: bool },
    /// It stands, but is not proven to be within the budget.
    Unproven { held: Arc<Held>, as_of: Option<Mono> },
    /// It has outlived its TTL.
    Expired { held: Arc<Held>, as_of: Option<Mono>, within: bool },
    /// Nothing is held, and a filter knows that there is no such row.
    Filtered { held: Arc<Held>, as_of: Option<Mono> },
    /// It is known that the answer may not be stored.
    Uncacheable,
    /// Nothing.
    Nothing,
}

impl Inner {
    /// With a token: nothing that may miss what the token stands for.
    pub(super) fn look(&self, key: &Key, policy: &Policy, after: Option<After>) -> Look {
        let held = match after {
            None => self.local.get(key),
            // What is proven by its age says nothing about a log.
            Some(_) if policy.is_aged() => return Look::Nothing,
            Some(after) => self.local.get_after(key, after),
        };
        let Some((held, proven)) = held else { return self.filtered(key, policy, after) };
        // Read after the entry was fetched: a delay in between makes the bound larger, not smaller.
        let now = self.clock.mono();
        if matches!(held.content, Content::Uncacheable) {
            return if now < held.expires() { Look::Uncacheable } else { Look::Nothing };
        }
        if !policy.tiers.local || !policy.may_keep(&held, &*self.clock) {
            return Look::Nothing;
        }
        if let Some(soft) = held.soft() {
            let Use::Serve { refresh } = policy.use_of(soft, now) else { return Look::Nothing };
            if now >= held.expires() {
                return Look::Nothing;
            }
            let as_of = soft.mark.as_of;
            let again = now + governor::again_after(policy.budget);
            let refresh = refresh && soft.take_turn(now, again);
            return Look::Soft { held, as_of, refresh };
        }
        let as_of = held.as_of(proven);
        let within = within(policy, as_of, now);
        if now >= held.expires() {
            if let filtered @ Look::Filtered { .. } = self.filtered(key, policy, after) {
                return filtered;
            }
            return Look::Expired { held, as_of, within };
        }
        if !within {
            return Look::Unproven { held, as_of };
        }
        self.used(key, policy, &held, now);
        // What is used lives on: it is renewed ahead of its end only where that is fixed.
        let refresh = now >= held.look_from() && held.ends_for_good() && {
            let cost = u64::try_from(held.cost.as_nanos()).unwrap_or(u64::MAX);
            // unit() is in [0, 1), the draw in (0, 1].
            let draw = 1.0 - self.options.chance.unit();
            freshness::xfetch_due(now.0, held.expires().0, cost, policy.refresh.beta, draw)
        };
        Look::Fresh { held, as_of, refresh }
    }
}
