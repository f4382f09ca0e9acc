//! The ways of buyers.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::shop::{Answer, ShopClient};

/// How often an impatient buyer presses.
const PRESSES: usize = 10;
/// The tabs of a buyer who opens many.
const TABS: usize = 12;
/// The longest hold of a buyer who pays.
const HOLD_SECONDS: u64 = 120;

/// The way of a buyer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Behaviour {
    /// Buys once.
    Plain,
    /// Presses each button ten times.
    PressesTenTimes,
    /// Holds and pays in twelve tabs.
    TwelveTabs,
    /// Lets the hold expire.
    Abandons,
    /// Gives the hold back.
    GivesBack,
    /// Pays with a card that is declined, then with a good one.
    DeclinedFirst,
    /// Buys, and cancels the order.
    CancelsOrder,
    /// Buys, gets a part of the amount back, twice with one key, and asks for more than was paid.
    Refunds,
    /// Asks for other units with the key of the hold, then buys.
    ReusesKey,
}

impl Behaviour {
    /// All ways.
    pub(super) const ALL: [Self; 9] = [
        Self::Plain,
        Self::PressesTenTimes,
        Self::TwelveTabs,
        Self::Abandons,
        Self::GivesBack,
        Self::DeclinedFirst,
        Self::CancelsOrder,
        Self::Refunds,
        Self::ReusesKey,
    ];
}

/// A buyer.
pub(super) struct Buyer {
    pub(super) shop: ShopClient,
    /// Unique: it is the prefix of the keys.
    pub(super) name: String,
    pub(super) lines: Value,
    pub(super) amount: i64,
    /// The time after which the buyer repeats the hold and its payment; `None`: never.
    pub(super) comes_back_after: Option<Duration>,
    pub(super) give_up: Instant,
}

/// How a buyer's visit ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Visit {
    /// There is an order.
    Bought,
    /// There is none, by a definite answer or the buyer's wish.
    Left,
    /// A request had no definite answer.
    Unanswered,
}

impl Buyer {
    pub(super) async fn visit(&self, way: Behaviour) -> Visit {
        // No answer until the end of the buyer's patience.
        self.buy(way).await.unwrap_or(Visit::Unanswered)
    }

    async fn buy(&self, way: Behaviour) -> Option<Visit> {
        let held = match way {
            Behaviour::TwelveTabs => self.hold_in_tabs().await?,
            Behaviour::PressesTenTimes => self.press_hold().await?,
            Behaviour::Abandons => self.hold("hold", 1).await?,
            _ => self.hold("hold", HOLD_SECONDS).await?,
        };
        if held.status != 201 || way == Behaviour::Abandons {
            return Some(Visit::Left);
        }
        let hold = held.text("hold");
        if way == Behaviour::ReusesKey {
            let lines = json!([{ "sku": self.lines[0]["sku"], "quantity": 7 }]);
            self.hold_lines("hold", &lines, HOLD_SECONDS).await?;
        }
        let paid = match way {
            Behaviour::GivesBack => None,
            _ => Some(self.pay_in_way(way, hold).await?).filter(|paid| paid.status == 201),
        };
        let Some(paid) = paid else {
            self.give_back(hold).await?;
            return Some(Visit::Left);
        };
        self.after_order(way, paid.text("order")).await?;
        if let Some(pause) = self.comes_back_after {
            tokio::time::sleep(pause).await;
            let is_in_tabs = way == Behaviour::TwelveTabs;
            let pay = if is_in_tabs { "pay in tab 0" } else { "pay" };
            if !is_in_tabs {
                self.hold("hold", HOLD_SECONDS).await?;
            }
            self.pay(hold, pay, "pm_card").await?;
        }
        Some(Visit::Bought)
    }

