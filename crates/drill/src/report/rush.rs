//! The report of a rush: shops that sold the same units to the same buyers.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Value, json};

use super::table::{grouped, milliseconds, row};
use crate::buyers::RushResult;

/// The last refusal may come this long after the last unit has gone.
const LAST_REFUSAL_MS_MAX: f64 = 2_000.0;

/// The figures of one shop.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RushFigures {
    /// The key in JSON.
    pub key: String,
    /// The title of the column.
    pub title: String,
    /// Orders in the shop's own books.
    pub sold: u64,
    /// Customers who paid more than once.
    pub charged_twice: u64,
    /// Payments of customers without an order.
    pub paid_without_order: u64,
    /// Customers with a definite answer.
    pub answered: u64,
    /// Customers without one.
    pub unanswered: u64,
    /// The median of the times to the answers.
    pub p50_ms: f64,
    /// Their 99th percentile.
    pub p99_ms: f64,
    /// The time at which the last unit was promised.
    pub last_unit_ms: f64,
    /// The time of the last refusal.
    pub last_refusal_ms: f64,
}

/// The report of a rush. The first shop is the one under test.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RushReport {
    /// The number of buyers.
    pub buyers: u64,
    /// The units in stock.
    pub units: u64,
    /// The connections of the buyers.
    pub connections: u64,
    /// The share of the payment provider's replies that got lost, in percent.
    pub lost_percent: u64,
    /// The shops.
    pub shops: Vec<RushFigures>,
}

impl RushFigures {
    /// Returns the figures of a shop. `books`: the payment provider's ledger. `owner` names the customer of a payment;
    /// `None`: no buyer was told of it.
    pub fn new(
        key: &str,
        title: &str,
        sold: u64,
        result: &RushResult,
        books: &Value,
        owner: impl Fn(&str) -> Option<String>,
    ) -> Self {
        let mut paid = BTreeMap::<String, u64>::new();
        let mut without_order = 0;
        for payment in books["payments"].as_array().into_iter().flatten() {
            let amount = |name: &str| payment[name].as_i64().unwrap_or_default();
            if amount("captured") <= amount("refunded") {
                continue;
            }
            let owner = owner(payment["checkout"].as_str().unwrap_or_default());
            match owner.filter(|customer| result.orders.contains_key(customer)) {
                Some(customer) => *paid.entry(customer).or_default() += 1,
                None => without_order += 1,
            }
        }
        Self {
            key: key.to_owned(),
            title: title.to_owned(),
            sold,
            charged_twice: paid.values().filter(|count| **count > 1).count() as u64,
            paid_without_order: without_order,
            answered: result.answers_ms.len() as u64,
            unanswered: result.unanswered as u64,
            p50_ms: result.quantile_ms(0.5),
            p99_ms: result.quantile_ms(0.99),
            last_unit_ms: result.last_unit_ms,
            last_refusal_ms: result.last_refusal_ms,
        }
    }

    fn refusals_after_ms(&self) -> f64 {
        (self.last_refusal_ms - self.last_unit_ms).max(0.0)
    }
}

impl RushReport {
    /// Returns the problems of the shop under test; empty: it sold each unit once and answered in time.
    pub fn problems(&self) -> Vec<String> {
        let Some(shop) = self.shops.first() else { return vec!["no shop was measured".to_owned()] };
        let mut problems = Vec::new();
        if shop.answered == 0 {
            problems.push("nothing was answered".to_owned());
        }
        if shop.sold != self.units {
            problems.push(format!("{} of {} units were sold", shop.sold, self.units));
        }
        if shop.charged_twice + shop.paid_without_order > 0 {
            problems.push("payments and orders differ".to_owned());
        }
        if shop.unanswered > 0 {
            problems.push(format!("overloaded: {} buyers had no answer", shop.unanswered));
        }
        if shop.refusals_after_ms() > LAST_REFUSAL_MS_MAX {
            let after = milliseconds(shop.refusals_after_ms());
            problems.push(format!("overloaded: the last refusal came {after} after the last unit"));
        }
        problems
    }

    /// Returns whether the shop under test sold each unit once, and answered everybody in time.
    pub fn passed(&self) -> bool {
        self.problems().is_empty()
    }

