//! An invalidation storm: recommendations are read while stock changes, and each change
//! invalidates the recommendations of a whole category.

use std::time::Duration;

use super::event::{Action, Event, Write};
use super::inventory::Inventory;
use super::page_mix::PAGE_EXPONENT;
use super::random::{Popularity, Rng, interarrival, seeded};
use crate::page::Page;

/// Pieces per delivery.
const DELIVERY: i64 = 100;

/// An endless plan of recommendation reads by Zipf and of sales.
pub struct Storm {
    inventory: Inventory,
    popularity: Popularity,
    reads_per_second: f64,
    changes_per_second: f64,
    rng: Rng,
    next_read: Duration,
    next_change: Duration,
}

impl Storm {
    /// Returns a storm with these mean numbers of reads and stock changes per second.
    pub fn new(
        inventory: Inventory,
        reads_per_second: f64,
        changes_per_second: f64,
        seed: u64,
    ) -> Self {
        let popularity = Popularity::zipf(inventory.len(), PAGE_EXPONENT, seed);
        Self {
            inventory,
            popularity,
            reads_per_second,
            changes_per_second,
            rng: seeded(seed),
            next_read: Duration::ZERO,
            next_change: Duration::ZERO,
        }
    }

    fn stock_change(&mut self) -> Option<Write> {
        let product = self.popularity.pick(&mut self.rng)?;
        let item = self.inventory.get_mut(product)?;
        if item.stock < 1 {
            item.stock += DELIVERY;
            return Some(Write::ScriptDelivery(vec![(product, DELIVERY)]));
        }
        item.stock -= 1;
        Some(Write::Purchase { product, quantity: 1 })
    }
}

impl Iterator for Storm {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        if self.next_change <= self.next_read {
            let at = self.next_change;
            self.next_change += interarrival(&mut self.rng, self.changes_per_second);
            return Some(Event { at, action: Action::Write(self.stock_change()?) });
        }
        let at = self.next_read;
        self.next_read += interarrival(&mut self.rng, self.reads_per_second);
        let page = Page::Recommended(self.popularity.pick(&mut self.rng)?);
        Some(Event { at, action: Action::Request(page) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::plan::InventoryItem;

    #[test]
    fn storm_ordered_and_within_stock() {
        let item =
            |_| InventoryItem { name: "Lantern".into(), category: 1, price_cents: 100, stock: 3 };
        let inventory = Inventory((0..50).map(item).collect());
        let mut stock: Vec<i64> = inventory.0.iter().map(|item| item.stock).collect();
        let plan: Vec<Event> =
            Storm::new(inventory.clone(), 900.0, 100.0, 1).take(20_000).collect();
        assert!(plan.is_sorted_by_key(|event| event.at));
        assert_eq!(plan, Storm::new(inventory, 900.0, 100.0, 1).take(20_000).collect::<Vec<_>>());
        let mut changes = 0;
        for event in &plan {
            let (product, change) = match &event.action {
                Action::Write(Write::Purchase { product, .. }) => (*product, -1),
                Action::Write(Write::ScriptDelivery(rows)) => rows[0],
                _ => continue,
            };
            changes += 1;
            let stock = &mut stock[product as usize - 1];
            *stock += change;
            assert!(*stock >= 0, "product {product}");
        }
        assert!((1_500..2_500).contains(&changes), "{changes} of 20,000");
    }

    #[test]
    fn empty_shop_ends_storm() {
        assert_eq!(Storm::new(Inventory::default(), 10.0, 10.0, 1).count(), 0);
    }
}
