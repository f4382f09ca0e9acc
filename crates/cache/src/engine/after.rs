//! Reads of somebody who has written: never older than the write.
//!
//! A tier answers if it has applied the log up to the token. If it has not, it gets a moment to do
//! so; then the origin is read, which is the database that was written to.

use std::sync::Arc;

use coherence::{After, Mono, Reached};
use contract::Key;

use super::answer::{Answer, ReadError, Tier};
use super::load::Landed;
use super::{Engine, Inner, Policy};
use crate::origin::Origin;

/// A token, and until when a tier may take to reach it.
#[derive(Clone, Copy)]
pub(super) struct Wish {
    pub(super) after: After,
    /// When the question was put: what the token stands for was committed before.
    pub(super) asked: Mono,
    pub(super) until: Mono,
}

impl Engine {
    /// As [`peek`](Self::peek), if the in-process tier has applied everything up to the token.
    #[must_use]
    pub fn peek_after(&self, key: &Key, policy: &Policy, after: After) -> Option<Answer> {
        let (held, proven) = self.inner.local.get_after(key, after)?;
        self.usable::<true>(policy, held, proven)
    }

    /// As [`get`](Self::get), and everything up to the token is in the answer, whichever tier or
    /// load it comes from; also in one that is served stale by its contract. A tier that has not got
    /// there waits at most [`after_timeout`](super::EngineOptions::after_timeout); then, or where
    /// the token is of another log, the origin is read.
    ///
    /// What the token stands for must have been committed before the call.
    ///
    /// # Errors
    /// [`ReadError`], by the policy's rules; also where the origin fails and only older answers are
    /// at hand.
    pub async fn get_after(
        &self,
        key: &Key,
        id: &str,
        policy: &Arc<Policy>,
        origin: &Arc<dyn Origin>,
        after: Option<After>,
    ) -> Result<Answer, ReadError> {
        let wish = self.inner.wish(after);
        if let Some(wish) = wish
            && self.inner.lags(key, policy, wish)
        {
            self.inner.caught_up(wish).await;
        }
        self.read(key, id, policy, origin, wish).await
    }
}

impl Inner {
    /// What a token asks for, from now on.
    pub(super) fn wish(&self, after: Option<After>) -> Option<Wish> {
        let asked = self.clock.mono();
        after.map(|after| Wish { after, asked, until: asked + self.options.after_timeout })
    }

    /// Whether there is something to say here that the token is too new for.
    pub(super) fn lags(&self, key: &Key, policy: &Policy, wish: Wish) -> bool {
        match self.local.get(key) {
            // No waiting helps: it is loaded anew.
            Some(_) if policy.is_aged() => false,
            Some(_) => self.local.get_after(key, wish.after).is_none(),
            None => {
                let absent = |after| self.absent(key, policy, after).is_some();
                absent(None) && !absent(Some(wish.after))
            }
        }
    }

    /// Gives the in-process tier a moment to reach the token; whether it has.
    pub(super) async fn caught_up(&self, wish: Wish) -> bool {
        let left = wish.until.since(self.clock.mono());
        let reached = tokio::time::timeout(left, self.local.reach(wish.after)).await;
        let reached = matches!(reached, Ok(Reached::Yes));
        self.metrics.waited_for_token(reached);
        reached
    }
}

impl Landed {
    /// Whether somebody else's load, which was asked for at `asked` by this reader, is good for the
    /// token: it began after the question, or what it brought has been read late enough.
    pub(super) fn is_good_for(&self, wish: Option<Wish>, asked: Mono) -> bool {
        let Some(Wish { after, .. }) = wish else { return true };
        // Not at the same moment: its snapshot may have been taken just before the write.
        (self.tier == Tier::Origin && self.entry.own && self.entry.loaded > asked)
            || after.reached(self.epoch, self.entry.tau) == Reached::Yes
    }
}
