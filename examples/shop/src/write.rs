//! Writes by the shop's own code. Each is one transaction; the hooks run after its commit.

use rusqlite::{OptionalExtension, TransactionBehavior};

use crate::error::ShopError;
use crate::shop::Shop;

/// A quantity of one product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OrderLine {
    /// Product id.
    pub product: u32,
    /// Pieces, at least 1.
    pub quantity: u32,
}

/// The result of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Committed.
    Done,
    /// Refused: this product has fewer pieces in stock than ordered.
    SoldOut(u32),
    /// Refused: the product does not exist, or the quantity or price is invalid.
    Unknown,
}

impl Shop {
    /// Sells all `lines` or none. Stock never falls below zero.
    ///
    /// # Errors
    /// The database failed; nothing is sold.
    pub fn order(&self, lines: &[OrderLine]) -> Result<Outcome, ShopError> {
        self.book_order("order", lines)
    }

    /// Takes `lines` back into stock.
    ///
    /// # Errors
    /// The database failed; nothing is taken back.
    pub fn take_back(&self, lines: &[OrderLine]) -> Result<Outcome, ShopError> {
        self.book_order("return", lines)
    }

    /// Sets a price, in minor units.
    ///
    /// # Errors
    /// The database failed.
    pub fn reprice(&self, product: u32, price_cents: i64) -> Result<Outcome, ShopError> {
        if price_cents < 0 {
            return Ok(Outcome::Unknown);
        }
        self.update(product, "update products set price_cents = ?2 where id = ?1", price_cents)
    }

    /// Adds `quantity` pieces to the stock of a product.
    ///
    /// # Errors
    /// The database failed.
    pub fn restock(&self, product: u32, quantity: u32) -> Result<Outcome, ShopError> {
        self.update(product, "update products set stock = stock + ?2 where id = ?1", quantity)
    }

    /// Changes the name of a product.
    ///
    /// # Errors
    /// The database failed.
    pub fn rename(&self, product: u32, name: &str) -> Result<Outcome, ShopError> {
        self.update(product, "update products set name = ?2 where id = ?1", name)
    }

    fn book_order(&self, kind: &str, lines: &[OrderLine]) -> Result<Outcome, ShopError> {
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
                    let exists = transaction
                        .prepare_cached("select 1 from products where id = ?1")?
                        .exists([line.product])?;
                    return Ok(if exists {
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
        self.0.ground_truth.catch_up()?;
        for hook in self.0.hooks.read().iter() {
            hook(products);
        }
        Ok(Outcome::Done)
    }
}
