//! Many buyers at one instant.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::shop::{Answer, ShopClient};
use crate::clock::now;

/// Every second buyer presses twice, at this distance.
const SECOND_PRESS: Duration = Duration::from_millis(30);

/// The requests of a purchase.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Buying {
    /// A hold, and a checkout of it.
    HoldAndCheckout,
    /// One request, `POST /buy`.
    OneRequest,
}

/// Buyers of one unit each, at one instant.
#[derive(Clone, Debug)]
pub struct Rush {
    /// The number of buyers.
    pub buyers: usize,
    /// The SKU.
    pub sku: String,
    /// The price.
    pub amount: i64,
    /// The requests of a purchase.
    pub buying: Buying,
    /// The longest patience of a buyer.
    pub patience: Duration,
}

/// How the buyers were answered.
#[derive(Clone, Debug, Default)]
pub struct RushResult {
    /// The orders of each buyer who has one, by the buyer's name.
    pub orders: BTreeMap<String, Vec<String>>,
    /// Buyers who were refused.
    pub refused: usize,
    /// Buyers without a definite answer.
    pub unanswered: usize,
    /// The times to the definite answers, in ms, ascending.
    pub answers_ms: Vec<f64>,
    /// The time at which the last unit was promised: held, or ordered where there are no holds.
    pub last_unit_ms: f64,
    /// The time of the last refusal.
    pub last_refusal_ms: f64,
}

enum Ended {
    Bought(String),
    Refused,
    Unanswered,
}

impl Rush {
    /// Sends all buyers at once, and waits for their answers.
    pub async fn run(&self, shop: &ShopClient) -> RushResult {
        let (start, started) = watch::channel(None::<Instant>);
        let last_unit = Arc::new(AtomicU64::new(0));
        let mut visits = JoinSet::new();
        for number in 0..self.buyers {
            let (rush, shop, mut started) = (self.clone(), shop.clone(), started.clone());
            let last_unit = Arc::clone(&last_unit);
            visits.spawn(async move {
                let name = format!("buyer-{number}");
                let began = match started.wait_for(Option::is_some).await {
                    Ok(began) => began.unwrap_or_else(now),
                    Err(_) => now(),
                };
                let visit = Visit { rush, shop, name: &name, began, last_unit };
                let ended = visit.presses(number).await;
                (name, ended, began.elapsed().as_secs_f64() * 1e3)
            });
        }
        start.send_replace(Some(now()));
        let mut result = RushResult::default();
        while let Some(visit) = visits.join_next().await {
            match visit {
                Ok((name, ended, at_ms)) => result.add(name, ended, at_ms),
                Err(_) => result.unanswered += 1,
            }
        }
        result.answers_ms.sort_by(f64::total_cmp);
        result.last_unit_ms = last_unit.load(Ordering::Relaxed) as f64 / 1e3;
        result
    }
}

/// The visit of one buyer.
struct Visit<'n> {
    rush: Rush,
    shop: ShopClient,
    name: &'n str,
    began: Instant,
    /// The time of the last promise to any buyer, in µs.
    last_unit: Arc<AtomicU64>,
}

impl Visit<'_> {
    /// Returns the ends of all presses.
    async fn presses(&self, number: usize) -> Vec<Ended> {
        let first = self.buy();
        if number.is_multiple_of(2) {
            return vec![first.await];
        }
        let second = async {
            tokio::time::sleep(SECOND_PRESS).await;
            self.buy().await
        };
        let (first, second) = tokio::join!(first, second);
        vec![first, second]
    }

    async fn buy(&self) -> Ended {
        let Self { rush, name, .. } = self;
        let bought = match rush.buying {
            Buying::HoldAndCheckout => self.hold_and_pay().await,
            Buying::OneRequest => {
                let body = json!({ "customer": name, "sku": rush.sku });
                let bought = self.post("/buy", "buy", &body).await;
                self.note_promise(bought.as_ref());
                bought
            }
        };
        match bought {
            Some(answer) if answer.status == 201 => Ended::Bought(answer.text("order").to_owned()),
            Some(_) => Ended::Refused,
            None => Ended::Unanswered,
        }
    }

    async fn hold_and_pay(&self) -> Option<Answer> {
        let Self { rush, name, .. } = self;
        let lines = json!([{ "sku": rush.sku, "quantity": 1 }]);
        let body = json!({ "customer": name, "lines": lines });
        let held = self.post("/v1/holds", "hold", &body).await?;
        if held.status != 201 {
            return Some(held);
        }
        self.note_promise(Some(&held));
        let payment = json!({ "method": "pm_card", "amount": rush.amount, "currency": "EUR" });
        let body = json!({ "hold": held.text("hold"), "payment": payment });
        self.post("/v1/checkouts", "pay", &body).await
    }

    async fn post(&self, path: &str, step: &str, body: &Value) -> Option<Answer> {
        let (give_up, key) = (self.began + self.rush.patience, format!("{} {step}", self.name));
        self.shop.persist(give_up, "POST", path, Some(&key), body).await
    }

    fn note_promise(&self, answer: Option<&Answer>) {
        if answer.is_some_and(|answer| answer.status == 201) {
            let elapsed_us = self.began.elapsed().as_micros();
            let elapsed_us = u64::try_from(elapsed_us).unwrap_or(u64::MAX);
            self.last_unit.fetch_max(elapsed_us, Ordering::Relaxed);
        }
    }
}

impl RushResult {
    fn add(&mut self, name: String, presses: Vec<Ended>, at_ms: f64) {
        let mut orders = Vec::new();
        let mut is_unanswered = false;
        for press in presses {
            match press {
                Ended::Bought(order) if !orders.contains(&order) => orders.push(order),
                Ended::Bought(_) | Ended::Refused => {}
                Ended::Unanswered => is_unanswered = true,
            }
        }
        if is_unanswered {
            self.unanswered += 1;
        } else {
            self.answers_ms.push(at_ms);
        }
        if !orders.is_empty() {
            self.orders.insert(name, orders);
        } else if !is_unanswered {
            self.refused += 1;
            self.last_refusal_ms = self.last_refusal_ms.max(at_ms);
        }
    }

    /// Returns the number of orders.
    #[must_use]
    pub fn sold(&self) -> usize {
        self.orders.values().map(Vec::len).sum()
    }

    /// Returns a quantile of the times to the answers, in ms; 0 without one.
    #[must_use]
    pub fn quantile_ms(&self, share: f64) -> f64 {
        let last = self.answers_ms.len().saturating_sub(1);
        let at = (last as f64 * share.clamp(0.0, 1.0)).round() as usize;
        self.answers_ms.get(at).copied().unwrap_or_default()
    }
}
