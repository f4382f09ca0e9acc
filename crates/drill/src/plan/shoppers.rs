//! Generated traffic with the measured properties of real shops: page requests by Zipf 0.83, API
//! reads by Zipf 0.6 with a third of them on 1 % of the keys, about 100 page views per purchase.

use std::time::Duration;

use rand::RngExt;

use super::chance::{Dice, Popularity, dice, wait};
use super::goods::Goods;
use super::pace::Pace;
use super::reads::Reads;
use super::{Event, What, Write};
use crate::page::Page;

/// How steeply page views fall from rank to rank, as measured on a real shop.
pub(crate) const PAGE_EXPONENT: f64 = 0.83;
/// The same for reads of a real shop's entity cache.
const READ_EXPONENT: f64 = 0.6;
/// Page views per purchase.
const VIEWS_PER_PURCHASE: f64 = 100.0;
/// One purchase in so many is sent back.
const PURCHASES_PER_RETURN: u32 = 40;
/// How often the shop's own code changes a single price.
const REPRICE_EVERY: Duration = Duration::from_millis(700);
/// How often the pricing script runs.
const SCRIPT_EVERY: Duration = Duration::from_secs(3);
/// Prices the script changes in one transaction.
const SCRIPT_PRICES: usize = 12;
/// How often somebody edits a name.
const RENAME_EVERY: Duration = Duration::from_secs(10);

/// An endless plan of shoppers, orders, repricing and deliveries.
pub struct Shoppers {
    goods: Goods,
    pace: Pace,
    browse: Browse,
    dice: Dice,
    next: [Duration; 5],
    recorded: Option<Recorded>,
}

/// Reads that come from a trace instead of from chance.
struct Recorded {
    reads: Reads,
    next: usize,
}

/// Index into `Shoppers::next`: what happens next of each kind; the last is a renaming.
const REQUEST: usize = 0;
const PURCHASE: usize = 1;
const REPRICE: usize = 2;
const SCRIPT: usize = 3;

impl Shoppers {
    /// Shoppers of a shop with these `goods`, arriving at `pace`.
    pub fn new(goods: Goods, pace: Pace, seed: u64) -> Self {
        let browse = Browse::new(&goods, seed);
        Self::with(goods, browse, pace, seed, None)
    }

    /// Shoppers who read what `reads` recorded, in that order; the plan ends with it. Writes are
    /// generated, since a trace has none, and go to the products that are read most.
    pub fn replaying(goods: Goods, reads: Reads, pace: Pace, seed: u64) -> Self {
        let popularity = reads.popularity(goods.len());
        let browse = Browse::of(&goods, popularity.clone(), popularity);
        Self::with(goods, browse, pace, seed, Some(Recorded { reads, next: 0 }))
    }

    fn with(
        goods: Goods,
        browse: Browse,
        pace: Pace,
        seed: u64,
        recorded: Option<Recorded>,
    ) -> Self {
        let next =
            [Duration::ZERO, Duration::from_millis(300), REPRICE_EVERY, SCRIPT_EVERY, RENAME_EVERY];
        Self { goods, pace, browse, dice: dice(seed), next, recorded }
    }

    fn write(&mut self, kind: usize) -> Option<Write> {
        let dice = &mut self.dice;
        let product = self.browse.pages.pick(dice)?;
        Some(match kind {
            PURCHASE => self.purchase(product),
            REPRICE => Write::Reprice { product, price_cents: self.new_price(product) },
            SCRIPT => {
                let mut products: Vec<u32> = (0..SCRIPT_PRICES)
                    .filter_map(|_| self.browse.pages.pick(&mut self.dice))
                    .collect();
                products.sort_unstable();
                products.dedup();
                let prices = products.into_iter().map(|id| (id, self.new_price(id))).collect();
                Write::ScriptReprice(prices)
            }
            _ => {
                let good = self.good(product)?;
                let plain = good.name.trim_end_matches(" (new)").to_owned();
                good.name = if good.name == plain { format!("{plain} (new)") } else { plain };
                Write::Rename { product, name: good.name.clone() }
            }
        })
    }

    fn purchase(&mut self, product: u32) -> Write {
        let quantity = [1, 1, 1, 2, 2, 3, 6][self.dice.random_range(0..7)];
        let sent_back = self.dice.random_range(0..PURCHASES_PER_RETURN) == 0;
        let wanted = i64::from(quantity);
        match self.good(product) {
            Some(good) if sent_back => {
                good.stock += wanted;
                Write::Return { product, quantity }
            }
            Some(good) if good.stock < wanted => {
                good.stock += 100;
                Write::ScriptDelivery(vec![(product, 100)])
            }
            Some(good) => {
                good.stock -= wanted;
                Write::Purchase { product, quantity }
            }
            None => Write::Purchase { product, quantity },
        }
    }

    fn new_price(&mut self, product: u32) -> i64 {
        let factor = self.dice.random_range(80..=125);
        match self.good(product) {
            Some(good) => {
                let moved = (good.price_cents * factor / 100).max(5);
                good.price_cents =
                    if moved == good.price_cents { moved + 5 } else { moved.min(100_000) };
                good.price_cents
            }
            None => 100,
        }
    }

    fn good(&mut self, id: u32) -> Option<&mut super::Good> {
        self.goods.0.get_mut(usize::try_from(id).ok()?.checked_sub(1)?)
    }
}

