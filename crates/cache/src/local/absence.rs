//! Absence without entries: filters of the keys that exist (`coherence::absence`), one for each
//! contract that asks for one. They are behind the mutex like all that is written, so a filter and
//! the position that it is asked for belong together.

use std::sync::Arc;
use std::time::Duration;

use coherence::absence::{Place, Reading};
use coherence::{After, Batch, Cause, Event, Lsn, Mono, Reached, Register, Subject};
use contract::{Class, Key, KeyTemplate};

use super::bloom::Bloom;
use super::{Held, Local, Terms, Writer};
use crate::entry::{Content, Entry};

/// Which filter.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct FilterId(usize);

impl FilterId {
    /// Its place among [all of them](Local::filters).
    pub(crate) fn at(self) -> usize {
        self.0
    }
}

/// One contract's filter.
pub(super) struct Filter {
    name: Arc<str>,
    template: KeyTemplate,
    register: Register<Bloom>,
    /// Keys in commits that deleted rows, since the list that stands was begun.
    gone: u64,
}

/// How a filter does.
#[derive(Clone, Debug)]
pub struct FilterStanding {
    /// The contract's name.
    pub name: Arc<str>,
    /// What it is about.
    pub state: FilterState,
    /// Keys known, of the list that answers or else of the one that is made.
    pub keys: u64,
    /// Memory taken, in bytes.
    pub bytes: u64,
}

/// What a filter is about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FilterState {
    /// It knows nothing, so all ids go the ordinary way.
    Void,
    /// The keys are being read, and nothing answers meanwhile.
    Reading,
    /// It answers.
    Standing,
}

impl FilterState {
    /// The name used in the admin API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Void => "void",
            Self::Reading => "reading",
            Self::Standing => "standing",
        }
    }
}

/// Whether a list that stands is still worth its memory.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Worth {
    /// It is gone.
    Nothing,
    /// More keys than it has room for, or too many that are of deleted rows.
    Little,
    /// It is.
    All,
}

/// Fewer deleted rows than this are not worth a reading.
const FEW: u64 = 1_000;

impl Local {
    /// Adds a filter, which knows nothing yet, for keys of the form `template`.
    pub(crate) fn add_filter(&self, name: &Arc<str>, template: &KeyTemplate) -> FilterId {
        let mut writer = self.writer.lock();
        let (name, template) = (Arc::clone(name), template.clone());
        let register = Register::at(writer.place);
        writer.filters.push(Filter { name, template, register, gone: 0 });
        FilterId(writer.filters.len() - 1)
    }

    /// What is to be said of a key that is certainly absent, as of the position that this tier has
    /// applied, and the time as of which that is proven. With a token: if the tier has reached it.
    pub(crate) fn absent(
        &self,
        filter: FilterId,
        key: &Key,
        after: Option<After>,
        now: Mono,
    ) -> Option<(Arc<Held>, Option<Mono>)> {
        let writer = self.writer.lock();
        let (epoch, applied) = (writer.fence.epoch(), writer.fence.applied());
        let reached = after.is_none_or(|after| after.reached(epoch, applied) == Reached::Yes);
        let held = writer.absent(filter, key, now).filter(|_| reached)?;
        Some((held, writer.proven(applied)))
    }

    /// Begins a new list; what stood goes on answering until the new one stands. `None`: this tier
    /// follows no history yet.
    pub(crate) fn begin_list(
        &self,
        filter: FilterId,
        names: impl FnOnce() -> Bloom,
    ) -> Option<Reading> {
        self.writer.lock().filters[filter.0].register.begin(names)
    }

    /// Whether the keys may be read for the list that was begun.
    pub(crate) fn may_read(&self, filter: FilterId) -> bool {
        let writer = self.writer.lock();
        let watermark = writer.fence.watermark();
        let epoch = writer.fence.epoch();
        epoch.is_some_and(|epoch| writer.filters[filter.0].register.may_read(epoch, watermark))
    }

    /// Adds keys that were read; what became of the list.
    pub(crate) fn list(&self, filter: FilterId, reading: Reading, keys: &[Key]) -> Listed {
        let register = &mut self.writer.lock().filters[filter.0].register;
        if !register.note(reading, keys) {
            return Listed::Void;
        }
        match register.next() {
            Some(names) if names.is_full() => Listed::Full,
            _ => Listed::Yes,
        }
    }

