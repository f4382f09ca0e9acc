//! Answers about ids that do not exist, without a load: the filter of a contract's ids is made, kept
//! and made anew here.
//!
//! The keys are read page by page, as loads that nobody waits for: through the origin's own limits,
//! one at a time, with pauses.

use std::sync::Arc;
use std::time::Duration;

use coherence::absence::Reading;
use coherence::{After, Lsn, Mono};
use contract::{AbsentFilter, Contract, Key};

use super::gate::Gate;
use super::look::Look;
use super::metrics::filters::Outcome;
use super::{Engine, Inner, Policy, ReadError};
use crate::local::{Bloom, FilterId, Held, Listed, When, Worth, most_keys};
use crate::origin::{Origin, OriginError, OriginErrorKind, Page, Roll};

/// Ids in a page.
const PAGE: usize = 1_000;

/// A filter has room for this many times the rows there seem to be, and for this many.
const ROOM: f64 = 1.25;
const ROOM_MIN: u64 = 1_000;

/// After a page the origin is left alone for this many times as long as the page took.
const REST: u32 = 3;

/// How often it is looked whether there is something to do.
const LOOK: Duration = Duration::from_millis(20);

/// How often one question is put to an origin that is busy or away.
const TRIES: u32 = 40;

/// The pause after the first reading that came to nothing, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Why a reading came to nothing.
enum Failure {
    /// What was heard of the log meanwhile made it void, or the origin did not answer.
    Again(Outcome, String),
    /// It would not come to anything soon either.
    Off(Outcome, String),
}

impl Engine {
    /// Keeps a filter of the ids that exist in `contract`, which `policy` is made of and `origin`
    /// loads; returns at once where the contract asks for none. Run it once per contract, for as long
    /// as the process lives: from then on reads by `policy` are answered "absent" with no load where
    /// that is proven.
    pub async fn keep_filter(
        &self,
        contract: &Contract,
        policy: &Arc<Policy>,
        origin: &Arc<dyn Origin>,
    ) {
        let Some(options) = contract.absent_filter else { return };
        let Some(roll) = origin.roll() else { return };
        let inner = &self.inner;
        let id = *policy.filter.get_or_init(|| inner.local.add_filter(&policy.name, &contract.key));
        let gate = inner.gate(&**origin);
        let keeper = Keeper { inner, contract, options, roll, gate, id };
        let mut pause = FIRST_PAUSE;
        loop {
            match keeper.make().await {
                Ok(keys) => {
                    inner.metrics.filters.made(policy, Outcome::Stands);
                    tracing::info!(contract = contract.name, keys, "its ids are known");
                    let long = keeper.last().await;
                    pause = if long { FIRST_PAUSE } else { (pause * 2).min(LONGEST_PAUSE) };
                }
                Err(Failure::Again(outcome, why)) => {
                    inner.metrics.filters.made(policy, outcome);
                    tracing::debug!(contract = contract.name, why, "its ids are not known yet");
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                Err(Failure::Off(outcome, why)) => {
                    inner.metrics.filters.made(policy, outcome);
                    tracing::warn!(contract = contract.name, why, "it has no filter of its ids");
                    inner.local.give_up_list(id);
                    tokio::time::sleep(options.rebuild).await;
                    continue;
                }
            }
            inner.local.give_up_list(id);
            tokio::time::sleep(pause).await;
        }
    }
}

struct Keeper<'a> {
    inner: &'a Inner,
    contract: &'a Contract,
    options: AbsentFilter,
    roll: &'a dyn Roll,
    gate: Arc<Gate>,
    id: FilterId,
}

