//! Fills: the loaded value becomes an entry and is offered to the tiers.

use std::sync::Arc;
use std::time::Duration;

use coherence::{Lsn, Mono, Refusal, Verdict};
use contract::{Evidence, Unproven, freshness};

use super::outcome::LoadOutcome;
use super::proof_of_load::{LoadProof, loaded_wall_ms};
use super::request::{LoadContext, LoadRequest};
use crate::engine::answer::{Stale, Tier};
use crate::engine::error::ReadError;
use crate::engine::observer::{EngineEvent, FillRecord};
use crate::engine::rules::Rules;
use crate::engine::tiers::TierStack;
use crate::entry::{Content, Entry};
use crate::local::LocalEntry;
use crate::origin::Loaded;
use crate::partial::PartialBody;
use crate::shared::Fill;

/// An early refresh is considered from this many mean refresh leads before the end of an entry's life; the
/// probability that a reader would draw an earlier one is e⁻¹⁰.
const LEADS: f64 = 10.0;

impl TierStack {
    /// Offers a loaded value to the tiers and returns the outcome. The answer of a service may be older than
    /// its contract allows although it was just loaded: then the contract's rule for unproven answers
    /// applies.
    pub(crate) async fn accept_load(
        &self,
        request: &LoadRequest,
        loaded: Loaded,
        began: Mono,
        context: LoadContext,
    ) -> Result<LoadOutcome, ReadError> {
        let outcome = self.store(request, loaded, began, context).await;
        self.within_contract(request.rules(), outcome, began)
    }

    /// Returns the outcome of a load whose value is known, but for its body. It has the same proof as the complete
    /// value: the load began when it began. `None`: the contract does not allow it.
    pub(crate) fn early_outcome(
        &self,
        request: &LoadRequest,
        loaded: Loaded,
        body: PartialBody,
        began: Mono,
        context: LoadContext,
    ) -> Option<LoadOutcome> {
        let rules = request.rules();
        let outcome = self.new_outcome(request, loaded, began, context);
        let outcome = LoadOutcome { body: Some(body), ..outcome };
        self.within_contract(rules, outcome, began).ok()
    }

    /// Applies the contract's rule for an answer that is older than it allows although it was just loaded.
    fn within_contract(
        &self,
        rules: &Rules,
        outcome: LoadOutcome,
        began: Mono,
    ) -> Result<LoadOutcome, ReadError> {
        if rules.evidence == Evidence::Log || rules.is_within_budget(outcome.as_of, began) {
            return Ok(outcome);
        }
        match rules.unproven {
            Unproven::Fail => Err(self.unproven_error(rules, outcome.as_of)),
            Unproven::ReadOrigin | Unproven::ServeStale => {
                Ok(LoadOutcome { stale: Some(Stale::Unproven), ..outcome })
            }
        }
    }

    /// Offers a loaded value to the shared tier, then to the in-process tier.
    async fn store(
        &self,
        request: &LoadRequest,
        loaded: Loaded,
        began: Mono,
        context: LoadContext,
    ) -> LoadOutcome {
        let rules = request.rules();
        let size = size(&loaded.content);
        let mut outcome = self.new_outcome(request, loaded, began, context);
        if outcome.is_uncacheable() {
            if !rules.tiers.is_none() {
                self.local.insert_uncacheable(outcome.entry.clone());
            }
            self.release_lease(request, context).await;
            return outcome;
        }
        let fits = size <= rules.max_bytes;
        let entry = &outcome.entry;
        let has_fixed_end = rules.is_age_bound() || entry.changes_at().is_some();
        let left = if has_fixed_end { entry.expires().since(self.now()) } else { entry.ttl() };
        let is_stored = fits && !left.is_zero() && !rules.tiers.is_none();
        let Some(epoch) = outcome.epoch.filter(|_| is_stored) else {
            if is_stored && self.load_position().is_none() {
                self.report_never_fed();
            }
            self.release_lease(request, context).await;
            return outcome;
        };
        if rules.tiers.shared && context.shared {
            let entry = Entry { ttl: left, ..outcome.entry.to_entry() };
            let fill = Fill { key: request.key.clone(), entry, epoch, lease: context.lease };
            outcome.stored = self.shared.call(self.shared.tier.fill(&fill)).await;
            if let Some(verdict) = outcome.stored {
                self.report_fill(request, &outcome.entry, Tier::Shared, Tier::Origin, verdict);
            }
        }
        // A lost lease does not speak against the value, and a commit during the load may leave a soft-stale
        // entry; every other refusal speaks against the value.
        let late = Verdict::Refuse(Refusal::Tombstone);
        let is_sound = match outcome.stored {
            None | Some(Verdict::Accept | Verdict::Refuse(Refusal::Lease)) => true,
            Some(verdict) => {
                verdict == late && self.options.governor.is_on() && rules.allows_soft_stale()
            }
        };
        if rules.tiers.local && is_sound {
            let (key, entry) = (&request.key, &outcome.entry);
            let mappings = rules.mappings.of(&entry.tag_list());
            let verdict = self.local.fill(key, entry.clone(), epoch, &mappings);
            if verdict == late {
                self.local.fill_soft_stale(key, entry, epoch, &mappings);
            }
            // A late fill is reported once.
            if verdict != late || outcome.stored != Some(late) {
                self.report_fill(request, &outcome.entry, Tier::Local, Tier::Origin, verdict);
            }
            outcome.stored = outcome.stored.or(Some(verdict));
        }
        outcome
    }

