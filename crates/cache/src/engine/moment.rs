//! Read-atomic batches: answers that are all of one moment.
//!
//! First the tiers: what they hold is of one moment if [`coherence::atomic`] finds one. Else the
//! origin, which reads all of it, also what the tiers have, from one snapshot.

mod sets;

use std::collections::BTreeMap;
use std::sync::Arc;

use coherence::atomic::{Span, moment};
use coherence::{After, Mono, Reached};
use contract::{Key, Unproven};

pub(super) use self::sets::Sets;
use self::sets::{Landing, Set};
use super::after::Wish;
use super::answer::{Answer, ReadError, Stale, Tier};
use super::ask::{Asked, Judged, Start};
use super::batch::Item;
use super::load::{Job, Landed, within};
use super::metrics::batches::Kind;
use super::{Engine, Inner, Policy, local_answer};
use crate::entry::Content;
use crate::local::{Held, View};

/// Answers that one snapshot of the database would have shown together.
#[derive(Debug)]
pub struct OneMoment {
    /// In the order of the items. One that failed fails alone: the others are of one moment.
    pub answers: Vec<Result<Answer, ReadError>>,
    /// Who gave them: the in-process tier alone, the shared tier (with or without the in-process one),
    /// or the origin with one snapshot.
    pub by: Tier,
}

/// A value that a tier can give.
struct Found {
    held: Arc<Held>,
    tier: Tier,
    span: Span,
    as_of: Option<Mono>,
    stale: Option<Stale>,
}

/// What the tiers said.
struct Searched {
    found: Vec<Option<Found>>,
    /// How a load may begin.
    start: Start,
}

impl Engine {
    /// Reads all of the items as of one moment: what is answered is what one snapshot of the database
    /// showed, whichever tiers it comes from. At most one round trip to the shared tier and one to the
    /// origin. Each answer keeps its own contract; nothing that a commit has made old is among them.
    ///
    /// # Errors
    /// As [`get_after`](Self::get_after), for all of them; [`ReadError::Apart`] where the origins have
    /// no common snapshot.
    pub async fn get_together(
        &self,
        items: &[Item],
        after: Option<After>,
    ) -> Result<OneMoment, ReadError> {
        let inner = &self.inner;
        inner.metrics.batches.asked(Kind::Atomic, items.len());
        let together = self.together(items, after).await;
        let by = together.as_ref().map_or("none", |together| together.by.as_str());
        inner.metrics.batches.answered(by);
        if let Err(err) = &together {
            for item in items {
                inner.metrics.read(&item.policy, "none", err.as_str());
            }
        }
        together
    }

    async fn together(&self, items: &[Item], after: Option<After>) -> Result<OneMoment, ReadError> {
        let inner = &self.inner;
        let Some(first) = items.first() else {
            return Ok(OneMoment { answers: Vec::new(), by: Tier::Local });
        };
        if items.iter().any(|item| item.origin.name() != first.origin.name()) {
            return Err(ReadError::Apart);
        }
        let wish = inner.wish(after);
        let asked = inner.clock.mono();
        let Searched { found, start } = inner.search(items, wish).await?;
        if let Some(found) = found.into_iter().collect::<Option<Vec<_>>>() {
            let remote = found.iter().any(|found| found.tier == Tier::Shared);
            let answers = items.iter().zip(found);
            let answers = answers.map(|(item, found)| Ok(inner.hand_out(item, found)));
            let by = if remote { Tier::Shared } else { Tier::Local };
            return Ok(OneMoment { answers: answers.collect(), by });
        }
        let (landed, joined) = self.load_together(items, wish, asked, start).await?;
        let answers = items.iter().map(|item| {
            match landed.get(&item.key).cloned().unwrap_or(Err(ReadError::Aborted)) {
                Ok(landed) => Ok(inner.answer(&item.policy, landed, joined)),
                Err(err) => {
                    inner.metrics.read(&item.policy, "none", err.as_str());
                    Err(err)
                }
            }
        });
        Ok(OneMoment { answers: answers.collect(), by: Tier::Origin })
    }

    /// Joins the load of the same set or begins one; again while it brings nothing for this reader.
    async fn load_together(
        &self,
        items: &[Item],
        wish: Option<Wish>,
        asked: Mono,
        start: Start,
    ) -> Result<(Landing, bool), ReadError> {
        let inner = &self.inner;
        let jobs = items.iter().map(|item| (item.key.clone(), item.job(false, wish)));
        let jobs: BTreeMap<Key, Job> = jobs.collect();
        // Two callers of a thing that may not be kept may not share it either.
        let shared = items.iter().all(|item| !item.policy.tiers.is_none());
        let set: Set = jobs.keys().cloned().collect();
        loop {
            let (flight, pilot) = inner.sets.join(&set, shared);
            let joined = pilot.is_none();
            if let Some(pilot) = pilot {
                let (inner, jobs) = (Arc::clone(inner), jobs.clone());
                tokio::spawn(async move { pilot.land(inner.load_set(&jobs, start).await) });
            }
            let waited = inner.clock.mono().since(asked);
            let left = inner.options.wait_timeout.saturating_sub(waited);
            let Ok(landing) = tokio::time::timeout(left, flight.landing()).await else {
                return Err(ReadError::Waited(inner.clock.mono().since(asked)));
            };
            let landed = landing?;
            let good = items.iter().all(|item| match landed.get(&item.key) {
                Some(Ok(landed)) => {
                    within(&item.policy, landed.as_of, asked) && landed.is_good_for(wish, asked)
                }
                _ => true,
            });
            if !joined || good {
                return Ok((landed, joined));
            }
        }
    }
}