impl Keeper<'_> {
    /// Reads all ids; answers how many once the filter stands.
    async fn make(&self) -> Result<u64, Failure> {
        let rows = self.asked(|| self.roll.rows()).await?;
        if let Some(why) = rows.unfit {
            // Nor is what was read before any proof from now on.
            self.inner.local.void_filter(self.id);
            return Err(Failure::Off(Outcome::Unfit, why));
        }
        let most = most_keys(self.options.max_size_bytes, self.options.false_positives);
        let mut room = ((rows.about as f64 * ROOM) as u64).max(ROOM_MIN);
        loop {
            if rows.about > most {
                return Err(self.too_large(rows.about));
            }
            match self.read(room.min(most)).await? {
                Some(keys) => return Ok(keys),
                None if room >= most => return Err(self.too_large(most)),
                None => room = room.saturating_mul(2),
            }
        }
    }

    fn too_large(&self, keys: u64) -> Failure {
        let AbsentFilter { max_size_bytes, false_positives, .. } = self.options;
        let why = format!(
            "its table has more than {keys} ids, too many for {max_size_bytes} bytes at \
             {false_positives} false positives; raise absent_filter.max_size"
        );
        Failure::Off(Outcome::TooLarge, why)
    }

    /// Reads all ids into a filter with room for `room`; `None`: that was too little.
    async fn read(&self, room: u64) -> Result<Option<u64>, Failure> {
        let local = &self.inner.local;
        let reading = loop {
            if let Some(reading) = local.begin_list(self.id, || self.names(room)) {
                break reading;
            }
            tokio::time::sleep(LOOK).await;
        };
        while !local.may_read(self.id) {
            self.check(reading)?;
            tokio::time::sleep(LOOK).await;
        }
        let (mut after, mut seen): (Option<String>, Lsn) = (None, Lsn::ZERO);
        loop {
            let began = self.inner.clock.mono();
            let page = self.asked(|| self.roll.page(after.as_deref(), PAGE)).await?;
            seen = seen.max(self.seen(&page)?);
            // An id that makes no key is refused to readers too.
            let keys: Vec<Key> =
                page.ids.iter().filter_map(|id| self.contract.key(id).ok()).collect();
            match local.list(self.id, reading, &keys) {
                Listed::Yes => {}
                Listed::Full => return Ok(None),
                Listed::Void => return Err(void()),
            }
            if page.ids.len() < PAGE {
                break;
            }
            after = page.ids.into_iter().next_back();
            tokio::time::sleep(self.inner.clock.mono().since(began) * REST).await;
        }
        if !local.listed(self.id, reading, seen) {
            return Err(void());
        }
        while local.is_listing(self.id, reading) {
            tokio::time::sleep(LOOK).await;
        }
        match self.inner.local.filters().get(self.id.at()) {
            Some(filter) if local.worth(self.id) != Worth::Nothing => Ok(Some(filter.keys)),
            _ => Err(void()),
        }
    }

    fn check(&self, reading: Reading) -> Result<(), Failure> {
        if self.inner.local.is_listing(self.id, reading) { Ok(()) } else { Err(void()) }
    }

    fn names(&self, room: u64) -> Bloom {
        let Inner { options, clock, .. } = self.inner;
        let seed = u128::from(options.chance.draw()) << 64 | u128::from(options.chance.draw());
        let read = When { mono: clock.mono(), wall_ms: clock.wall_ms() };
        Bloom::new(room, self.options.false_positives, seed, read)
    }

    fn seen(&self, page: &Page) -> Result<Lsn, Failure> {
        let why = || "the origin does not say where its log ends".to_owned();
        page.seen.ok_or_else(|| Failure::Off(Outcome::Unfit, why()))
    }

    /// Asks the origin as a load would that nobody waits for; again for a while, where that may help.
    async fn asked<T, F>(&self, question: impl Fn() -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, OriginError>>,
    {
        let mut tries = 1;
        loop {
            let err = match self.gate.background(&question).await {
                Ok(answer) => return Ok(answer),
                Err(err) => err,
            };
            let hopeless = matches!(&err, ReadError::Origin(err)
                if matches!(err.kind, OriginErrorKind::BadRequest | OriginErrorKind::Broken));
            if hopeless {
                return Err(Failure::Off(Outcome::Failed, err.to_string()));
            }
            if tries == TRIES {
                return Err(Failure::Again(Outcome::Failed, err.to_string()));
            }
            tries += 1;
            tokio::time::sleep(FIRST_PAUSE).await;
        }
    }

    /// Waits until the filter has to be made anew; whether it has stood for a while.
    async fn last(&self) -> bool {
        let since = self.inner.clock.mono();
        loop {
            let age = self.inner.clock.mono().since(since);
            let long = age >= LONGEST_PAUSE;
            match self.inner.local.worth(self.id) {
                Worth::Nothing => return long,
                Worth::Little if long => return long,
                _ if age >= self.options.rebuild => return true,
                Worth::Little | Worth::All => tokio::time::sleep(LOOK).await,
            }
        }
    }
}

fn void() -> Failure {
    Failure::Again(Outcome::Void, "something in the log may have changed anything".into())
}

impl Inner {
    /// What the filter says of a key that nothing is held under: that it is certainly absent, or
    /// nothing.
    pub(super) fn absent(
        &self,
        key: &Key,
        policy: &Policy,
        after: Option<After>,
    ) -> Option<(Arc<Held>, Option<Mono>)> {
        self.local.absent(policy.filter()?, key, after, self.clock.mono())
    }

    /// The same, if it is proven to be within the budget.
    pub(super) fn filtered(&self, key: &Key, policy: &Policy, after: Option<After>) -> Look {
        let Some((held, as_of)) = self.absent(key, policy, after) else { return Look::Nothing };
        let now = self.clock.mono();
        // Also where values never change: what is not there yet may come.
        let within = as_of.is_some_and(|as_of| now.since(as_of) <= policy.budget);
        if within { Look::Filtered { held, as_of } } else { Look::Nothing }
    }
}
