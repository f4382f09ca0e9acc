//! The lookup in the shared tier, judged by the policy; on a miss it grants the lease of the load.

use std::sync::Arc;
use std::time::Duration;

use coherence::{Epoch, Mono, Reached, Subject, coverage};
use contract::Unproven;

use crate::engine::answer::{Stale, Tier};
use crate::engine::error::ReadError;
use crate::engine::load::{LoadContext, LoadOutcome, LoadRequest, age_bound_as_of, refresh_from};
use crate::engine::rules::Rules;
use crate::engine::tiers::TierStack;
use crate::entry::Entry;
use crate::local::LocalEntry;
use crate::shared::{Outcome, SharedRead};

/// The first pause before asking again whether another node has finished its load, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(4);
const LONGEST_PAUSE: Duration = Duration::from_millis(32);

/// The result of a shared lookup: the answer, or the context of the load that has to be made.
pub(crate) enum SharedLookup {
    Found(LoadOutcome),
    Load(LoadContext),
}

/// The verdict about one reply of the shared tier.
pub(crate) enum ReplyVerdict {
    Done(SharedLookup),
    /// Another node loads the key, for at most this time.
    Wait(Duration),
    /// The tier has not reached the reader's token yet.
    Behind(LoadContext),
}

impl TierStack {
    /// The context of a load without the shared tier.
    pub(crate) fn local_context(&self) -> LoadContext {
        LoadContext { position: self.load_position(), lease: None, shared: false }
    }

