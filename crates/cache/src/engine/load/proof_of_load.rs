//! The proof of a loaded value: the time as of which it is proven, and its τ.
//!
//! A database shows at least the state at the time when the load began. A service may lag behind that, by the
//! lag of its contract and of its answer ([`coherence::watermark_history`]). Where no log covers the data, the age of an
//! answer is its only proof.

use std::time::Duration;

use coherence::bound::is_of_log;
use coherence::{Epoch, Lsn, Mono};
use contract::Evidence;

use super::request::LoadContext;
use crate::engine::rules::Rules;
use crate::engine::tiers::TierStack;
use crate::entry::Entry;
use crate::origin::Loaded;

/// The proof of a loaded value.
pub(super) struct LoadProof {
    /// The value shows the state at this time, or later. The life of its entry counts from here.
    pub(super) from: Mono,
    /// Whether `from` proves it.
    pub(super) own: bool,
    /// Every commit acknowledged before this time is in the value.
    pub(super) as_of: Option<Mono>,
    /// The epoch it belongs to, and its τ.
    pub(super) position: Option<(Epoch, Lsn)>,
}

impl LoadProof {
    pub(super) fn new(
        tiers: &TierStack,
        rules: &Rules,
        loaded: &Loaded,
        began: Mono,
        context: LoadContext,
    ) -> Self {
        let from = began.before(rules.lag.saturating_add(loaded.behind));
        let from_or_began = from.unwrap_or(began);
        let position = fill_position(tiers, rules, loaded, began, context)
            .filter(|(epoch, _)| is_of_log(*epoch, loaded.log));
        match loaded.replayed.filter(|_| !rules.is_age_bound()) {
            None => Self { from: from_or_began, own: from.is_some(), as_of: from, position },
            // W is no bound for the state of a standby, and the start of its load proves nothing.
            Some(replayed) => {
                let (epoch, watermark) = context.position.unzip();
                let tau = replayed.token(watermark.unwrap_or_default());
                let as_of = epoch.and_then(|epoch| tiers.local.proven_by(replayed, epoch));
                let position = epoch.map(|epoch| (epoch, tau));
                Self { from: from_or_began, own: false, as_of, position }
            }
        }
    }
}

fn fill_position(
    tiers: &TierStack,
    rules: &Rules,
    loaded: &Loaded,
    began: Mono,
    context: LoadContext,
) -> Option<(Epoch, Lsn)> {
    // An old answer of a service without a log states its age; its position only prevents that the entry
    // outlives a purge during the load.
    let stated = if rules.is_age_bound() { Duration::ZERO } else { loaded.behind };
    let behind = rules.lag.saturating_add(stated);
    if behind.is_zero() || context.position.is_none() {
        return context.position;
    }
    tiers.local.load_position_at(began.before(behind)?)
}

/// The wall time to record in an entry, in ms since 1970: the end of its load, or, for an answer that may lag
/// or that only its age proves, the time whose state it shows.
pub(super) fn loaded_wall_ms(tiers: &TierStack, rules: &Rules, from: Mono, now: Mono) -> u64 {
    let wall_ms = tiers.clock.wall_ms();
    if rules.evidence == Evidence::Log {
        return wall_ms;
    }
    let ago = now.since(from).as_nanos().div_ceil(1_000_000);
    wall_ms.saturating_sub(u64::try_from(ago).unwrap_or(u64::MAX))
}

/// The time as of which an entry of the shared tier is proven by its age alone. Wall clocks of two machines
/// differ, and the tier's own count of the remaining TTL begins with the fill: the older time counts.
pub(crate) fn age_bound_as_of(
    tiers: &TierStack,
    rules: &Rules,
    entry: &Entry,
    left: Duration,
) -> Option<Mono> {
    // The clock truncates to whole milliseconds.
    let by_wall = (tiers.clock.wall_ms() + 1).saturating_sub(entry.loaded_wall_ms);
    let stored = entry.ttl.saturating_sub(left);
    let by_tier = stored.saturating_add(entry.cost()).saturating_add(rules.lag);
    tiers.now().before(by_tier.max(Duration::from_millis(by_wall)))
}
