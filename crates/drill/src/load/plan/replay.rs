//! Replays an order book as traffic: each line is a purchase, preceded by about 100 page views. The
//! views follow the month's popularity; the last of them is the product's page.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rand::RngExt;

use super::event::{Action, Event, Write};
use super::inventory::Inventory;
use super::orders::{OrderBook, OrderLine};
use super::pace::Pace;
use super::page_mix::{PAGE_EXPONENT, PageMix};
use super::random::{Popularity, Rng, interarrival, seeded};
use crate::page::Page;

/// Page views before each purchase, including the last.
const VIEWS: u32 = 100;
/// Time between the first page view and the purchase, in the order book's time.
const BROWSING: Duration = Duration::from_secs(20 * 60);
/// The same in the run's time, if lines come as fast as the rate allows.
const BROWSING_FAST: Duration = Duration::from_secs(2);
/// Time between the last view of a product and its purchase.
const LAST_VIEW: Duration = Duration::from_millis(60);
/// Order lines per price change. The book itself has about a quarter as many: a run of a minute
/// covers a morning, and the book's prices change by the month.
const LINES_PER_CHANGE: usize = 16;
/// Price changes that the script makes in one transaction; the shop makes as many one by one.
const SCRIPT_BATCH: usize = 4;
/// Period over which popularity is counted, in seconds.
const MONTH: i64 = 30 * 86_400;

/// The plan that replays an order book; it ends with the book.
pub struct Replay {
    book: Arc<OrderBook>,
    inventory: Inventory,
    timeline: Timeline,
    cap: RateCap,
    mix: PageMix,
    month: i64,
    stock: Vec<i64>,
    line: usize,
    price_changes: usize,
    script: Vec<(u32, i64)>,
    pending: BinaryHeap<Reverse<Pending>>,
    sequence: u64,
    rng: Rng,
}

/// Maps the times of order lines to times in the run.
enum Timeline {
    /// In order, as fast as the rate allows.
    Paced { pace: Pace, last: Duration },
    /// At the book's times, `speed` times faster.
    Scaled { speed: f64, first: i64 },
}

/// An upper bound on a plan's request rate: bursts in the order book must not exceed the capacity
/// of one machine.
struct RateCap {
    per_window: u64,
    window: u128,
    used: u64,
    dropped: Arc<AtomicU64>,
}

const WINDOW: Duration = Duration::from_millis(200);

struct Pending {
    at: Duration,
    sequence: u64,
    action: Action,
}

