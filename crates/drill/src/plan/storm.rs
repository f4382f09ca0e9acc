//! A storm: recommendations are read while stock moves, and each movement makes those of a whole
//! category old.

use std::time::Duration;

use super::chance::{Dice, Popularity, dice, wait};
use super::goods::Goods;
use super::shoppers::PAGE_EXPONENT;
use super::{Event, What, Write};
use crate::page::Page;

/// A delivery brings so many.
const DELIVERY: i64 = 100;

/// An endless plan: recommendations by Zipf, sales all the time.
pub struct Storm {
    goods: Goods,
    popularity: Popularity,
    reads_per_second: f64,
    movements_per_second: f64,
    dice: Dice,
    read_at: Duration,
    move_at: Duration,
}

impl Storm {
    /// So many reads and movements of stock a second, on average.
    pub fn new(goods: Goods, reads_per_second: f64, movements_per_second: f64, seed: u64) -> Self {
        let popularity = Popularity::zipf(goods.len(), PAGE_EXPONENT, seed);
        Self {
            goods,
            popularity,
            reads_per_second,
            movements_per_second,
            dice: dice(seed),
            read_at: Duration::ZERO,
            move_at: Duration::ZERO,
        }
    }

    fn movement(&mut self) -> Option<Write> {
        let product = self.popularity.pick(&mut self.dice)?;
        let at = usize::try_from(product).ok()?.checked_sub(1)?;
        let good = self.goods.0.get_mut(at)?;
        if good.stock < 1 {
            good.stock += DELIVERY;
            return Some(Write::ScriptDelivery(vec![(product, DELIVERY)]));
        }
        good.stock -= 1;
        Some(Write::Purchase { product, quantity: 1 })
    }
}

impl Iterator for Storm {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        if self.move_at <= self.read_at {
            let at = self.move_at;
            self.move_at += wait(&mut self.dice, self.movements_per_second);
            return Some(Event { at, what: What::Write(self.movement()?) });
        }
        let at = self.read_at;
        self.read_at += wait(&mut self.dice, self.reads_per_second);
        let page = Page::Recommended(self.popularity.pick(&mut self.dice)?);
        Some(Event { at, what: What::Request(page) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Good;

    #[test]
    fn reads_and_movements_come_in_order_at_their_rates_and_sell_only_what_is_there() {
        let good = |_| Good { name: "Lantern".into(), category: 1, price_cents: 100, stock: 3 };
        let goods = Goods((0..50).map(good).collect());
        let mut stock: Vec<i64> = goods.0.iter().map(|good| good.stock).collect();
        let plan: Vec<Event> = Storm::new(goods.clone(), 900.0, 100.0, 1).take(20_000).collect();
        assert!(plan.is_sorted_by_key(|event| event.at));
        assert_eq!(plan, Storm::new(goods, 900.0, 100.0, 1).take(20_000).collect::<Vec<_>>());
        let mut movements = 0;
        for event in &plan {
            let (product, change) = match &event.what {
                What::Write(Write::Purchase { product, .. }) => (*product, -1),
                What::Write(Write::ScriptDelivery(rows)) => rows[0],
                _ => continue,
            };
            movements += 1;
            let stock = &mut stock[product as usize - 1];
            *stock += change;
            assert!(*stock >= 0, "product {product}");
        }
        assert!((1_500..2_500).contains(&movements), "{movements} of 20,000");
    }

    #[test]
    fn an_empty_shop_ends_it() {
        assert_eq!(Storm::new(Goods::default(), 10.0, 10.0, 1).count(), 0);
    }
}
