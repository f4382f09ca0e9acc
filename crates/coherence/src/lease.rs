//! Who in the cluster loads a key: one holder, for a bounded time, replaceable.
//!
//! A lease saves origin work; it is not what keeps values right (the [fence](crate::fence) is).
//! So a lost lease costs a second load, never a wrong answer.

use std::collections::BTreeMap;
use std::time::Duration;

use contract::Key;

use crate::clock::Mono;
use crate::rules::{Rule, on};

/// Names one grant of a lease; a later grant of the same key has another.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct LeaseToken(pub u64);

/// The answer to asking for a lease.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Grant {
    /// It is the caller's to load.
    Granted(LeaseToken),
    /// Somebody else loads it, until then at the latest unless they renew.
    Held {
        /// When the present grant runs out.
        until: Mono,
    },
}

/// All leases of one tier.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Leases {
    held: BTreeMap<Key, (LeaseToken, Mono)>,
}

impl Leases {
    /// Grants `token` if nobody holds the key at `now`.
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

    /// The holder's heartbeat. False: the lease ran out or was given on. One that ran out is not
    /// brought back, since somebody may have held it in between.
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

    /// Gives the lease back; one that was given on to somebody else is left alone.
    pub fn release(&mut self, key: &Key, token: LeaseToken) {
        let holds = |(holder, _): &(_, _)| *holder == token || !on(Rule::LeaseReleasedByHolder);
        if self.held.get(key).is_some_and(holds) {
            self.held.remove(key);
        }
    }

    /// Whether somebody else holds the key at `now`, so that a fill under `token` comes too late.
    /// Once that holder has filled or released, the fence alone decides.
    #[must_use]
    pub fn given_on(&self, key: &Key, token: LeaseToken, now: Mono) -> bool {
        on(Rule::LeaseGivenOn)
            && self.held.get(key).is_some_and(|(holder, until)| *holder != token && *until > now)
    }

    /// Forgets the leases that ran out before `now`.
    pub fn sweep(&mut self, now: Mono) {
        self.held.retain(|_, (_, until)| *until > now);
    }

    /// Forgets all of them (a new incarnation of the tier).
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
    fn race_20_the_holder_is_slow_and_comes_back_after_its_lease_was_given_on() {
        let mut leases = Leases::default();
        let (slow, next) = (LeaseToken(1), LeaseToken(2));
        assert_eq!(leases.acquire(&key(), slow, Mono(0), TTL), Grant::Granted(slow));
        assert_eq!(leases.acquire(&key(), next, Mono(99), TTL), Grant::Held { until: Mono(100) });
        assert_eq!(leases.acquire(&key(), next, Mono(100), TTL), Grant::Granted(next));
        assert!(leases.given_on(&key(), slow, Mono(101)), "its late fill is refused");
        assert!(!leases.renew(&key(), slow, Mono(101), TTL));
        leases.release(&key(), slow);
        assert!(
            leases.given_on(&key(), slow, Mono(102)),
            "a late release frees nobody else's lease"
        );
        assert!(!leases.given_on(&key(), next, Mono(102)));
    }

    #[test]
    fn a_heartbeat_keeps_the_lease() {
        let mut leases = Leases::default();
        leases.acquire(&key(), LeaseToken(1), Mono(0), TTL);
        assert!(leases.renew(&key(), LeaseToken(1), Mono(90), TTL));
        let grant = leases.acquire(&key(), LeaseToken(2), Mono(150), TTL);
        assert_eq!(grant, Grant::Held { until: Mono(190) });
        assert!(!leases.renew(&key(), LeaseToken(1), Mono(190), TTL), "it ran out");
    }
}
