//! Entries whose uses prolong their lives, in whichever tier holds them.
//!
//! A use is an answer that is proven to be within its contract. The in-process tier notes it in the
//! entry itself; the shared tier in the step that finds it there; and a node that answers from its own
//! copy reminds the shared tier now and then, in the background.

use std::sync::Arc;
use std::time::Duration;

use coherence::Mono;
use contract::Key;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::load::refresh_from;
use super::{Engine, Inner, Policy};
use crate::local::Held;
use crate::shared::{SharedRead, Slide};

/// Reminders that may wait; what comes while so many do is taken up at a later use.
const MOST_WAITING: usize = 16_384;
/// Reminders in one call, and the pause after it: 25,600 a second at most.
const AT_ONCE: usize = 256;
const PACE: Duration = Duration::from_millis(10);

/// What the shared tier is to be reminded of.
#[derive(Default)]
pub(super) struct Reminders {
    waiting: Mutex<Vec<(Key, Slide)>>,
    some: Notify,
}

impl Reminders {
    fn add(&self, key: &Key, slide: Slide) {
        let mut waiting = self.waiting.lock();
        if waiting.len() < MOST_WAITING {
            waiting.push((key.clone(), slide));
            self.some.notify_one();
        }
    }

    fn take(&self) -> Vec<(Key, Slide)> {
        let mut waiting = self.waiting.lock();
        let most = waiting.len().min(AT_ONCE);
        waiting.drain(..most).collect()
    }
}

impl Inner {
    /// What a use now does to the entry in the shared tier, if that is proven: nothing else is
    /// prolonged.
    pub(super) fn slide(&self, policy: &Policy) -> Option<Slide> {
        let slide = policy.slide?;
        if policy.immutable {
            return Some(slide);
        }
        let budget = u64::try_from(policy.budget.as_nanos()).unwrap_or(u64::MAX);
        let as_of = Mono(self.clock.mono().0.saturating_sub(budget));
        Some(Slide { proven_from: self.local.needed(as_of)?, ..slide })
    }

    /// Asks the shared tier for one key.
    pub(super) async fn read_shared(
        &self,
        key: &Key,
        slide: Option<Slide>,
        lease: Duration,
    ) -> Option<SharedRead> {
        let (tier, lease) = (&self.port.tier, Some(lease));
        let Some(slide) = slide else { return self.port.call(tier.read(key, lease)).await };
        let (keys, slides) = ([key.clone()], [Some(slide)]);
        self.port.call(tier.read_using(&keys, &slides, lease)).await?.pop()
    }

    /// An answer is given from what the in-process tier holds, proven to be within its contract.
    #[inline]
    pub(super) fn used(&self, key: &Key, policy: &Policy, held: &Arc<Held>, now: Mono) {
        if policy.slide.is_some() {
            self.note_use(key, policy, held, now);
        }
    }

    fn note_use(&self, key: &Key, policy: &Policy, held: &Held, now: Mono) {
        let last = |ends: Mono| refresh_from(policy, ends, ends.since(now), held.cost);
        if held.used(now, last)
            && policy.tiers.shared
            && let Some(slide) = self.slide(policy)
        {
            self.reminders.add(key, slide);
        }
    }
}

impl Engine {
    /// Reminds the shared tier of what is used here, for as long as it is polled.
    pub(super) async fn remind(&self) -> std::convert::Infallible {
        let inner = &self.inner;
        loop {
            inner.reminders.some.notified().await;
            loop {
                let uses = inner.reminders.take();
                if uses.is_empty() {
                    break;
                }
                // If it does not come through, the next quarter's does.
                inner.port.call(inner.port.tier.touch(&uses)).await;
                tokio::time::sleep(PACE).await;
            }
        }
    }
}
