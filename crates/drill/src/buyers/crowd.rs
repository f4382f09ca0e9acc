//! A crowd of buyers with all ways.

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::behaviour::{Behaviour, Buyer, Visit};
use super::shop::ShopClient;
use crate::clock::now;

/// The price of each unit.
const PRICE: i64 = 1_999;
/// The goods of a round: the units, and the most for each customer.
const GOODS: [(&str, u64, Option<u64>); 3] =
    [("hot", 20, None), ("limited", 20, Some(2)), ("plenty", 400, None)];

/// A crowd for a round of a drill. The same seed gives the same buyers.
#[derive(Clone, Copy, Debug)]
pub struct Crowd {
    /// The seed.
    pub seed: u64,
    /// The number of buyers.
    pub buyers: usize,
    /// The time in which they arrive.
    pub arrivals: Duration,
    /// The time after which half of them repeat their requests.
    pub comes_back_after: Duration,
    /// The end of their patience.
    pub give_up: Instant,
}

/// How the visits of a crowd ended.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct CrowdResult {
    /// Buyers with an order.
    pub bought: usize,
    /// Buyers without one, by a definite answer or their own wish.
    pub left: usize,
    /// Buyers whose request had no definite answer until the end of their patience.
    pub unanswered: usize,
}

impl Crowd {
    /// Puts the goods in stock.
    ///
    /// # Errors
    /// A node refused it, or did not answer; the text is the answer.
    pub async fn stock_up(&self, shop: &ShopClient) -> Result<(), String> {
        for (name, on_hand, limit) in GOODS {
            let path = format!("/v1/stock/{}", self.sku(name));
            let body = json!({ "on_hand": on_hand, "customer_limit": limit,
                "price": { "amount": PRICE, "currency": "EUR" } });
            let answer = shop.persist(self.give_up, "PUT", &path, None, &body).await;
            if answer.as_ref().is_none_or(|answer| answer.status != 200) {
                return Err(format!("PUT {path}: {answer:?}"));
            }
        }
        Ok(())
    }

    fn sku(&self, name: &str) -> String {
        format!("{name}-{:016x}", self.seed)
    }

    /// Sends the buyers, and waits for the end of their visits.
    pub async fn visit(self, shop: &ShopClient) -> CrowdResult {
        let mut random = StdRng::seed_from_u64(self.seed);
        let mut visits = JoinSet::new();
        for number in 0..self.buyers {
            let way = Behaviour::ALL[random.random_range(0..Behaviour::ALL.len())];
            let arrives_after = self.arrivals.mul_f64(random.random_range(0.0..1.0));
            let (lines, units) = self.basket(&mut random);
            let comes_back = random.random_bool(0.5);
            let buyer = Buyer {
                shop: shop.clone(),
                name: format!("buyer {number} of {:016x}", self.seed),
                lines,
                amount: PRICE * units,
                comes_back_after: comes_back.then_some(self.comes_back_after),
                give_up: self.give_up,
            };
            visits.spawn(async move {
                tokio::time::sleep(arrives_after).await;
                buyer.visit(way).await
            });
        }
        let mut result = CrowdResult::default();
        while let Some(visit) = visits.join_next().await {
            match visit {
                Ok(Visit::Bought) => result.bought += 1,
                Ok(Visit::Left) => result.left += 1,
                // A visit that panicked has shown nothing.
                Ok(Visit::Unanswered) | Err(_) => result.unanswered += 1,
            }
        }
        result
    }

    fn basket(&self, random: &mut StdRng) -> (Value, i64) {
        let line =
            |name: &str, quantity: i64| json!({ "sku": self.sku(name), "quantity": quantity });
        match random.random_range(0..10) {
            0..5 => (json!([line("hot", 1)]), 1),
            5..7 => (json!([line("limited", 1)]), 1),
            // One article in two lines, and a basket.
            7 => (json!([line("hot", 1), line("hot", 1)]), 2),
            8 => (json!([line("hot", 1), line("plenty", 2)]), 3),
            _ => (json!([line("plenty", 1)]), 1),
        }
    }

    /// Returns the end of a patience that begins now.
    #[must_use]
    pub fn until(patience: Duration) -> Instant {
        now() + patience
    }
}
