//! What was true when: the yardstick for every answer that anyone gives about this shop.
//!
//! The values are those of `product_history`, which triggers write inside each transaction, so no
//! writer can slip past it. The times are taken around the commits by this process's monotonic
//! clock. A value counts as replaced only once the new one was certainly visible, so staleness
//! measured from here is never overstated; it is understated by less than the time between a
//! commit and the next look at the history (at once after the shop's own writes and its scripts',
//! at the next [`Truth::settle`] after anybody else's).

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::time::Instant;

use parking_lot::{Mutex, RwLock};
use rusqlite::Connection;

use crate::clock::now;
use crate::error::ShopError;

/// One value and when it held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version<T> {
    /// What a shopper would have read.
    pub value: T,
    /// Certainly not visible before this.
    pub from: Instant,
    /// Certainly replaced by now; `None` while it is the latest.
    pub until: Option<Instant>,
}

/// The history of every product since the shop opened.
pub struct Truth {
    log: Mutex<Log>,
    products: RwLock<HashMap<u32, History>>,
}

struct Log {
    connection: Connection,
    seen: i64,
    looked: Instant,
}

struct History {
    price: Vec<Version<i64>>,
    stock: Vec<Version<i64>>,
    name: Vec<Version<String>>,
}

impl Truth {
    pub(crate) fn open(connection: Connection) -> Result<Self, ShopError> {
        let looked = now();
        let first = |value| vec![Version { value, from: looked, until: None }];
        let (seen, products) = {
            let snapshot = connection.unchecked_transaction()?;
            let seen = snapshot.query_row(
                "select coalesce(max(seq), 0) from product_history",
                [],
                |row| row.get(0),
            )?;
            let products = snapshot
                .prepare("select id, price_cents, stock, name from products")?
                .query_map([], |row| {
                    let name = vec![Version { value: row.get(3)?, from: looked, until: None }];
                    let history =
                        History { price: first(row.get(1)?), stock: first(row.get(2)?), name };
                    Ok((row.get(0)?, history))
                })?
                .collect::<Result<_, _>>()?;
            (seen, products)
        };
        Ok(Self {
            log: Mutex::new(Log { connection, seen, looked }),
            products: RwLock::new(products),
        })
    }

    /// Takes in everything that was committed before this call.
    ///
    /// # Errors
    /// When the history cannot be read; what was taken in before stays.
    pub fn settle(&self) -> Result<(), ShopError> {
        let mut log = self.log.lock();
        let began = now();
        let rows: Vec<(i64, u32, Change)> = log
            .connection
            .prepare_cached(
                "select seq, product_id, field, value from product_history where seq > ?1 order by seq",
            )?
            .query_map([log.seen], |row| {
                let field: String = row.get(2)?;
                let change = match field.as_str() {
                    "price" => Change::Price(row.get(3)?),
                    "stock" => Change::Stock(row.get(3)?),
                    _ => Change::Name(row.get(3)?),
                };
                Ok((row.get(0)?, row.get(1)?, change))
            })?
            .collect::<Result<_, _>>()?;
        // After the query, so that no row it returned was committed later than this.
        let replaced = now();
        let visible_from = log.looked;
        if !rows.is_empty() {
            let mut products = self.products.write();
            for (seq, product, change) in rows {
                log.seen = seq;
                let Some(history) = products.get_mut(&product) else { continue };
                match change {
                    Change::Price(value) => {
                        succeed(&mut history.price, value, visible_from, replaced)
                    }
                    Change::Stock(value) => {
                        succeed(&mut history.stock, value, visible_from, replaced)
                    }
                    Change::Name(value) => {
                        succeed(&mut history.name, value, visible_from, replaced)
                    }
                }
            }
        }
        log.looked = began;
        Ok(())
    }

    /// Shows `visit` the prices that `product` has had, in minor units, newest first.
    pub fn prices(&self, product: u32, visit: &mut dyn FnMut(&Version<i64>) -> ControlFlow<()>) {
        if let Some(history) = self.products.read().get(&product) {
            let _ = history.price.iter().rev().try_for_each(visit);
        }
    }

    /// Shows `visit` the stock levels that `product` has had, newest first.
    pub fn stocks(&self, product: u32, visit: &mut dyn FnMut(&Version<i64>) -> ControlFlow<()>) {
        if let Some(history) = self.products.read().get(&product) {
            let _ = history.stock.iter().rev().try_for_each(visit);
        }
    }

    /// Shows `visit` the names that `product` has had, newest first.
    pub fn names(&self, product: u32, visit: &mut dyn FnMut(&Version<String>) -> ControlFlow<()>) {
        if let Some(history) = self.products.read().get(&product) {
            let _ = history.name.iter().rev().try_for_each(visit);
        }
    }
}

enum Change {
    Price(i64),
    Stock(i64),
    Name(String),
}

fn succeed<T>(versions: &mut Vec<Version<T>>, value: T, from: Instant, replaced: Instant) {
    if let Some(last) = versions.last_mut() {
        last.until = Some(replaced);
    }
    versions.push(Version { value, from, until: None });
}