    /// Makes an entry of a loaded value.
    fn new_outcome(
        &self,
        request: &LoadRequest,
        loaded: Loaded,
        began: Mono,
        context: LoadContext,
    ) -> LoadOutcome {
        let (key, rules, now) = (&request.key, request.rules(), self.now());
        let LoadProof { from, own, as_of, position } =
            LoadProof::new(self, rules, &loaded, began, context);
        let ttl = entry_ttl(rules, &loaded, self.options.chance.unit());
        let change = loaded.change;
        let turn = change.map(|change| self.turn_of_load(rules, change, (began, now)).earliest);
        let by_clock = turn.filter(|turn| *turn < from + ttl);
        let ttl = by_clock.map_or(ttl, |turn| turn.since(from));
        let (epoch, tau) = position.unzip();
        let entry = Entry {
            content: loaded.content,
            tau: tau.unwrap_or_default(),
            tags: if loaded.tags.is_empty() { Arc::default() } else { loaded.tags.into() },
            loaded_wall_ms: loaded_wall_ms(self, rules, from, now),
            ttl,
            seen: loaded.seen.unwrap_or(Lsn::MAX),
            definition: rules.definition,
            changes_at: change.map(|change| change.at),
            cost_us: Entry::cost_us(now.since(began)),
        };
        let fast_until = match entry.content {
            // Never served, so the fast path is closed from the start.
            Content::Uncacheable => Mono(0),
            // The proof of its tier does not apply to it.
            _ if rules.is_age_bound() => Mono(0),
            // Before its end a load returns the same value once more.
            _ if by_clock.is_some() => from + ttl,
            _ => refresh_from(rules, from + ttl, ttl, entry.cost()),
        };
        let policy = rules.entry_policy(self.options.governor.is_on());
        let entry = match rules.sliding.filter(|_| entry.is_present()) {
            None => LocalEntry::new(key, &entry, from, fast_until, own, policy),
            Some(touch) => {
                let life = touch.sliding_ttl(ttl, Duration::ZERO, from).until(turn);
                let sliding = (policy, touch, life);
                LocalEntry::with_sliding_ttl(key, &entry, (from, from), fast_until, own, sliding)
            }
        };
        let (tier, stale, stored, body) = (Tier::Origin, None, None, None);
        LoadOutcome { entry, tier, as_of, stale, stored, epoch, body }
    }

    /// Releases the lease of a load that stores nothing.
    pub(crate) async fn release_lease(&self, request: &LoadRequest, context: LoadContext) {
        if let Some(lease) = context.lease {
            self.shared.call(self.shared.tier.release(&request.key, lease)).await;
        }
    }

    /// Reports the verdict of a tier about a fill.
    pub(crate) fn report_fill(
        &self,
        request: &LoadRequest,
        entry: &LocalEntry,
        tier: Tier,
        from: Tier,
        verdict: Verdict,
    ) {
        if let Verdict::Refuse(refusal) = verdict {
            self.metrics.refused(tier.as_str(), refusal.as_str());
        }
        self.report(|| {
            EngineEvent::Fill(FillRecord {
                target: request.target(),
                tier,
                from,
                tau: entry.tau,
                loaded_wall_ms: entry.loaded_wall_ms,
                ttl: request.rules().sliding.map_or(entry.ttl(), |touch| touch.max_lifetime),
                verdict,
            })
        });
    }
}

/// The TTL of an entry, with jitter, so that entries stored together do not expire together.
fn entry_ttl(rules: &Rules, loaded: &Loaded, draw: f64) -> Duration {
    let by_contract = match loaded.content {
        Content::Uncacheable => return loaded.ttl.unwrap_or(rules.uncacheable_ttl),
        Content::Present(_) => rules.ttl,
        Content::Absent => rules.absent_ttl,
    };
    let jittered = |ttl| freshness::jittered(ttl, draw, rules.refresh.jitter);
    let ttl = match loaded.ttl {
        // The TTL that the origin allows is not exceeded.
        Some(allowed) => jittered(allowed).min(allowed),
        None => jittered(by_contract),
    };
    ttl.min(rules.max_lifetime())
}

/// The time from which readers draw for an early refresh; at most the last half of the entry's life.
pub(crate) fn refresh_from(rules: &Rules, expires: Mono, left: Duration, cost: Duration) -> Mono {
    if rules.refresh.beta <= 0.0 {
        return expires;
    }
    let lead = cost.mul_f64((rules.refresh.beta * LEADS).min(1e6)).min(left / 2);
    let nanos = u64::try_from(lead.as_nanos()).unwrap_or(u64::MAX);
    Mono(expires.0.saturating_sub(nanos))
}

fn size(content: &Content) -> u64 {
    match content {
        Content::Present(value) => (value.head.len() + value.body.len()) as u64,
        Content::Absent | Content::Uncacheable => 0,
    }
}