    /// Looks a key up in the shared tier; waits for a load of another node.
    pub(crate) async fn lookup_shared(
        &self,
        request: &LoadRequest,
    ) -> Result<SharedLookup, ReadError> {
        if !request.rules().tiers.shared {
            return Ok(SharedLookup::Load(self.local_context()));
        }
        let fallback = self.local_context();
        // Known to follow another log: no lease is asked for.
        if self.local.is_of_sampled_log() == Some(false) {
            return Ok(SharedLookup::Load(fallback));
        }
        let began = self.now();
        let mut pause = FIRST_PAUSE;
        let mut has_waited = false;
        let mut has_caught_up = false;
        let mut has_evicted = false;
        loop {
            let Some(mut read) = self.read_shared(request).await else {
                return Ok(SharedLookup::Load(fallback));
            };
            let has_turned = self.has_turned(request.rules(), &read);
            if has_turned || !self.stands_elsewhere(request.rules(), &request.key, &read).await {
                read.outcome = Outcome::Miss;
                // Without the entry, one node gets the lease of the load, and the others wait for it.
                if !std::mem::replace(&mut has_evicted, true) {
                    let subjects = [Subject::Key(request.key.clone())];
                    self.shared.call(self.shared.tier.evict(&subjects)).await;
                    continue;
                }
            }
            match self.judge_reply(request, read)? {
                ReplyVerdict::Done(lookup) => {
                    let is_leading =
                        matches!(lookup, SharedLookup::Load(LoadContext { lease: Some(_), .. }));
                    if has_waited && is_leading {
                        self.metrics.takeovers.inc();
                    }
                    return Ok(lookup);
                }
                ReplyVerdict::Behind(context) => {
                    // Once the in-process tier has reached the token, the shared tier usually has; on the
                    // leader it may be slightly behind, and then this is a load.
                    if let Some(deadline) = request.deadline
                        && !has_caught_up
                        && self.wait_for_token(deadline).await
                    {
                        has_caught_up = true;
                        continue;
                    }
                    return Ok(SharedLookup::Load(context));
                }
                ReplyVerdict::Wait(left) => {
                    let waited = self.now().since(began);
                    let limit = request.rules().wait_timeout;
                    if waited >= limit.unwrap_or(self.options.wait_timeout) {
                        return Err(ReadError::WaitTimeout(waited));
                    }
                    has_waited = true;
                    let jitter = 0.75 + 0.5 * self.options.chance.unit();
                    // Just after the end of the lease rather than just before it.
                    let left = left + Duration::from_millis(1);
                    tokio::time::sleep(pause.mul_f64(jitter).min(left)).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    /// Whether the value of the entry that was found has changed by the clock, or may have.
    fn has_turned(&self, rules: &Rules, read: &SharedRead) -> bool {
        match &read.outcome {
            Outcome::Found { entry, remaining } => {
                self.left_until_turn(rules, entry, *remaining).is_none()
            }
            Outcome::Lead(_) | Outcome::Miss | Outcome::Wait(_) => false,
        }
    }

    /// Reads one key, with a touch and a lease; `None`: the tier does not answer.
    async fn read_shared(&self, request: &LoadRequest) -> Option<SharedRead> {
        let (tier, key) = (&self.shared.tier, &request.key);
        let lease = Some(self.options.lease_ttl);
        // A background refresh is no use of the entry.
        let touch = if request.refresh { None } else { self.touch(request.rules()) };
        let Some(touch) = touch else { return self.shared.call(tier.read(key, lease)).await };
        let (keys, touches) = ([key.clone()], [Some(touch)]);
        self.shared.call(tier.read_and_touch(&keys, &touches, lease)).await?.pop()
    }

    /// Judges one reply.
    pub(crate) fn judge_reply(
        &self,
        request: &LoadRequest,
        read: SharedRead,
    ) -> Result<ReplyVerdict, ReadError> {
        let SharedRead { position, outcome } = read;
        let rules = request.rules();
        let fill_position = position.and_then(|position| self.fill_position(rules, position));
        let context = LoadContext { position: fill_position, lease: None, shared: true };
        let load = |context| Ok(ReplyVerdict::Done(SharedLookup::Load(context)));
        let (entry, remaining) = match outcome {
            // Neither the tier's entries nor the loads of its other nodes prove anything here.
            Outcome::Found { .. } | Outcome::Wait(_) if fill_position.is_none() => {
                return load(context);
            }
            Outcome::Found { entry, remaining } => (entry, remaining),
            Outcome::Lead(lease) => return load(LoadContext { lease: Some(lease), ..context }),
            Outcome::Miss => return load(context),
            Outcome::Wait(left) => return Ok(ReplyVerdict::Wait(left)),
        };
        let Some(position) = position else { return load(context) };
        let (epoch, applied) = (position.epoch, position.applied);
        let is_covered = self.local.accepts(position, &rules.mappings.of(&entry.tags));
        if !is_covered || !coverage::is_of_definition(entry.definition, rules.definition) {
            return load(context);
        }
        if self.local.outdates(&request.key, &entry.tags, epoch, applied) {
            return load(context);
        }
        if let Some(token) = request.token() {
            // An entry that only its age proves has no position in the log.
            if request.rules().is_age_bound() {
                return load(context);
            }
            if token.reached(Some(epoch), applied) != Reached::Yes {
                return Ok(ReplyVerdict::Behind(context));
            }
        }
        let Some(remaining) = self.left_until_turn(rules, &entry, remaining) else {
            return load(context);
        };
        // An entry that has not been invalidated lacks no commit that its tier has applied.
        let entry = Entry { tau: applied, ..entry };
        let as_of = if request.rules().is_age_bound() {
            age_bound_as_of(self, request.rules(), &entry, remaining)
        } else {
            self.local.proven_at(epoch, applied)
        };
        // The entry may have been in a batch of reads, whose witnesses were not fetched: then it is loaded.
        let Some(as_of) = rules.prove_jointly(&request.key, &entry, as_of) else {
            return load(context);
        };
        let found = FoundEntry { entry, remaining, epoch, as_of };
        Ok(ReplyVerdict::Done(self.accept_found(request, found, context)?))
    }

    /// Judges an entry of the shared tier by the policy, and copies it into the in-process tier.
    fn accept_found(
        &self,
        request: &LoadRequest,
        found: FoundEntry,
        context: LoadContext,
    ) -> Result<SharedLookup, ReadError> {
        let FoundEntry { ref entry, remaining, epoch, as_of } = found;
        let rules = request.rules();
        let now = self.now();
        let is_within_budget = rules.is_within_budget(as_of, now);
        if request.refresh {
            // Another node may have refreshed it already.
            let own = self.local.get(&request.key).map(|(entry, _)| entry);
            // A valid entry is younger than a soft-stale one here.
            let own = own.map(|own| if own.is_soft() { Mono(0) } else { own.expires() });
            let is_newer = own.is_some_and(|own| now + remaining > own + self.options.lease_ttl);
            if !is_within_budget || !is_newer {
                return Ok(SharedLookup::Load(context));
            }
        }
        let stale = match rules.unproven {
            _ if is_within_budget => None,
            // Its service can be asked for a newer answer.
            _ if rules.is_age_bound() => return Ok(SharedLookup::Load(context)),
            // It may be data that a purge request has removed.
            Unproven::ServeStale if self.local.is_behind(epoch, entry.tau) => {
                return Ok(SharedLookup::Load(context));
            }
            Unproven::ServeStale => Some(Stale::Unproven),
            Unproven::ReadOrigin => return Ok(SharedLookup::Load(context)),
            Unproven::Fail => return Err(self.unproven_error(rules, as_of)),
        };
        let tags = Arc::clone(&entry.tags);
        let entry = self.local_copy(request, found, now);
        if rules.tiers.local {
            let mappings = rules.mappings.of(&tags);
            let verdict = self.local.fill(&request.key, entry.clone(), epoch, &mappings);
            self.report_fill(request, &entry, Tier::Local, Tier::Shared, verdict);
        }
        let (tier, epoch) = (Tier::Shared, Some(epoch));
        Ok(SharedLookup::Found(LoadOutcome {
            entry,
            tier,
            as_of,
            stale,
            stored: None,
            epoch,
            body: None,
        }))
    }

    /// Makes an entry for the in-process tier of one of the shared tier.
    fn local_copy(&self, request: &LoadRequest, found: FoundEntry, now: Mono) -> LocalEntry {
        let FoundEntry { entry, remaining, as_of, .. } = found;
        let rules = request.rules();
        let is_age_bound = rules.is_age_bound();
        let age = self.clock.wall_ms().saturating_sub(entry.loaded_wall_ms);
        let loaded_by_wall = Mono(now.0.saturating_sub(age.saturating_mul(1_000_000)));
        let (loaded, expires) = match as_of.filter(|_| is_age_bound) {
            Some(as_of) => (as_of, (now + remaining).min(as_of + rules.max_lifetime())),
            None => (loaded_by_wall, now + remaining),
        };
        let ttl = entry.ttl;
        let entry = Entry { ttl: expires.since(loaded), ..entry };
        // The proof of its tier does not apply to an entry that only its age proves.
        let turn = entry.changes_at.and_then(|at| self.turn(rules, at)).map(|turn| turn.earliest);
        let fast_until = if is_age_bound {
            Mono(0)
        } else if turn.is_some_and(|turn| turn <= expires) {
            // Before its end a load returns the same value once more.
            expires
        } else {
            refresh_from(rules, expires, remaining, entry.cost())
        };
        let policy = rules.entry_policy(self.options.governor.is_on());
        match rules.sliding.filter(|_| entry.is_present()) {
            None => LocalEntry::new(&request.key, &entry, loaded, fast_until, is_age_bound, policy),
            Some(touch) => {
                let life = touch.sliding_ttl(ttl, Duration::from_millis(age), now).until(turn);
                let sliding = (policy, touch, life);
                let times = (loaded, now);
                LocalEntry::with_sliding_ttl(
                    &request.key,
                    &entry,
                    times,
                    fast_until,
                    false,
                    sliding,
                )
            }
        }
    }
}

/// An entry of the shared tier.
struct FoundEntry {
    entry: Entry,
    remaining: Duration,
    epoch: Epoch,
    as_of: Option<Mono>,
}
