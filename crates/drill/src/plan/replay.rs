//! An order book as traffic: each line is a purchase, with about 100 page views before it that are
//! spread by the popularity of the month, the last of them of the product itself.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rand::RngExt;

use super::chance::{Dice, Popularity, dice, wait};
use super::goods::Goods;
use super::orders::{OrderBook, OrderLine};
use super::pace::Pace;
use super::shoppers::{Browse, PAGE_EXPONENT};
use super::{Event, What, Write};
use crate::page::Page;

/// Page views before each purchase, the last one included.
const VIEWS: u32 = 100;
/// How long before a purchase its views begin, by the shop's clock.
const BROWSING: Duration = Duration::from_secs(20 * 60);
/// The same when lines come as fast as the rate allows.
const BROWSING_FAST: Duration = Duration::from_secs(2);
/// Between the last look at a product and its purchase.
const LAST_LOOK: Duration = Duration::from_millis(60);
/// Order lines per price move. The book's own pace is slower by about four: a run of a minute
/// covers a morning, and prices move by the month.
const LINES_PER_MOVE: usize = 16;
/// Price moves that the script makes in one transaction; as many are made one by one by the shop.
const SCRIPT_BATCH: usize = 4;
/// Popularity is counted over so many seconds.
const MONTH: i64 = 30 * 86_400;

/// The plan of an order book; it ends with the book.
pub struct Replay {
    book: Arc<OrderBook>,
    goods: Goods,
    clock: Clock,
    ceiling: Ceiling,
    browse: Browse,
    month: i64,
    stock: Vec<i64>,
    line: usize,
    moves: usize,
    script: Vec<(u32, i64)>,
    pending: BinaryHeap<Reverse<Pending>>,
    sequence: u64,
    dice: Dice,
}

/// When an order line happens in the run.
enum Clock {
    /// As fast as the rate allows, in order.
    Paced { pace: Pace, last: Duration },
    /// At the book's own times, so many times faster.
    Scaled { speed: f64, first: i64 },
}

/// Requests per second that a plan never goes beyond: what one machine can bear is not for the
/// order book to decide.
struct Ceiling {
    per_window: u64,
    window: u128,
    used: u64,
    dropped: Arc<AtomicU64>,
}

const WINDOW: Duration = Duration::from_millis(200);

struct Pending {
    at: Duration,
    sequence: u64,
    what: What,
}

impl Replay {
    /// Replays `book` in a shop of `goods` (the book's articles, in its order).
    ///
    /// Without `speed` the lines come in order as fast as `pace` allows, 100 requests each. With
    /// it, they come at their own times, `speed` times faster; requests beyond 1.5 times the rate
    /// of `pace` are dropped and counted in [`Replay::dropped`].
    pub fn new(
        book: Arc<OrderBook>,
        goods: Goods,
        pace: Pace,
        speed: Option<f64>,
        seed: u64,
    ) -> Self {
        let first = book.lines.first().map_or(0, |line| line.at);
        let clock = match speed {
            Some(speed) => Clock::Scaled { speed: speed.max(0.001), first },
            None => Clock::Paced { pace, last: Duration::ZERO },
        };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rate per window"
        )]
        let per_window = (pace.rate * 1.5 * WINDOW.as_secs_f64()).max(1.0) as u64;
        let browse = popular(&book, &goods, first);
        Self {
            stock: goods.0.iter().map(|good| good.stock).collect(),
            clock,
            ceiling: Ceiling { per_window, window: 0, used: 0, dropped: Arc::default() },
            browse,
            month: first,
            line: 0,
            moves: 0,
            script: Vec::new(),
            pending: BinaryHeap::new(),
            sequence: 0,
            dice: dice(seed),
            book,
            goods,
        }
    }

    /// Requests that were left out because of the ceiling.
    pub fn dropped(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.ceiling.dropped)
    }

    fn browsing(&self) -> Duration {
        match self.clock {
            Clock::Paced { .. } => BROWSING_FAST,
            Clock::Scaled { speed, .. } => BROWSING.div_f64(speed).max(BROWSING_FAST),
        }
    }

    /// When the next line's views may begin; events before that are complete.
    fn enter_line(&mut self, line: OrderLine) {
        if line.at >= self.month + MONTH {
            self.month += (line.at - self.month) / MONTH * MONTH;
            self.browse = popular(&self.book, &self.goods, self.month);
        }
        let at = self.clock.next(line.at, &mut self.dice) + self.browsing();
        let browsing = self.browsing();
        for _ in 1..VIEWS {
            let before = browsing.mul_f64(self.dice.random::<f64>());
            let page = self.browse.page(&self.goods, &mut self.dice);
            self.push(at.saturating_sub(before), What::Request(page));
        }
        self.push(at.saturating_sub(LAST_LOOK), What::Request(Page::Product(line.article)));
        for write in self.sale(line) {
            self.push(at, What::Write(write));
        }
        if self.line.is_multiple_of(LINES_PER_MOVE)
            && let Some(write) = self.price_move()
        {
            self.push(at, What::Write(write));
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
            // The book sold it, so it was there: a delivery must have come.
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

    /// Every other move is made by the shop itself, the rest by the script, some at a time.
    fn price_move(&mut self) -> Option<Write> {
        let moved = *self.book.moves.get(self.moves)?;
        self.moves += 1;
        if self.moves.is_multiple_of(2) {
            return Some(Write::Reprice { product: moved.article, price_cents: moved.price_cents });
        }
        self.script.push((moved.article, moved.price_cents));
        (self.script.len() >= SCRIPT_BATCH)
            .then(|| Write::ScriptReprice(std::mem::take(&mut self.script)))
    }

    fn push(&mut self, at: Duration, what: What) {
        self.sequence += 1;
        self.pending.push(Reverse(Pending { at, sequence: self.sequence, what }));
    }
}

impl Iterator for Replay {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        loop {
            // A line's views begin at its own place in the run, so what comes before is complete.
            while let Some(line) = self.book.lines.get(self.line).copied() {
                let ready = self.pending.peek().map(|Reverse(pending)| pending.at);
                if ready.is_some_and(|ready| ready < self.clock.at(line.at)) {
                    break;
                }
                self.enter_line(line);
                self.line += 1;
            }
            let Reverse(Pending { at, what, .. }) = self.pending.pop()?;
            if matches!(what, What::Write(_)) || self.ceiling.admits(at) {
                return Some(Event { at, what });
            }
        }
    }
}

