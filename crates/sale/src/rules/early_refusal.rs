//! The fast counter: a node refuses by itself while the ledger's last refusal is fresh.
//!
//! A refusal of the ledger says how many units of a cell it had. Until units come back, a request for more of them
//! is refused as well. The counter refuses such requests early, and never grants:
//!
//! - A reading is used for a bounded time, because other nodes give units back without a word to this one.
//! - Units that this node gives back end the readings of the SKU at once. They also end calls of the ledger that are
//!   under way: their readings may be of before. Each SKU has an epoch for this.
//! - Readings are lost when the process ends, and learnt again from the next refusal of the ledger.

use std::collections::BTreeMap;
use std::time::Duration;

use coherence::Mono;

use super::rule::{Rule, on};
use super::shelf::{Cell, Demand, Shortage};
use crate::lane::Lane;

/// The number of epochs. SKUs share them by their lanes.
const EPOCHS: usize = 64;

/// The most SKUs with readings. Others are left to the ledger.
const SKUS_MAX: usize = 10_000;

/// The readings of a node.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct EarlyRefusal {
    bound: Duration,
    readings: BTreeMap<Lane, BTreeMap<Cell, Reading>>,
    epochs: [u64; EPOCHS],
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
struct Reading {
    /// The time before the ledger was asked.
    asked_at: Mono,
    available: i64,
}

/// A call of the ledger that is under way.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Asking {
    at: Mono,
    epochs: [u64; EPOCHS],
}

impl EarlyRefusal {
    /// Creates a counter without readings. `bound`: the longest time from the ledger's reading to a refusal by it.
    #[must_use]
    pub fn new(bound: Duration) -> Self {
        Self { bound, readings: BTreeMap::new(), epochs: [0; EPOCHS] }
    }

    /// Begins a call of the ledger.
    #[must_use]
    pub fn ask(&self, now: Mono) -> Asking {
        Asking { at: now, epochs: self.epochs }
    }

    /// Takes the shortages of a call's refusal.
    pub fn learn(&mut self, asking: &Asking, shortages: &[Shortage], now: Mono) {
        for Shortage { demand, available } in shortages {
            let lane = Lane::of_sku(&demand.cell.sku);
            let epoch = epoch_of(lane);
            if asking.epochs[epoch] != self.epochs[epoch] && on(Rule::RefusalsFenced) {
                continue;
            }
            if self.has_room(lane, now) {
                let reading = Reading { asked_at: asking.at, available: *available };
                self.readings.entry(lane).or_default().insert(demand.cell.clone(), reading);
            }
        }
    }

    /// Forgets old readings if that is needed to make room.
    fn has_room(&mut self, lane: Lane, now: Mono) -> bool {
        let is_full = |readings: &BTreeMap<Lane, _>| {
            readings.len() >= SKUS_MAX && !readings.contains_key(&lane)
        };
        if is_full(&self.readings) {
            let bound = self.bound;
            let is_fresh = |reading: &Reading| now.since(reading.asked_at) < bound;
            self.readings.retain(|_, cells| cells.values().any(is_fresh));
        }
        !is_full(&self.readings)
    }

    /// Ends the readings of SKUs whose units may have come back: those of a lane of holds.
    pub fn freed(&mut self, lane: Lane) {
        if lane.is_of_one_sku() {
            self.epochs[epoch_of(lane)] += 1;
            self.readings.remove(&lane);
        } else {
            // The lane of a basket does not tell its SKUs.
            self.epochs.iter_mut().for_each(|epoch| *epoch += 1);
            self.readings.clear();
        }
    }

    /// Returns the lines that the ledger would refuse too; none: ask it.
    #[must_use]
    pub fn shortages(&self, lines: &[Demand], now: Mono) -> Vec<Shortage> {
        let short = lines.iter().filter_map(|demand| {
            let cells = self.readings.get(&Lane::of_sku(&demand.cell.sku))?;
            let reading = cells.get(&demand.cell)?;
            let is_fresh = now.since(reading.asked_at) < self.bound || !on(Rule::RefusalsBounded);
            let available = reading.available;
            (is_fresh && available < demand.quantity)
                .then(|| Shortage { demand: demand.clone(), available })
        });
        short.collect()
    }
}

fn epoch_of(lane: Lane) -> usize {
    lane.number() as usize % EPOCHS
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUND: Duration = Duration::from_millis(100);

    fn demand(sku: &str, quantity: i64) -> Demand {
        Demand { cell: Cell { sku: sku.into(), location: "main".into() }, quantity }
    }

    fn short(sku: &str, quantity: i64, available: i64) -> [Shortage; 1] {
        [Shortage { demand: demand(sku, quantity), available }]
    }

    fn ms(ms: u64) -> Mono {
        Mono(ms * 1_000_000)
    }

    fn sold_out_at_0() -> EarlyRefusal {
        let mut counter = EarlyRefusal::new(BOUND);
        counter.learn(&counter.ask(ms(0)), &short("A", 2, 1), ms(1));
        counter
    }

    #[test]
    fn reading_refuses_more_units_until_its_bound() {
        let counter = sold_out_at_0();
        assert_eq!(counter.shortages(&[demand("A", 3)], ms(99)), short("A", 3, 1));
        for (lines, at) in [(demand("A", 1), 99), (demand("B", 9), 99), (demand("A", 2), 100)] {
            assert_eq!(counter.shortages(&[lines], ms(at)), []);
        }
    }

    #[test]
    fn returned_units_end_the_reading() {
        for lane in [Lane::of_sku("A"), Lane::of_skus(["A", "B"])] {
            let mut counter = sold_out_at_0();
            counter.freed(lane);
            assert_eq!(counter.shortages(&[demand("A", 2)], ms(1)), []);
        }
        let mut counter = sold_out_at_0();
        counter.freed(Lane::of_sku("another"));
        assert_eq!(counter.shortages(&[demand("A", 2)], ms(1)), short("A", 2, 1));
    }

    #[test]
    fn reading_of_before_a_return_is_not_taken() {
        for lane in [Lane::of_sku("A"), Lane::of_skus(["A", "B"])] {
            let mut counter = EarlyRefusal::new(BOUND);
            let asking = counter.ask(ms(0));
            counter.freed(lane);
            counter.learn(&asking, &short("A", 1, 0), ms(1));
            assert_eq!(counter.shortages(&[demand("A", 1)], ms(1)), []);
        }
    }

    #[test]
    fn old_readings_make_room() {
        let mut counter = EarlyRefusal::new(BOUND);
        for number in 0..=SKUS_MAX {
            counter.learn(&counter.ask(ms(0)), &short(&number.to_string(), 1, 0), ms(0));
        }
        let last = SKUS_MAX.to_string();
        assert_eq!(counter.shortages(&[demand(&last, 1)], ms(1)), [], "full");
        counter.learn(&counter.ask(ms(100)), &short(&last, 1, 0), ms(100));
        assert_eq!(counter.shortages(&[demand(&last, 1)], ms(101)), short(&last, 1, 0));
        assert_eq!(counter.readings.len(), 1);
    }
}
