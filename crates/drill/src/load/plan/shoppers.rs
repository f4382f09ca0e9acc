//! Generated traffic with the measured properties of real shops: page requests by Zipf 0.83, API
//! reads by Zipf 0.6 with a third of them on 1 % of the keys, about 100 page views per purchase.

use std::time::Duration;

use rand::RngExt;

use super::event::{Action, Event, Write};
use super::inventory::Inventory;
use super::pace::Pace;
use super::page_mix::PageMix;
use super::random::{Rng, interarrival, seeded};
use super::read_trace::ReadTrace;

/// Page views per purchase.
const VIEWS_PER_PURCHASE: f64 = 100.0;
/// One of this many purchases is returned.
const PURCHASES_PER_RETURN: u32 = 40;
/// Mean time between single price changes by the shop's own code.
const REPRICE_EVERY: Duration = Duration::from_millis(700);
/// Time between runs of the pricing script.
const SCRIPT_EVERY: Duration = Duration::from_secs(3);
/// Prices that the script changes in one transaction.
const SCRIPT_PRICES: usize = 12;
/// Mean time between edits of a product name.
const RENAME_EVERY: Duration = Duration::from_secs(10);

/// An endless plan of page requests, purchases, price changes and deliveries.
pub struct Shoppers {
    inventory: Inventory,
    pace: Pace,
    mix: PageMix,
    rng: Rng,
    next: [Duration; 5],
    recorded: Option<Recorded>,
}

/// Requests from a trace in place of random ones.
struct Recorded {
    trace: ReadTrace,
    next: usize,
}

/// Indexes into `Shoppers::next`, the time of the next event of each kind; the last is a rename.
const REQUEST: usize = 0;
const PURCHASE: usize = 1;
const REPRICE: usize = 2;
const SCRIPT: usize = 3;

impl Shoppers {
    /// Returns random traffic to a shop with this `inventory`, arriving at `pace`.
    pub fn new(inventory: Inventory, pace: Pace, seed: u64) -> Self {
        let mix = PageMix::zipf(&inventory, seed);
        Self::with(inventory, mix, pace, seed, None)
    }

    /// Returns the requests of `trace` in the recorded order; the plan ends with the trace. Writes
    /// are generated, since a trace has none, and go to the products that are read most.
    pub fn replaying(inventory: Inventory, trace: ReadTrace, pace: Pace, seed: u64) -> Self {
        let popularity = trace.popularity(inventory.len());
        let mix = PageMix::new(&inventory, popularity.clone(), popularity);
        Self::with(inventory, mix, pace, seed, Some(Recorded { trace, next: 0 }))
    }

    fn with(
        inventory: Inventory,
        mix: PageMix,
        pace: Pace,
        seed: u64,
        recorded: Option<Recorded>,
    ) -> Self {
        let next =
            [Duration::ZERO, Duration::from_millis(300), REPRICE_EVERY, SCRIPT_EVERY, RENAME_EVERY];
        Self { inventory, pace, mix, rng: seeded(seed), next, recorded }
    }

    fn write(&mut self, kind: usize) -> Option<Write> {
        let rng = &mut self.rng;
        let product = self.mix.pages.pick(rng)?;
        Some(match kind {
            PURCHASE => self.purchase(product),
            REPRICE => Write::Reprice { product, price_cents: self.new_price(product) },
            SCRIPT => {
                let mut products: Vec<u32> =
                    (0..SCRIPT_PRICES).filter_map(|_| self.mix.pages.pick(&mut self.rng)).collect();
                products.sort_unstable();
                products.dedup();
                let prices = products.into_iter().map(|id| (id, self.new_price(id))).collect();
                Write::ScriptReprice(prices)
            }
            _ => {
                let item = self.inventory.get_mut(product)?;
                let plain = item.name.trim_end_matches(" (new)").to_owned();
                item.name = if item.name == plain { format!("{plain} (new)") } else { plain };
                Write::Rename { product, name: item.name.clone() }
            }
        })
    }

