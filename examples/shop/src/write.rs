//! Writes by the shop's own code. Each is one transaction; the hooks run after its commit.

use rusqlite::{OptionalExtension, TransactionBehavior};

use crate::error::ShopError;
use crate::shop::Shop;

/// So many pieces of one product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line {
    /// Product id.
    pub product: u32,
    /// Pieces, at least 1.
    pub quantity: u32,
}

/// What came of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Committed.
    Done,
    /// Refused: this product has fewer pieces left than asked for.
    SoldOut(u32),
    /// Refused: there is no such product, or nothing was asked for.
    Unknown,
}

impl Shop {
    /// Sells all `lines` or none, and never below zero.
    ///
    /// # Errors
    /// When the database refuses; nothing is sold then.
    pub fn order(&self, lines: &[Line]) -> Result<Outcome, ShopError> {
        self.book("order", lines)
    }

    /// Takes `lines` back into stock.
    ///
    /// # Errors
    /// When the database refuses; nothing is taken back then.
    pub fn take_back(&self, lines: &[Line]) -> Result<Outcome, ShopError> {
        self.book("return", lines)
    }

    /// Sets a price, in minor units.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn reprice(&self, product: u32, price_cents: i64) -> Result<Outcome, ShopError> {
        if price_cents < 0 {
            return Ok(Outcome::Unknown);
        }
        self.update(product, "update products set price_cents = ?2 where id = ?1", price_cents)
    }

    /// Puts `quantity` more pieces on the shelf.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn restock(&self, product: u32, quantity: u32) -> Result<Outcome, ShopError> {
        self.update(product, "update products set stock = stock + ?2 where id = ?1", quantity)
    }

    /// Gives a product another name.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn rename(&self, product: u32, name: &str) -> Result<Outcome, ShopError> {
        self.update(product, "update products set name = ?2 where id = ?1", name)
    }

    fn book(&self, kind: &str, lines: &[Line]) -> Result<Outcome, ShopError> {
        if lines.is_empty() || lines.iter().any(|line| line.quantity == 0) {
            return Ok(Outcome::Unknown);
        }
        {
            let mut writer = self.0.writer.lock();
            let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
            transaction.prepare_cached("insert into orders(kind) values (?1)")?.execute([kind])?;
            let order = transaction.last_insert_rowid();
            for line in lines {
                let sign = if kind == "order" { -1 } else { 1 };
                let price: Option<i64> = transaction
                    .prepare_cached(
                        "update products set stock = stock + ?2 where id = ?1 and stock + ?2 >= 0
                         returning price_cents",
                    )?
                    .query_row((line.product, sign * i64::from(line.quantity)), |row| row.get(0))
                    .optional()?;
                let Some(price) = price else {
                    let known = transaction
                        .prepare_cached("select 1 from products where id = ?1")?
                        .exists([line.product])?;
                    return Ok(if known {
                        Outcome::SoldOut(line.product)
                    } else {
                        Outcome::Unknown
                    });
                };
                transaction
                    .prepare_cached(
                        "insert into order_lines(order_id, product_id, quantity, price_cents)
                         values (?1, ?2, ?3, ?4)",
                    )?
                    .execute((order, line.product, line.quantity, price))?;
            }
            transaction.commit()?;
        }
        let products: Vec<u32> = lines.iter().map(|line| line.product).collect();
        self.committed(&products)
    }

    fn update(
        &self,
        product: u32,
        sql: &str,
        value: impl rusqlite::ToSql,
    ) -> Result<Outcome, ShopError> {
        let changed = self.0.writer.lock().prepare_cached(sql)?.execute((product, value))?;
        if changed == 0 { Ok(Outcome::Unknown) } else { self.committed(&[product]) }
    }

    fn committed(&self, products: &[u32]) -> Result<Outcome, ShopError> {
        self.0.truth.settle()?;
        for hook in self.0.hooks.read().iter() {
            hook(products);
        }
        Ok(Outcome::Done)
    }
}
