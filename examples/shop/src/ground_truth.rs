//! The ground truth for audits: each committed value and the time in which it was current.
//!
//! The values come from `product_history`, which triggers write inside each transaction, so it
//! includes every writer. The times are taken around the commits from this process's monotonic
//! clock. A value counts as replaced only once the new one was certainly visible. Measured
//! staleness is therefore never overstated; it is understated by less than the time between a
//! commit and the next read of the history, which follows immediately after writes of the shop and
//! of its scripts, and with the next [`GroundTruth::catch_up`] after writes of other programs.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::time::Instant;

use parking_lot::{Mutex, RwLock};
use rusqlite::Connection;

use crate::clock::now;
use crate::error::ShopError;

/// One value and the time in which it was current.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version<T> {
    /// The committed value.
    pub value: T,
    /// A time before which the value was certainly not visible.
    pub from: Instant,
    /// A time by which the value was certainly replaced; `None` for the latest.
    pub until: Option<Instant>,
}

/// The history of every product since the shop opened.
pub struct GroundTruth {
    reader: Mutex<HistoryReader>,
    products: RwLock<HashMap<u32, History>>,
}

struct HistoryReader {
    connection: Connection,
    /// Sequence number of the last row read.
    last_seq: i64,
    /// Start of the last read.
    read_at: Instant,
}

struct History {
    price: Vec<Version<i64>>,
    stock: Vec<Version<i64>>,
    name: Vec<Version<String>>,
}

impl GroundTruth {
    pub(crate) fn open(connection: Connection) -> Result<Self, ShopError> {
        let read_at = now();
        let first = |value| vec![Version { value, from: read_at, until: None }];
        let (last_seq, products) = {
            let snapshot = connection.unchecked_transaction()?;
            let last_seq = snapshot.query_row(
                "select coalesce(max(seq), 0) from product_history",
                [],
                |row| row.get(0),
            )?;
            let products = snapshot
                .prepare("select id, price_cents, stock, name from products")?
                .query_map([], |row| {
                    let name = vec![Version { value: row.get(3)?, from: read_at, until: None }];
                    let history =
                        History { price: first(row.get(1)?), stock: first(row.get(2)?), name };
                    Ok((row.get(0)?, history))
                })?
                .collect::<Result<_, _>>()?;
            (last_seq, products)
        };
        Ok(Self {
            reader: Mutex::new(HistoryReader { connection, last_seq, read_at }),
            products: RwLock::new(products),
        })
    }

    /// Reads every write that was committed before this call.
    ///
    /// # Errors
    /// The history cannot be read; versions read before are kept.
    pub fn catch_up(&self) -> Result<(), ShopError> {
        let mut reader = self.reader.lock();
        let began = now();
        let rows: Vec<(i64, u32, Change)> = reader
            .connection
            .prepare_cached(
                "select seq, product_id, field, value from product_history where seq > ?1 order by seq",
            )?
            .query_map([reader.last_seq], |row| {
                let field: String = row.get(2)?;
                let change = match field.as_str() {
                    "price" => Change::Price(row.get(3)?),
                    "stock" => Change::Stock(row.get(3)?),
                    _ => Change::Name(row.get(3)?),
                };
                Ok((row.get(0)?, row.get(1)?, change))
            })?
            .collect::<Result<_, _>>()?;
        // Taken after the query, so that every returned row was committed before.
        let replaced = now();
        let visible_from = reader.read_at;
        if !rows.is_empty() {
            let mut products = self.products.write();
            for (seq, product, change) in rows {
                reader.last_seq = seq;
                let Some(history) = products.get_mut(&product) else { continue };
                match change {
                    Change::Price(value) => {
                        push_version(&mut history.price, value, visible_from, replaced)
                    }
                    Change::Stock(value) => {
                        push_version(&mut history.stock, value, visible_from, replaced)
                    }
                    Change::Name(value) => {
                        push_version(&mut history.name, value, visible_from, replaced)
                    }
                }
            }
        }
        reader.read_at = began;
        Ok(())
    }

    /// Calls `visit` with the prices of `product`, in minor units, newest first.
    pub fn prices(&self, product: u32, visit: &mut dyn FnMut(&Version<i64>) -> ControlFlow<()>) {
        if let Some(history) = self.products.read().get(&product) {
            let _ = history.price.iter().rev().try_for_each(visit);
        }
    }

    /// Calls `visit` with the stock levels of `product`, newest first.
    pub fn stocks(&self, product: u32, visit: &mut dyn FnMut(&Version<i64>) -> ControlFlow<()>) {
        if let Some(history) = self.products.read().get(&product) {
            let _ = history.stock.iter().rev().try_for_each(visit);
        }
    }

    /// Calls `visit` with the names of `product`, newest first.
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

/// Ends the latest version at `replaced` and adds the next.
fn push_version<T>(versions: &mut Vec<Version<T>>, value: T, from: Instant, replaced: Instant) {
    if let Some(last) = versions.last_mut() {
        last.until = Some(replaced);
    }
    versions.push(Version { value, from, until: None });
}