impl Replay {
    /// Replays `book` in a shop with this `inventory` (the book's articles, in its order).
    ///
    /// Without `speed`, the lines come in order as fast as `pace` allows, 100 requests each. With
    /// `speed`, they come at their recorded times, `speed` times faster; requests beyond 1.5 times
    /// the rate of `pace` are dropped and counted in [`Replay::dropped`].
    pub fn new(
        book: Arc<OrderBook>,
        inventory: Inventory,
        pace: Pace,
        speed: Option<f64>,
        seed: u64,
    ) -> Self {
        let first = book.lines.first().map_or(0, |line| line.at);
        let timeline = match speed {
            Some(speed) => Timeline::Scaled { speed: speed.max(0.001), first },
            None => Timeline::Paced { pace, last: Duration::ZERO },
        };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rate per window"
        )]
        let per_window = (pace.rate * 1.5 * WINDOW.as_secs_f64()).max(1.0) as u64;
        let mix = month_mix(&book, &inventory, first);
        Self {
            stock: inventory.0.iter().map(|item| item.stock).collect(),
            timeline,
            cap: RateCap { per_window, window: 0, used: 0, dropped: Arc::default() },
            mix,
            month: first,
            line: 0,
            price_changes: 0,
            script: Vec::new(),
            pending: BinaryHeap::new(),
            sequence: 0,
            rng: seeded(seed),
            book,
            inventory,
        }
    }

    /// Returns the counter of requests that were dropped to keep within the rate cap.
    pub fn dropped(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.cap.dropped)
    }

    fn browsing(&self) -> Duration {
        match self.timeline {
            Timeline::Paced { .. } => BROWSING_FAST,
            Timeline::Scaled { speed, .. } => BROWSING.div_f64(speed).max(BROWSING_FAST),
        }
    }

    /// Adds the events of one order line.
    fn schedule_line(&mut self, line: OrderLine) {
        if line.at >= self.month + MONTH {
            self.month += (line.at - self.month) / MONTH * MONTH;
            self.mix = month_mix(&self.book, &self.inventory, self.month);
        }
        let at = self.timeline.next(line.at, &mut self.rng) + self.browsing();
        let browsing = self.browsing();
        for _ in 1..VIEWS {
            let before = browsing.mul_f64(self.rng.random::<f64>());
            let page = self.mix.page(&self.inventory, &mut self.rng);
            self.push(at.saturating_sub(before), Action::Request(page));
        }
        self.push(at.saturating_sub(LAST_VIEW), Action::Request(Page::Product(line.article)));
        for write in self.sale(line) {
            self.push(at, Action::Write(write));
        }
        if self.line.is_multiple_of(LINES_PER_CHANGE)
            && let Some(write) = self.price_change()
        {
            self.push(at, Action::Write(write));
        }
    }

    fn sale(&mut self, line: OrderLine) -> Vec<Write> {
        let (product, quantity) = (line.article, line.quantity);
        if line.returned {
            self.add_stock(product, i64::from(quantity));
            return vec![Write::Return { product, quantity }];
        }
        let mut writes = Vec::new();
        if self.add_stock(product, 0) < i64::from(quantity) {
            // The book sold it, so it was in stock: a delivery must have arrived.
            let delivery = i64::from(quantity) * 4;
            self.add_stock(product, delivery);
            writes.push(Write::ScriptDelivery(vec![(product, delivery)]));
        }
        self.add_stock(product, -i64::from(quantity));
        writes.push(Write::Purchase { product, quantity });
        writes
    }

    fn add_stock(&mut self, product: u32, pieces: i64) -> i64 {
        let index = (product as usize).checked_sub(1);
        match index.and_then(|index| self.stock.get_mut(index)) {
            Some(stock) => {
                *stock += pieces;
                *stock
            }
            None => 0,
        }
    }

    /// Alternates between the shop's own code and the script, which batches its changes.
    fn price_change(&mut self) -> Option<Write> {
        let change = *self.book.price_changes.get(self.price_changes)?;
        self.price_changes += 1;
        if self.price_changes.is_multiple_of(2) {
            return Some(Write::Reprice {
                product: change.article,
                price_cents: change.price_cents,
            });
        }
        self.script.push((change.article, change.price_cents));
        (self.script.len() >= SCRIPT_BATCH)
            .then(|| Write::ScriptReprice(std::mem::take(&mut self.script)))
    }

    fn push(&mut self, at: Duration, action: Action) {
        self.sequence += 1;
        self.pending.push(Reverse(Pending { at, sequence: self.sequence, action }));
    }
}

impl Iterator for Replay {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        loop {
            // The views of a line are no earlier than its position on the timeline, so all events
            // before that are pending already.
            while let Some(line) = self.book.lines.get(self.line).copied() {
                let ready = self.pending.peek().map(|Reverse(pending)| pending.at);
                if ready.is_some_and(|ready| ready < self.timeline.at(line.at)) {
                    break;
                }
                self.schedule_line(line);
                self.line += 1;
            }
            let Reverse(Pending { at, action, .. }) = self.pending.pop()?;
            if matches!(action, Action::Write(_)) || self.cap.admits(at) {
                return Some(Event { at, action });
            }
        }
    }
}

impl Timeline {
    /// Returns the earliest time of any event of a line recorded at `at`.
    fn at(&self, at: i64) -> Duration {
        match self {
            Self::Paced { last, .. } => *last,
            Self::Scaled { speed, first } => scaled(at - first, *speed),
        }
    }

    /// Returns the time at which the views of the next line, recorded at `at`, begin.
    fn next(&mut self, at: i64, rng: &mut Rng) -> Duration {
        match self {
            Self::Paced { pace, last } => {
                let line = *last;
                *last += interarrival(rng, pace.at(*last) / f64::from(VIEWS));
                line
            }
            Self::Scaled { speed, first } => scaled(at - *first, *speed),
        }
    }
}

fn scaled(seconds: i64, speed: f64) -> Duration {
    let seconds = u64::try_from(seconds).unwrap_or(0);
    Duration::from_secs(seconds).div_f64(speed)
}