impl Inner {
    /// Looks for the items in the tiers: all of them of one moment, or some are missing.
    async fn search(&self, items: &[Item], wish: Option<Wish>) -> Result<Searched, ReadError> {
        let mut start = self.without_shared();
        start.shared = true;
        let view = self.view(items, wish).await;
        let now = self.clock.mono();
        let mut found = Vec::with_capacity(items.len());
        let mut failing = None;
        for (item, held) in items.iter().zip(&view.held) {
            let kept = |held: &&Arc<Held>| {
                item.policy.tiers.local && item.policy.may_keep(held, &*self.clock)
            };
            let held = held.as_ref().filter(kept);
            let held = held.and_then(|held| local(&item.policy, held, &view, now));
            if let Some(Err(as_of)) = held {
                failing = Some(self.unproven(&item.policy, as_of));
            }
            found.push(held.and_then(Result::ok));
        }
        let spans = |found: &[Option<Found>]| {
            moment(found.iter().flatten().map(|found| found.span)).is_some()
        };
        if !spans(&found) {
            // Each may be good by itself; the shared tier may have got further.
            found.iter_mut().for_each(|found| *found = None);
        }
        let missing = || items.iter().zip(&found).filter(|(_, found)| found.is_none());
        let reachable = missing().all(|(item, _)| item.policy.tiers.shared);
        let keys = missing().map(|(item, _)| (item.key.clone(), self.slide(&item.policy)));
        let (keys, slides): (Vec<Key>, Vec<_>) = keys.unzip();
        if reachable && !keys.is_empty() {
            let Some(reads) = self.read_many(&keys, &slides, false).await else {
                start.shared = false;
                return Ok(Searched { found, start });
            };
            let mut reads = reads.into_iter();
            for (item, found) in items.iter().zip(&mut found) {
                let Some(read) = (if found.is_none() { reads.next() } else { None }) else {
                    continue;
                };
                let standing = read.standing;
                if let Some(standing) = standing {
                    start.token = Some((standing.epoch, standing.watermark));
                }
                let judged = self.judge(&item.job(false, wish), read)?;
                // A database that writes another log by now has told positions of that one.
                let standing = standing.filter(|standing| self.local.follows(standing.epoch));
                if let (Some(standing), Judged::Now(Asked::Answer(landed))) = (standing, judged) {
                    let (log, seen) = (standing.epoch.log(), landed.entry.seen);
                    let span = Span { log, seen, upto: standing.applied };
                    let Landed { entry: held, tier, as_of, stale, .. } = landed;
                    *found = Some(Found { held, tier, span, as_of, stale });
                }
            }
        }
        if found.iter().any(Option::is_none) || !spans(&found) {
            if let Some(err) = failing {
                return Err(err);
            }
            // None of them counts without the others.
            found.iter_mut().for_each(|found| *found = None);
        }
        Ok(Searched { found, start })
    }

    /// The in-process tier in one state, which for somebody who has written has reached the token.
    async fn view(&self, items: &[Item], wish: Option<Wish>) -> View {
        let look = || {
            let keys = items.iter().map(|item| (&item.key, item.policy.filter()));
            self.local.together(keys, self.clock.mono())
        };
        let view = look();
        let Some(wish) = wish else { return view };
        let reached = |view: &View| wish.after.reached(view.epoch, view.applied) == Reached::Yes;
        if reached(&view) {
            return view;
        }
        if view.held.iter().any(Option::is_some) && self.caught_up(wish).await {
            let view = look();
            if reached(&view) {
                return view;
            }
        }
        let held = view.held.iter().map(|_| None).collect();
        View { held, ..view }
    }

    fn hand_out(&self, item: &Item, found: Found) -> Answer {
        let policy = &*item.policy;
        let Found { held, tier, as_of, stale, .. } = found;
        match (tier, stale) {
            (Tier::Local, None) => {
                let now = self.clock.mono();
                self.used(&item.key, policy, &held, now);
                self.count_hit(policy);
                local_answer(held, as_of, now, None)
            }
            (Tier::Local, Some(stale)) => self.stale(policy, held, as_of, stale),
            _ => {
                let landed = Landed { entry: held, tier, as_of, stale, stored: None, epoch: None };
                self.answer(policy, landed, false)
            }
        }
    }

    async fn load_set(
        &self,
        jobs: &BTreeMap<Key, Job>,
        start: Start,
    ) -> Result<Landing, ReadError> {
        let starts: Vec<_> = jobs.values().map(|job| (job, start)).collect();
        let (landings, one_snapshot) = self.load_group(&starts, true).await;
        if !one_snapshot {
            // The first failure says more, where there is one.
            let failed = landings.into_iter().find_map(Result::err);
            return Err(failed.unwrap_or(ReadError::Apart));
        }
        Ok(Arc::new(jobs.keys().cloned().zip(landings).collect()))
    }
}

/// What the in-process tier holds, if it may be given: `Err` if its contract says `fail`.
fn local(
    policy: &Policy,
    held: &Arc<Held>,
    view: &View,
    now: Mono,
) -> Option<Result<Found, Option<Mono>>> {
    let fixed = held.is_soft() || matches!(held.content, Content::Uncacheable);
    if fixed || now >= held.expires() {
        return None;
    }
    let as_of = held.as_of(view.proven);
    let stale = match policy.unproven {
        _ if within(policy, as_of, now) => None,
        Unproven::ServeStale => Some(Stale::Unproven),
        Unproven::ReadOrigin => return None,
        Unproven::Fail => return Some(Err(as_of)),
    };
    let span = view.span(held)?;
    Some(Ok(Found { held: Arc::clone(held), tier: Tier::Local, span, as_of, stale }))
}
