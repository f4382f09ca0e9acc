//! What the shared tier has, judged by the policy; and who is to load it if it has nothing.

use std::sync::Arc;
use std::time::Duration;

use coherence::{Epoch, LeaseToken, Lsn, Mono, Reached};
use contract::Unproven;

use super::Inner;
use super::answer::{ReadError, Stale, Tier};
use super::load::{Job, Landed, compact, refresh_from, within};
use crate::entry::Entry;
use crate::local::Held;
use crate::shared::{Outcome, SharedRead};

/// The first pause before another node is asked again whether it has finished, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(4);
const LONGEST_PAUSE: Duration = Duration::from_millis(32);

/// What the tiers said, if not the answer.
#[derive(Clone, Copy)]
pub(super) struct Start {
    /// W and its epoch, for the fill; known before the load begins.
    pub(super) token: Option<(Epoch, Lsn)>,
    pub(super) lease: Option<LeaseToken>,
    /// Whether the shared tier can take the fill.
    pub(super) shared: bool,
}

pub(super) enum Asked {
    Answer(Landed),
    Load(Start),
}

/// What one reply comes to.
pub(super) enum Judged {
    Now(Asked),
    /// Another node loads it, and has this long.
    Wait(Duration),
    /// The tier has not got to the reader's token yet.
    Behind(Start),
}

impl Inner {
    /// How a load begins that the shared tier knows nothing of.
    pub(super) fn without_shared(&self) -> Start {
        Start { token: self.local.token(), lease: None, shared: false }
    }

    pub(super) async fn ask_shared(&self, job: &Job) -> Result<Asked, ReadError> {
        let away = self.without_shared();
        if !job.policy.tiers.shared {
            return Ok(Asked::Load(away));
        }
        let began = self.clock.mono();
        let mut pause = FIRST_PAUSE;
        let mut waited = false;
        let mut behind = false;
        loop {
            // A refresh in the background is no use.
            let slide = if job.refresh { None } else { self.slide(&job.policy) };
            let lease = self.options.lease_ttl;
            let Some(read) = self.read_shared(&job.key, slide, lease).await else {
                return Ok(Asked::Load(away));
            };
            match self.judge(job, read)? {
                Judged::Now(asked) => {
                    if waited && matches!(asked, Asked::Load(Start { lease: Some(_), .. })) {
                        self.metrics.takeovers.inc();
                    }
                    return Ok(asked);
                }
                Judged::Behind(plain) => {
                    // Once our own tier is there, the shared tier mostly is; on the node that leads it may
                    // be a moment behind, and then this is a load.
                    if let Some(wish) = job.wish
                        && !behind
                        && self.caught_up(wish).await
                    {
                        behind = true;
                        continue;
                    }
                    return Ok(Asked::Load(plain));
                }
                Judged::Wait(left) => {
                    let spent = self.clock.mono().since(began);
                    if spent >= self.options.wait_timeout {
                        return Err(ReadError::Waited(spent));
                    }
                    waited = true;
                    let jitter = 0.75 + 0.5 * self.options.chance.unit();
                    // Just after the lease's end rather than just before it.
                    let left = left + Duration::from_millis(1);
                    tokio::time::sleep(pause.mul_f64(jitter).min(left)).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    pub(super) fn judge(&self, job: &Job, read: SharedRead) -> Result<Judged, ReadError> {
        let SharedRead { standing, outcome } = read;
        let token = standing.map(|standing| (standing.epoch, standing.watermark));
        let plain = Start { token, lease: None, shared: true };
        Ok(Judged::Now(match outcome {
            Outcome::Found { entry, remaining } => {
                let Some(standing) = standing else { return Ok(Judged::Now(Asked::Load(plain))) };
                let (epoch, applied) = (standing.epoch, standing.applied);
                if self.local.outdates(&job.key, &entry.tags, epoch, applied) {
                    return Ok(Judged::Now(Asked::Load(plain)));
                }
                if job.wish.is_some() && job.policy.is_aged() {
                    // What is proven by its age says nothing about a log.
                    return Ok(Judged::Now(Asked::Load(plain)));
                }
                if let Some(wish) = job.wish
                    && wish.after.reached(Some(epoch), applied) != Reached::Yes
                {
                    return Ok(Judged::Behind(plain));
                }
                // An entry that still stands misses nothing that its tier has applied.
                let entry = Entry { tau: applied, ..compact(entry) };
                let as_of = self.local.proven_at(epoch, applied);
                self.found(job, entry, remaining, epoch, as_of, plain)?
            }
            Outcome::Lead(lease) => Asked::Load(Start { lease: Some(lease), ..plain }),
            Outcome::Miss => Asked::Load(plain),
            Outcome::Wait(left) => return Ok(Judged::Wait(left)),
        }))
    }

    fn found(
        &self,
        job: &Job,
        entry: Entry,
        remaining: Duration,
        epoch: Epoch,
        as_of: Option<Mono>,
        plain: Start,
    ) -> Result<Asked, ReadError> {
        let policy = &job.policy;
        let now = self.clock.mono();
        let as_of = if policy.is_aged() { self.aged(policy, &entry, remaining) } else { as_of };
        let proven = within(policy, as_of, now);
        if job.refresh {
            // Another node may have refreshed it already.
            let ours = self.local.get(&job.key).map(|(held, _)| held);
            // Whatever stands there is younger than what is marked here.
            let ours = ours.map(|held| if held.is_soft() { Mono(0) } else { held.expires() });
            if !proven || ours.is_none_or(|ours| now + remaining <= ours + self.options.lease_ttl) {
                return Ok(Asked::Load(plain));
            }
        }
        let stale = match policy.unproven {
            _ if proven => None,
            // Its service can be asked, and will say more.
            _ if policy.is_aged() => return Ok(Asked::Load(plain)),
            // It may be what somebody asked to remove.
            Unproven::ServeStale if self.local.is_past(epoch, entry.tau) => {
                return Ok(Asked::Load(plain));
            }
            Unproven::ServeStale => Some(Stale::Unproven),
            Unproven::ReadOrigin => return Ok(Asked::Load(plain)),
            Unproven::Fail => return Err(self.unproven(policy, as_of)),
        };
        let age = self.clock.wall_ms().saturating_sub(entry.loaded_wall_ms);
        let by_wall = Mono(now.0.saturating_sub(age.saturating_mul(1_000_000)));
        let (loaded, ends) = match as_of.filter(|_| policy.is_aged()) {
            Some(as_of) => (as_of, (now + remaining).min(as_of + policy.longest())),
            None => (by_wall, now + remaining),
        };
        let length = entry.ttl;
        let entry = Entry { ttl: ends.since(loaded), ..entry };
        // What its tier has proven says nothing about what is proven by its age.
        let own = policy.is_aged();
        let look_from =
            if own { Mono(0) } else { refresh_from(policy, ends, remaining, entry.cost) };
        let terms = policy.terms(self.options.governor);
        let entry = match policy.slide.filter(|_| entry.is_present()) {
            None => Held::new(entry, loaded, look_from, own, terms),
            Some(slide) => {
                let life = slide.life(length, Duration::from_millis(age), now);
                Held::sliding(entry, (loaded, now), look_from, false, (terms, slide, life))
            }
        };
        if policy.tiers.local {
            let verdict = self.local.fill(&job.key, Arc::clone(&entry), epoch);
            self.filled(job, &entry, Tier::Local, Tier::Shared, verdict);
        }
        let tier = Tier::Shared;
        let epoch = Some(epoch);
        Ok(Asked::Answer(Landed { entry, tier, as_of, stale, stored: None, epoch }))
    }
}