impl RateCap {
    fn admits(&mut self, at: Duration) -> bool {
        let window = at.as_millis() / WINDOW.as_millis();
        if window != self.window {
            (self.window, self.used) = (window, 0);
        }
        self.used += 1;
        if self.used > self.per_window {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        self.used <= self.per_window
    }
}

/// Returns the page mix of the month that begins at `from`: Zipf, ranked by the month's sales.
fn month_mix(book: &OrderBook, inventory: &Inventory, from: i64) -> PageMix {
    let mut counts = HashMap::<u32, u32>::new();
    let start = book.lines.partition_point(|line| line.at < from);
    for line in book.lines[start..].iter().take_while(|line| line.at < from + MONTH) {
        *counts.entry(line.article).or_default() += 1;
    }
    let mut counts: Vec<(u32, u32)> = counts.into_iter().collect();
    counts.sort_by_key(|(article, count)| (Reverse(*count), *article));
    let ranked = counts.into_iter().map(|(article, _)| article).collect();
    let popularity = Popularity::ranked(ranked, PAGE_EXPONENT);
    PageMix::new(inventory, popularity.clone(), popularity)
}

impl Ord for Pending {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.sequence).cmp(&(other.at, other.sequence))
    }
}

impl PartialOrd for Pending {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Pending {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Pending {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::plan::InventoryItem;
    use crate::load::plan::orders::Article;

    fn book() -> Arc<OrderBook> {
        let mut csv = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice\n".to_owned();
        for line in 0..120 {
            let (hour, minute) = (8 + line / 60, line % 60);
            let (invoice, quantity) = if line % 40 == 39 { ("C", -2) } else { ("", 2) };
            csv += &format!(
                "{invoice}{line},1000{},THING {},{quantity},2010-12-01 {hour:02}:{minute:02}:00,2.50\n",
                line % 7,
                line % 7,
            );
            csv += &format!(
                "X{line},1000{},THING,1,2011-01-0{} 08:00:00,3.50\n",
                line % 7,
                1 + line % 9
            );
        }
        Arc::new(OrderBook::read(csv.as_bytes()).expect("an order book"))
    }

    fn replay(speed: Option<f64>) -> Replay {
        let book = book();
        let item = |article: &Article| InventoryItem {
            name: article.name.clone(),
            category: 1,
            price_cents: article.price_cents,
            stock: article.stock,
        };
        let inventory = Inventory(book.articles.iter().map(item).collect());
        Replay::new(book, inventory, Pace::steady(1000.0), speed, 1)
    }

    #[test]
    fn replay_ordered_and_reproducible() {
        let plan: Vec<Event> = replay(None).collect();
        assert!(plan.is_sorted_by_key(|event| event.at));
        assert!(plan == replay(None).collect::<Vec<_>>());
    }

    #[test]
    fn each_line_preceded_by_100_views() {
        let (mut views, mut sales, mut returns, mut price_changes) = (0, 0, 0, 0);
        for event in replay(None) {
            match event.action {
                Action::Request(_) => views += 1,
                Action::Write(Write::Purchase { .. }) => sales += 1,
                Action::Write(Write::Return { .. }) => returns += 1,
                Action::Write(Write::Reprice { .. }) => price_changes += 1,
                Action::Write(Write::ScriptReprice(prices)) => price_changes += prices.len(),
                Action::Write(_) => {}
            }
        }
        assert_eq!((sales, returns), (237, 3));
        assert!(views <= 24_000 && views > 20_000, "{views}");
        assert!(price_changes > 0);
    }

    #[test]
    fn speed_scales_recorded_times() {
        let sales: Vec<Duration> = replay(Some(60.0))
            .filter(|event| matches!(event.action, Action::Write(Write::Purchase { .. })))
            .map(|event| event.at)
            .take(61)
            .collect();
        let minute = sales[1] - sales[0];
        assert_eq!(minute, Duration::from_secs(1));
    }

    #[test]
    fn burst_dropped_beyond_rate_cap() {
        let mut replay = replay(Some(1_000_000.0));
        let dropped = replay.dropped();
        let requests =
            replay.by_ref().filter(|event| matches!(event.action, Action::Request(_))).count();
        assert_eq!(requests as u64 + dropped.load(Ordering::Relaxed), 240 * u64::from(VIEWS));
        assert!(dropped.load(Ordering::Relaxed) > 0);
    }
}