impl Iterator for Shoppers {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        let (kind, at) = self.next.into_iter().enumerate().min_by_key(|(_, at)| *at)?;
        self.next[kind] = at
            + match kind {
                REQUEST => wait(&mut self.dice, self.pace.at(at)),
                PURCHASE => wait(&mut self.dice, self.pace.at(at) / VIEWS_PER_PURCHASE),
                REPRICE => wait(&mut self.dice, 1.0 / REPRICE_EVERY.as_secs_f64()),
                SCRIPT => SCRIPT_EVERY,
                _ => wait(&mut self.dice, 1.0 / RENAME_EVERY.as_secs_f64()),
            };
        let what = if kind == REQUEST {
            What::Request(match &mut self.recorded {
                Some(recorded) => {
                    recorded.next += 1;
                    recorded.reads.page(recorded.next - 1, self.goods.len())?
                }
                None => self.browse.page(&self.goods, &mut self.dice),
            })
        } else {
            What::Write(self.write(kind)?)
        };
        Some(Event { at, what })
    }
}

/// Which pages people look at.
pub(crate) struct Browse {
    pub(crate) pages: Popularity,
    reads: Popularity,
    categories: Vec<(u32, u32)>,
}

/// Products per category page, as the shop shows them.
const SHELF: usize = 24;

impl Browse {
    pub(crate) fn new(goods: &Goods, seed: u64) -> Self {
        let count = goods.len();
        let pages = Popularity::zipf(count, PAGE_EXPONENT, seed);
        Self::of(goods, pages, Popularity::zipf(count, READ_EXPONENT, seed))
    }

    pub(crate) fn of(goods: &Goods, pages: Popularity, reads: Popularity) -> Self {
        let mut sizes = std::collections::BTreeMap::<u32, usize>::new();
        for good in &goods.0 {
            *sizes.entry(good.category).or_default() += 1;
        }
        let categories = sizes
            .into_iter()
            .map(|(id, size)| (id, u32::try_from(size.div_ceil(SHELF)).unwrap_or(1)))
            .collect();
        Self { pages, reads, categories }
    }

    /// The next page of a random shopper: 60 % product pages, 25 % search and category, the rest
    /// home, API reads, basket and checkout.
    pub(crate) fn page(&self, goods: &Goods, dice: &mut Dice) -> Page {
        let product = self.pages.pick(dice).unwrap_or(1);
        match dice.random_range(0..1000) {
            0..600 => Page::Product(product),
            600..750 => self.category(dice),
            // People search for what many people search for: one or two words of popular names.
            750..850 => {
                let wanted = self.pages.pick_top(dice, 0.05).unwrap_or(product);
                Page::Search(goods.search_words(wanted, wanted.is_multiple_of(3)))
            }
            850..900 => Page::Home,
            900..975 => {
                let read = self.read(dice).unwrap_or(product);
                match dice.random_range(0..7) {
                    0..3 => Page::Price(read),
                    3..6 => Page::Stock(read),
                    _ => Page::ProductJson(read),
                }
            }
            975..985 => Page::Cart,
            985..990 => Page::Checkout,
            _ => Page::Style,
        }
    }

    /// Zipf 0.6 alone gives the top 1 % too little: a fifth of the reads go there on top.
    fn read(&self, dice: &mut Dice) -> Option<u32> {
        if dice.random_range(0..5) == 0 {
            self.reads.pick_top(dice, 0.01)
        } else {
            self.reads.pick(dice)
        }
    }

    fn category(&self, dice: &mut Dice) -> Page {
        if self.categories.is_empty() {
            return Page::Home;
        }
        let (id, pages) = self.categories[dice.random_range(0..self.categories.len())];
        // Most people stay on the first page; each further one is half as likely.
        let mut page = 1;
        while page < pages && dice.random_range(0..2) == 0 {
            page += 1;
        }
        Page::Category { id, page }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Good;

    fn goods() -> Goods {
        let good = |id: i64| Good {
            name: format!("Red Lantern {id}"),
            category: 1 + u32::try_from(id % 7).expect("small"),
            price_cents: 100 + id,
            stock: 20,
        };
        Goods((0..500).map(good).collect())
    }

    fn plan(seed: u64) -> Vec<Event> {
        Shoppers::new(goods(), Pace::of(1000.0), seed).take(30_000).collect()
    }

    #[test]
    fn a_seed_decides_everything() {
        assert_eq!(plan(1), plan(1));
        assert_ne!(plan(1), plan(2));
    }

    #[test]
    fn events_come_in_order_and_at_the_planned_rate() {
        let plan = plan(3);
        assert!(plan.is_sorted_by_key(|event| event.at));
        let seconds = plan.last().expect("not empty").at.as_secs_f64();
        let requests = plan.iter().filter(|event| matches!(event.what, What::Request(_))).count();
        let rate = requests as f64 / seconds;
        assert!((900.0..1200.0).contains(&rate), "{rate}");
    }

    #[test]
    fn nobody_is_sold_what_is_not_there() {
        let mut stock: Vec<i64> = goods().0.iter().map(|good| good.stock).collect();
        for event in plan(4) {
            let (product, change) = match event.what {
                What::Write(Write::Purchase { product, quantity }) => {
                    (product, -i64::from(quantity))
                }
                What::Write(Write::Return { product, quantity }) => (product, i64::from(quantity)),
                What::Write(Write::ScriptDelivery(rows)) => rows[0],
                _ => continue,
            };
            let stock = &mut stock[product as usize - 1];
            *stock += change;
            assert!(*stock >= 0, "product {product}");
        }
    }

    #[test]
    fn an_empty_shop_is_no_panic() {
        assert!(Shoppers::new(Goods::default(), Pace::of(100.0), 1).take(10).count() > 0);
    }
}