    async fn pay_in_way(&self, way: Behaviour, hold: &str) -> Option<Answer> {
        match way {
            Behaviour::TwelveTabs => self.press_pay(hold, TABS, true).await,
            Behaviour::PressesTenTimes => self.press_pay(hold, PRESSES, false).await,
            Behaviour::DeclinedFirst => {
                self.pay(hold, "declined", "pm_declined").await?;
                self.pay(hold, "pay", "pm_card").await
            }
            _ => self.pay(hold, "pay", "pm_card").await,
        }
    }

    async fn after_order(&self, way: Behaviour, order: &str) -> Option<()> {
        match way {
            Behaviour::CancelsOrder => self.change(order, "cancel", "cancel", &json!({})).await,
            Behaviour::Refunds => {
                for (key, amount) in [("refund", 1), ("refund", 1), ("refund all", self.amount)] {
                    self.change(order, "refund", key, &json!({ "amount": amount })).await?;
                }
                Some(())
            }
            _ => Some(()),
        }
    }

    async fn post(&self, path: &str, key: &str, body: &Value) -> Option<Answer> {
        let key = format!("{} {key}", self.name);
        self.shop.persist(self.give_up, "POST", path, Some(&key), body).await
    }

    async fn hold(&self, key: &str, ttl_seconds: u64) -> Option<Answer> {
        self.hold_lines(key, &self.lines, ttl_seconds).await
    }

    async fn hold_lines(&self, key: &str, lines: &Value, ttl_seconds: u64) -> Option<Answer> {
        let body = json!({ "customer": self.name, "lines": lines, "ttl_seconds": ttl_seconds });
        self.post("/v1/holds", key, &body).await
    }

    async fn press_hold(&self) -> Option<Answer> {
        let presses = (0..PRESSES).map(|_| self.hold("hold", HOLD_SECONDS));
        first_success(join_all(presses).await)
    }

    /// Keeps the first hold that a tab has got, and gives the others back.
    async fn hold_in_tabs(&self) -> Option<Answer> {
        let keys: Vec<String> = (0..TABS).map(|tab| format!("hold in tab {tab}")).collect();
        let answers = join_all(keys.iter().map(|key| self.hold(key, HOLD_SECONDS))).await;
        let kept = first_success(answers.clone())?;
        for other in answers.into_iter().flatten() {
            if other.status == 201 && other.text("hold") != kept.text("hold") {
                self.give_back(other.text("hold")).await?;
            }
        }
        Some(kept)
    }

    async fn pay(&self, hold: &str, key: &str, method: &str) -> Option<Answer> {
        let payment = json!({ "method": method, "amount": self.amount, "currency": "EUR" });
        self.post("/v1/checkouts", key, &json!({ "hold": hold, "payment": payment })).await
    }

    /// Pays many times at once, with one key or a key for each tab.
    async fn press_pay(&self, hold: &str, times: usize, in_tabs: bool) -> Option<Answer> {
        let key = |n: usize| if in_tabs { format!("pay in tab {n}") } else { "pay".to_owned() };
        let keys: Vec<String> = (0..times).map(key).collect();
        first_success(join_all(keys.iter().map(|key| self.pay(hold, key, "pm_card"))).await)
    }

    async fn give_back(&self, hold: &str) -> Option<Answer> {
        let path = format!("/v1/holds/{hold}");
        self.shop.persist(self.give_up, "DELETE", &path, None, &Value::Null).await
    }

    /// Changes an order.
    async fn change(&self, order: &str, operation: &str, key: &str, body: &Value) -> Option<()> {
        let path = format!("/v1/orders/{order}/{operation}");
        self.post(&path, key, body).await.map(drop)
    }
}

/// Returns the first success, or else a refusal; `None`: there is a request without an answer and no success.
fn first_success(answers: Vec<Option<Answer>>) -> Option<Answer> {
    let success = answers.iter().flatten().find(|answer| answer.status == 201).cloned();
    success.or_else(|| answers.into_iter().collect::<Option<Vec<_>>>()?.into_iter().next())
}
