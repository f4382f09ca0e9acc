//! A script that writes directly to the database, such as a nightly repricing or a stock import. It
//! uses neither the shop's code nor its hooks.

use std::sync::Arc;

use parking_lot::Mutex;
use rusqlite::{Connection, TransactionBehavior};

use crate::error::ShopError;
use crate::ground_truth::GroundTruth;
use crate::shop::{Shop, connect};

/// A connection of its own to the shop's database. Only the ground truth is notified of its commits,
/// since an auditor needs to know when they happened.
pub struct Script {
    connection: Mutex<Connection>,
    ground_truth: Arc<GroundTruth>,
}

impl Shop {
    /// Opens another connection to the database, as a script does.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn script(&self) -> Result<Script, ShopError> {
        Ok(Script {
            connection: Mutex::new(connect(self.path())?),
            ground_truth: self.ground_truth(),
        })
    }
}

impl Script {
    /// Sets these prices (product id, minor units) in one transaction. Returns the number
    /// of products changed.
    ///
    /// # Errors
    /// The database failed; no price is changed.
    pub fn reprice(&self, prices: &[(u32, i64)]) -> Result<usize, ShopError> {
        self.execute_all("update products set price_cents = ?2 where id = ?1", prices)
    }

    /// Adds these deliveries (product id, pieces) in one transaction. Returns the number
    /// of products changed.
    ///
    /// # Errors
    /// The database failed; no stock is changed.
    pub fn import_stock(&self, deliveries: &[(u32, i64)]) -> Result<usize, ShopError> {
        self.execute_all("update products set stock = stock + ?2 where id = ?1", deliveries)
    }

    fn execute_all(&self, sql: &str, rows: &[(u32, i64)]) -> Result<usize, ShopError> {
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
        self.ground_truth.catch_up()?;
        Ok(changed)
    }
}
