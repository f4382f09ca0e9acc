//! Values that change by the clock: when an entry's life ends because of it.

use std::time::Duration;

use coherence::{ClockReading, ClockTime, Mono, Turn};

use super::TierStack;
use crate::engine::rules::Rules;
use crate::entry::Entry;
use crate::origin::{Loaded, TimedChange};

/// A load that ends so shortly before the value changes is repeated after the change, so that its entry can be stored and the
/// readers of the change need one load.
const REPEAT_WITHIN: Duration = Duration::from_millis(25);

impl TierStack {
    /// Returns when the clock that decides about the values of these rules reaches `at`; `None`: it is not known.
    pub(crate) fn turn(&self, rules: &Rules, at: ClockTime) -> Option<Turn> {
        let by_database = self.database_clock.lock().turn(at);
        by_database.or_else(|| rules.follows_wall_clock.then(|| self.by_wall_clock(at)))
    }

    /// As [`turn`](Self::turn), of data that this process's wall clock decides about if no other is known.
    pub(crate) fn known_turn(&self, at: ClockTime) -> Turn {
        let by_database = self.database_clock.lock().turn(at);
        by_database.unwrap_or_else(|| self.by_wall_clock(at))
    }

    fn by_wall_clock(&self, at: ClockTime) -> Turn {
        let asked = self.now();
        let shown = ClockTime::from_micros(self.clock.wall_us());
        let answered = self.now();
        // A clock that stands at 1970 tells nothing about the time.
        let unknown = Turn { earliest: asked, latest: answered };
        shown.map_or(unknown, |shown| ClockReading { asked, answered, shown }.turn(at))
    }

    /// Returns when a loaded value changes without a commit; `None`: never, as far as is known. The load has itself read
    /// the database's clock, between `began` and `ended`.
    pub(crate) fn turn_of_load(
        &self,
        rules: &Rules,
        change: TimedChange,
        (began, ended): (Mono, Mono),
    ) -> Turn {
        let TimedChange { at, shown } = change;
        let known = self.turn(rules, at);
        let own = shown.map(|shown| ClockReading { asked: began, answered: ended, shown }.turn(at));
        // A change at an unknown time may have happened.
        let passed = Turn { earliest: began, latest: began };
        own.map_or_else(|| known.unwrap_or(passed), |own| own.narrowed(known))
    }

    /// Returns the part of `remaining` that an entry of the shared tier may be answered as fresh for; `None`: its value has
    /// changed, or may have.
    pub(crate) fn left_until_turn(
        &self,
        rules: &Rules,
        entry: &Entry,
        remaining: Duration,
    ) -> Option<Duration> {
        let Some(at) = entry.changes_at else { return Some(remaining) };
        let turn = self.turn(rules, at)?;
        let now = self.now();
        turn.is_ahead(now)
            .then(|| remaining.min(turn.earliest.since(now).max(Duration::from_nanos(1))))
    }

    /// Returns the time to wait before a load is repeated that has just missed a change of its value; `None`: it has not.
    pub(crate) fn pause_until_turned(
        &self,
        rules: &Rules,
        loaded: &Loaded,
        began: Mono,
    ) -> Option<Duration> {
        let change = loaded.change?;
        let now = self.now();
        let turn = self.turn_of_load(rules, change, (began, now));
        let pause = turn.latest.since(now);
        // An origin that shows the old value after the time has a clock of its own, and would do so again.
        let is_during_load = turn.latest > began;
        (is_during_load && pause <= REPEAT_WITHIN && !rules.tiers.is_none()).then_some(pause)
    }
}