impl Clock {
    /// The earliest time at which a line of `at` can begin.
    fn at(&self, at: i64) -> Duration {
        match self {
            Self::Paced { last, .. } => *last,
            Self::Scaled { speed, first } => scaled(at - first, *speed),
        }
    }

    fn next(&mut self, at: i64, dice: &mut Dice) -> Duration {
        match self {
            Self::Paced { pace, last } => {
                let line = *last;
                *last += wait(dice, pace.at(*last) / f64::from(VIEWS));
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

impl Ceiling {
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

/// What people look at in the month that begins at `from`: by Zipf, ranked by what is bought in it.
fn popular(book: &OrderBook, goods: &Goods, from: i64) -> Browse {
    let mut counts = HashMap::<u32, u32>::new();
    let start = book.lines.partition_point(|line| line.at < from);
    for line in book.lines[start..].iter().take_while(|line| line.at < from + MONTH) {
        *counts.entry(line.article).or_default() += 1;
    }
    let mut counts: Vec<(u32, u32)> = counts.into_iter().collect();
    counts.sort_by_key(|(article, count)| (Reverse(*count), *article));
    let ranked = counts.into_iter().map(|(article, _)| article).collect();
    let popularity = Popularity::ranked(ranked, PAGE_EXPONENT);
    Browse::of(goods, popularity.clone(), popularity)
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
    use crate::plan::Good;

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
        let good = |article: &super::super::orders::Article| Good {
            name: article.name.clone(),
            category: 1,
            price_cents: article.price_cents,
            stock: article.stock,
        };
        let goods = Goods(book.articles.iter().map(good).collect());
        Replay::new(book, goods, Pace::steady(1000.0), speed, 1)
    }

    #[test]
    fn the_plan_is_in_order_and_the_same_each_time() {
        let plan: Vec<Event> = replay(None).collect();
        assert!(plan.is_sorted_by_key(|event| event.at));
        assert!(plan == replay(None).collect::<Vec<_>>());
    }

    #[test]
    fn every_line_is_a_purchase_or_return_after_about_100_views() {
        let (mut views, mut sales, mut returns, mut moves) = (0, 0, 0, 0);
        for event in replay(None) {
            match event.what {
                What::Request(_) => views += 1,
                What::Write(Write::Purchase { .. }) => sales += 1,
                What::Write(Write::Return { .. }) => returns += 1,
                What::Write(Write::Reprice { .. }) => moves += 1,
                What::Write(Write::ScriptReprice(prices)) => moves += prices.len(),
                What::Write(_) => {}
            }
        }
        assert_eq!((sales, returns), (237, 3));
        assert!(views <= 24_000 && views > 20_000, "{views}");
        assert!(moves > 0);
    }

    #[test]
    fn speed_scales_the_books_own_time() {
        let sales: Vec<Duration> = replay(Some(60.0))
            .filter(|event| matches!(event.what, What::Write(Write::Purchase { .. })))
            .map(|event| event.at)
            .take(61)
            .collect();
        let minute = sales[1] - sales[0];
        assert_eq!(minute, Duration::from_secs(1));
    }

    #[test]
    fn a_burst_in_the_book_is_cut_at_the_ceiling() {
        let mut replay = replay(Some(1_000_000.0));
        let dropped = replay.dropped();
        let requests =
            replay.by_ref().filter(|event| matches!(event.what, What::Request(_))).count();
        assert_eq!(requests as u64 + dropped.load(Ordering::Relaxed), 240 * u64::from(VIEWS));
        assert!(dropped.load(Ordering::Relaxed) > 0);
    }
}