    /// All keys were read; no commit after `seen` was visible. False: the list is void.
    pub(crate) fn listed(&self, filter: FilterId, reading: Reading, seen: Lsn) -> bool {
        let mut writer = self.writer.lock();
        let filter = &mut writer.filters[filter.0];
        filter.gone = 0;
        filter.register.counted(reading, seen)
    }

    /// Whether the list is still being made: read, or waiting for its tier.
    pub(crate) fn is_listing(&self, filter: FilterId, reading: Reading) -> bool {
        self.writer.lock().filters[filter.0].register.is_under_way(reading)
    }

    /// Gives up the list that is being made.
    pub(crate) fn give_up_list(&self, filter: FilterId) {
        self.writer.lock().filters[filter.0].register.give_up();
    }

    /// Forgets all that a filter knows.
    pub(crate) fn void_filter(&self, filter: FilterId) {
        let mut writer = self.writer.lock();
        let place = writer.place;
        writer.filters[filter.0].register = Register::at(place);
    }

    /// Whether the list that stands is worth keeping.
    pub(crate) fn worth(&self, filter: FilterId) -> Worth {
        let writer = self.writer.lock();
        let filter = &writer.filters[filter.0];
        match filter.register.standing() {
            None => Worth::Nothing,
            Some(names) if names.is_full() || filter.gone > FEW.max(names.keys() / 4) => {
                Worth::Little
            }
            Some(_) => Worth::All,
        }
    }

    /// How all of them do.
    pub(crate) fn filters(&self) -> Vec<FilterStanding> {
        self.writer.lock().filters.iter().map(Filter::standing).collect()
    }
}

/// What became of keys that were read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Listed {
    /// They are in the list.
    Yes,
    /// They are, and there is no room for more.
    Full,
    /// The list is void.
    Void,
}

impl Writer {
    /// What is to be said at `now` of a key that is certainly absent.
    pub(super) fn absent(&self, filter: FilterId, key: &Key, now: Mono) -> Option<Arc<Held>> {
        const MOMENT: Duration = Duration::from_secs(1);
        let (epoch, applied) = (self.fence.epoch()?, self.fence.applied());
        let register = &self.filters[filter.0].register;
        let since = register.absent(epoch, applied, key)?;
        let read = register.standing()?.read;
        let entry = Entry {
            tau: applied,
            content: Content::Absent,
            tags: Arc::default(),
            loaded_wall_ms: read.wall_ms,
            cost: Duration::ZERO,
            // Nobody keeps it.
            ttl: now.since(read.mono) + MOMENT,
            // It had no row at any position from there on.
            seen: since,
        };
        let terms = Terms { lenient: false, aged: false, pool: Class::Standard };
        Some(Held::new(entry, read.mono, now + MOMENT, false, terms))
    }

    /// Has the filters hear a piece of the log; before its position is published.
    pub(super) fn tell_filters(&mut self, batch: &Batch) {
        self.place = Some(Place::after(self.place, batch).0);
        self.filters.iter_mut().for_each(|filter| filter.follow(batch));
    }

    /// Something may have been missed.
    pub(super) fn void_filters(&mut self) {
        self.place = None;
        self.filters.iter_mut().for_each(|filter| filter.register.lose());
    }
}

impl Filter {
    fn follow(&mut self, batch: &Batch) {
        let Self { template, register, gone, .. } = self;
        register.follow(batch, |key| template.fits(key));
        let deletes = batch.events.iter().filter(|event| event.cause == Cause::Delete);
        let ours = |event: &Event| {
            let keys = event.subjects.iter();
            keys.filter(|subject| matches!(subject, Subject::Key(key) if template.fits(key)))
                .count()
        };
        *gone += deletes.map(ours).sum::<usize>() as u64;
    }

    fn standing(&self) -> FilterStanding {
        let (standing, next) = (self.register.standing(), self.register.next());
        let state = match (standing, next) {
            (Some(_), _) => FilterState::Standing,
            (None, Some(_)) => FilterState::Reading,
            (None, None) => FilterState::Void,
        };
        FilterStanding {
            name: Arc::clone(&self.name),
            state,
            keys: standing.or(next).map_or(0, Bloom::keys),
            bytes: standing.into_iter().chain(next).map(Bloom::bytes).sum(),
        }
    }
}
