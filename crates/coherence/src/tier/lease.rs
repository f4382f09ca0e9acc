//! Leases: the right to load a key, with one holder in the cluster for a bounded time.
//!
//! A lease saves work at the origin; the [fence](crate::fence), not the lease, keeps values right. So a
//! lost lease costs a second load, never a wrong answer.

use std::collections::BTreeMap;
use std::time::Duration;

use contract::Key;

use crate::clock::Mono;
use crate::rules::{Rule, on};

/// Identifies one grant of a lease; each grant of a key has its own.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct LeaseToken(pub u64);

/// The result of [`Leases::acquire`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Grant {
    /// The caller loads the key.
    Granted(LeaseToken),
    /// Another holder loads the key.
    Held {
        /// The end of the present grant, unless its holder renews it.
        until: Mono,
    },
}

/// All leases of one tier.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Leases {
    held: BTreeMap<Key, (LeaseToken, Mono)>,
}

impl Leases {
    /// Grants `token` if the key has no holder at `now`.
    pub fn acquire(&mut self, key: &Key, token: LeaseToken, now: Mono, ttl: Duration) -> Grant {
        match self.held.get(key) {
            Some((_, until)) if *until > now && on(Rule::LeaseExclusive) => {
                Grant::Held { until: *until }
            }
            _ => {
                self.held.insert(key.clone(), (token, now + ttl));
                Grant::Granted(token)
            }
        }
    }

    /// Renews the lease for its holder. False: the lease ran out or was reassigned. A lease that ran out is
    /// not restored, since it may have had another holder in between.
    pub fn renew(&mut self, key: &Key, token: LeaseToken, now: Mono, ttl: Duration) -> bool {
        match self.held.get_mut(key) {
            Some((holder, until))
                if (*holder == token || !on(Rule::LeaseRenewedByHolder)) && *until > now =>
            {
                *until = now + ttl;
                true
            }
            _ => false,
        }
    }

    /// Releases the lease; a lease that was reassigned stays with its new holder.
    pub fn release(&mut self, key: &Key, token: LeaseToken) {
        let holds = |(holder, _): &(_, _)| *holder == token || !on(Rule::LeaseReleasedByHolder);
        if self.held.get(key).is_some_and(holds) {
            self.held.remove(key);
        }
    }

    /// Returns whether the key has another holder at `now`, so that a fill under `token` is too late. After
    /// that holder has filled or released, the fence alone decides.
    #[must_use]
    pub fn is_reassigned(&self, key: &Key, token: LeaseToken, now: Mono) -> bool {
        on(Rule::LeaseReassigned)
            && self.held.get(key).is_some_and(|(holder, until)| *holder != token && *until > now)
    }

    /// Drops the leases that ran out before `now`.
    pub fn sweep(&mut self, now: Mono) {
        self.held.retain(|_, (_, until)| *until > now);
    }

    /// Drops all leases (an epoch reset of the tier).
    pub fn clear(&mut self) {
        self.held.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_nanos(100);

    fn key() -> Key {
        Key::parse("v1:catalog:price:42").expect("a key")
    }

    #[test]
    fn race_20_expired_lease_taken_over() {
        let mut leases = Leases::default();
        let (slow, next) = (LeaseToken(1), LeaseToken(2));
        assert_eq!(leases.acquire(&key(), slow, Mono(0), TTL), Grant::Granted(slow));
        assert_eq!(leases.acquire(&key(), next, Mono(99), TTL), Grant::Held { until: Mono(100) });
        assert_eq!(leases.acquire(&key(), next, Mono(100), TTL), Grant::Granted(next));
        assert!(leases.is_reassigned(&key(), slow, Mono(101)), "its late fill is refused");
        assert!(!leases.renew(&key(), slow, Mono(101), TTL));
        leases.release(&key(), slow);
        assert!(
            leases.is_reassigned(&key(), slow, Mono(102)),
            "a late release does not free the new holder's lease"
        );
        assert!(!leases.is_reassigned(&key(), next, Mono(102)));
    }

    #[test]
    fn renewal_keeps_the_lease() {
        let mut leases = Leases::default();
        leases.acquire(&key(), LeaseToken(1), Mono(0), TTL);
        assert!(leases.renew(&key(), LeaseToken(1), Mono(90), TTL));
        let grant = leases.acquire(&key(), LeaseToken(2), Mono(150), TTL);
        assert_eq!(grant, Grant::Held { until: Mono(190) });
        assert!(!leases.renew(&key(), LeaseToken(1), Mono(190), TTL), "it ran out");
    }
}