    /// Returns the report as JSON.
    pub fn json(&self) -> Value {
        let shop = |shop: &RushFigures| {
            let figures = json!({
                "sold": shop.sold, "charged_twice": shop.charged_twice,
                "paid_without_order": shop.paid_without_order, "answered": shop.answered,
                "unanswered": shop.unanswered, "p50_ms": shop.p50_ms, "p99_ms": shop.p99_ms,
                "last_unit_ms": shop.last_unit_ms, "last_refusal_ms": shop.last_refusal_ms,
            });
            (shop.key.clone(), figures)
        };
        json!({
            "passed": self.passed(), "problems": self.problems(), "buyers": self.buyers,
            "units": self.units, "connections": self.connections,
            "shops": self.shops.iter().map(shop).collect::<serde_json::Map<_, _>>(),
        })
    }
}

impl fmt::Display for RushReport {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "{} buyers for {} units at one instant, over {} connections. Every second\n\
             buyer presses twice. The payment provider loses {} % of its replies after it has\n\
             executed the call. Each shop has a database (SQLite) and a provider of its own.\n",
            grouped(self.buyers),
            grouped(self.units),
            self.connections,
            self.lost_percent
        )?;
        let line =
            |out: &mut fmt::Formatter<'_>, label: &str, cell: &dyn Fn(&RushFigures) -> String| {
                row(out, label, self.shops.iter().map(cell))
            };
        line(out, "", &|shop| shop.title.clone())?;
        line(out, "UNITS SOLD", &|shop| grouped(shop.sold))?;
        line(out, "CUSTOMERS CHARGED TWICE", &|shop| grouped(shop.charged_twice))?;
        line(out, "PAID WITHOUT AN ORDER", &|shop| grouped(shop.paid_without_order))?;
        line(out, "buyers with an answer", &|shop| grouped(shop.answered))?;
        line(out, "half of the answers within", &|shop| milliseconds(shop.p50_ms))?;
        line(out, "99 % of the answers within", &|shop| milliseconds(shop.p99_ms))?;
        line(out, "the last unit went after", &|shop| milliseconds(shop.last_unit_ms))?;
        line(out, "the last refusal came after that", &|shop| {
            milliseconds(shop.refusals_after_ms())
        })?;
        let problems = self.problems();
        if problems.is_empty() {
            write!(out, "\nTidegate sold each unit once, and was paid once for each.")
        } else {
            write!(out, "\nNo good verdict: {}.", problems.join("; "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> RushReport {
        let shop = RushFigures { sold: 100, answered: 9, last_unit_ms: 5.0, ..Default::default() };
        RushReport { buyers: 9, units: 100, shops: vec![shop], ..Default::default() }
    }

    #[test]
    fn verdict_names_each_problem() {
        type Change = fn(&mut RushFigures);
        assert!(good().passed(), "{:?}", good().problems());
        assert!(!RushReport::default().passed());
        let changes: [(Change, &str); 6] = [
            (|shop| shop.sold = 101, "101 of 100 units"),
            (|shop| shop.charged_twice = 1, "payments and orders differ"),
            (|shop| shop.paid_without_order = 1, "payments and orders differ"),
            (|shop| shop.answered = 0, "nothing was answered"),
            (|shop| shop.unanswered = 1, "overloaded"),
            (|shop| shop.last_refusal_ms = 2_006.0, "overloaded"),
        ];
        for (change, problem) in changes {
            let mut report = good();
            change(&mut report.shops[0]);
            assert!(report.problems().join(" ").contains(problem), "{:?}", report.problems());
        }
    }

    #[test]
    fn payments_counted_by_customer() {
        let payment = |checkout: &str, captured: i64| json!({ "checkout": checkout, "captured": captured, "refunded": 0 });
        let books = json!({ "payments": [payment("a~1", 5), payment("a~2", 5), payment("b~3", 5),
            payment("c~4", 5), payment("a~5", 0)] });
        let mut result = RushResult::default();
        for customer in ["a", "b"] {
            result.orders.insert(customer.to_owned(), vec!["order".to_owned()]);
        }
        let owner = |checkout: &str| checkout.split('~').next().map(str::to_owned);
        let figures = RushFigures::new("k", "t", 2, &result, &books, owner);
        assert_eq!((figures.charged_twice, figures.paid_without_order), (1, 1));
    }

    #[test]
    fn report_fits_terminal() {
        let mut report = good();
        report.buyers = 10_000;
        report.shops.push(RushFigures { title: "as usual".into(), ..Default::default() });
        let text = report.to_string();
        assert!(text.lines().count() <= 23, "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    }
}