    fn purchase(&mut self, product: u32) -> Write {
        let quantity = [1, 1, 1, 2, 2, 3, 6][self.rng.random_range(0..7)];
        let returned = self.rng.random_range(0..PURCHASES_PER_RETURN) == 0;
        let pieces = i64::from(quantity);
        match self.inventory.get_mut(product) {
            Some(item) if returned => {
                item.stock += pieces;
                Write::Return { product, quantity }
            }
            Some(item) if item.stock < pieces => {
                item.stock += 100;
                Write::ScriptDelivery(vec![(product, 100)])
            }
            Some(item) => {
                item.stock -= pieces;
                Write::Purchase { product, quantity }
            }
            None => Write::Purchase { product, quantity },
        }
    }

    fn new_price(&mut self, product: u32) -> i64 {
        let factor = self.rng.random_range(80..=125);
        match self.inventory.get_mut(product) {
            Some(item) => {
                let scaled = (item.price_cents * factor / 100).max(5);
                item.price_cents =
                    if scaled == item.price_cents { scaled + 5 } else { scaled.min(100_000) };
                item.price_cents
            }
            None => 100,
        }
    }
}

impl Iterator for Shoppers {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        let (kind, at) = self.next.into_iter().enumerate().min_by_key(|(_, at)| *at)?;
        self.next[kind] = at
            + match kind {
                REQUEST => interarrival(&mut self.rng, self.pace.at(at)),
                PURCHASE => interarrival(&mut self.rng, self.pace.at(at) / VIEWS_PER_PURCHASE),
                REPRICE => interarrival(&mut self.rng, 1.0 / REPRICE_EVERY.as_secs_f64()),
                SCRIPT => SCRIPT_EVERY,
                _ => interarrival(&mut self.rng, 1.0 / RENAME_EVERY.as_secs_f64()),
            };
        let action = if kind == REQUEST {
            Action::Request(match &mut self.recorded {
                Some(recorded) => {
                    recorded.next += 1;
                    recorded.trace.page(recorded.next - 1, self.inventory.len())?
                }
                None => self.mix.page(&self.inventory, &mut self.rng),
            })
        } else {
            Action::Write(self.write(kind)?)
        };
        Some(Event { at, action })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::plan::InventoryItem;

    fn inventory() -> Inventory {
        let item = |id: i64| InventoryItem {
            name: format!("Red Lantern {id}"),
            category: 1 + u32::try_from(id % 7).expect("small"),
            price_cents: 100 + id,
            stock: 20,
        };
        Inventory((0..500).map(item).collect())
    }

    fn plan(seed: u64) -> Vec<Event> {
        Shoppers::new(inventory(), Pace::of(1000.0), seed).take(30_000).collect()
    }

    #[test]
    fn same_seed_gives_same_plan() {
        assert_eq!(plan(1), plan(1));
        assert_ne!(plan(1), plan(2));
    }

    #[test]
    fn events_ordered_at_planned_rate() {
        let plan = plan(3);
        assert!(plan.is_sorted_by_key(|event| event.at));
        let seconds = plan.last().expect("not empty").at.as_secs_f64();
        let requests =
            plan.iter().filter(|event| matches!(event.action, Action::Request(_))).count();
        let rate = requests as f64 / seconds;
        assert!((900.0..1200.0).contains(&rate), "{rate}");
    }

    #[test]
    fn planned_sales_never_exceed_stock() {
        let mut stock: Vec<i64> = inventory().0.iter().map(|item| item.stock).collect();
        for event in plan(4) {
            let (product, change) = match event.action {
                Action::Write(Write::Purchase { product, quantity }) => {
                    (product, -i64::from(quantity))
                }
                Action::Write(Write::Return { product, quantity }) => {
                    (product, i64::from(quantity))
                }
                Action::Write(Write::ScriptDelivery(rows)) => rows[0],
                _ => continue,
            };
            let stock = &mut stock[product as usize - 1];
            *stock += change;
            assert!(*stock >= 0, "product {product}");
        }
    }

    #[test]
    fn empty_shop_still_gives_requests() {
        assert!(Shoppers::new(Inventory::default(), Pace::of(100.0), 1).take(10).count() > 0);
    }
}
