//! A script that talks straight to the database, as every real shop has some: the nightly
//! repricing, the stock import. It knows neither the shop's code nor its hooks.

use std::sync::Arc;

use parking_lot::Mutex;
use rusqlite::{Connection, TransactionBehavior};

use crate::error::ShopError;
use crate::shop::{Shop, connect};
use crate::truth::Truth;

/// Its own connection to the shop's file. Only the yardstick hears of its commits: an auditor has
/// to know when they happened.
pub struct Script {
    connection: Mutex<Connection>,
    truth: Arc<Truth>,
}

impl Shop {
    /// Opens another connection to the database, as a script would.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn script(&self) -> Result<Script, ShopError> {
        Ok(Script { connection: Mutex::new(connect(self.path())?), truth: self.truth() })
    }
}

impl Script {
    /// Sets these prices (product id, minor units) in one transaction. Returns how many products
    /// there were.
    ///
    /// # Errors
    /// When the database refuses; no price is changed then.
    pub fn reprice(&self, prices: &[(u32, i64)]) -> Result<usize, ShopError> {
        self.each("update products set price_cents = ?2 where id = ?1", prices)
    }

    /// Adds these deliveries (product id, pieces) in one transaction. Returns how many products
    /// there were.
    ///
    /// # Errors
    /// When the database refuses; no stock is changed then.
    pub fn import_stock(&self, deliveries: &[(u32, i64)]) -> Result<usize, ShopError> {
        self.each("update products set stock = stock + ?2 where id = ?1", deliveries)
    }

    fn each(&self, sql: &str, rows: &[(u32, i64)]) -> Result<usize, ShopError> {
        let mut changed = 0;
        {
            let mut connection = self.connection.lock();
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            for row in rows {
                changed += transaction.prepare_cached(sql)?.execute(*row)?;
            }
            transaction.commit()?;
        }
        self.truth.settle()?;
        Ok(changed)
    }
}
