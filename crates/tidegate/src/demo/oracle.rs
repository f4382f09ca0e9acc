//! The shop's own history as the drill's oracle, and the shop's writers as the drill's.

use std::ops::ControlFlow;
use std::sync::Arc;

use anyhow::Result;
use drill::plan::Write;
use drill::{Field, Oracle, Value, Version, Writer};
use shop::{GroundTruth, OrderLine, Outcome, Script, Shop};

/// The history of the shop's database.
pub(super) struct ShopOracle(pub(super) Arc<GroundTruth>);

impl Oracle for ShopOracle {
    fn catch_up(&self) -> Result<()> {
        Ok(self.0.catch_up()?)
    }

    fn versions(
        &self,
        product: u32,
        field: Field,
        visit: &mut dyn FnMut(Version<'_>) -> ControlFlow<()>,
    ) {
        let mut number = |version: &shop::Version<i64>| {
            let value = Value::Number(version.value);
            visit(Version { value, from: version.from, until: version.until })
        };
        match field {
            Field::Price => self.0.prices(product, &mut number),
            Field::Stock => self.0.stocks(product, &mut number),
            Field::Name => self.0.names(product, &mut |version| {
                let value = Value::Text(&version.value);
                visit(Version { value, from: version.from, until: version.until })
            }),
        }
    }
}

/// Writes by the shop's own code, and by scripts that bypass it and send no notification.
pub(super) struct ShopWriter {
    pub(super) shop: Shop,
    pub(super) script: Script,
}

impl Writer for ShopWriter {
    fn write(&self, write: &Write) -> Result<bool> {
        let outcome = match write {
            Write::Purchase { product, quantity } => {
                self.shop.order(&[OrderLine { product: *product, quantity: *quantity }])?
            }
            Write::Return { product, quantity } => {
                self.shop.take_back(&[OrderLine { product: *product, quantity: *quantity }])?
            }
            Write::Reprice { product, price_cents } => self.shop.reprice(*product, *price_cents)?,
            Write::Rename { product, name } => self.shop.rename(*product, name)?,
            Write::ScriptReprice(prices) => return Ok(self.script.reprice(prices)? > 0),
            Write::ScriptDelivery(goods) => return Ok(self.script.import_stock(goods)? > 0),
        };
        Ok(outcome == Outcome::Done)
    }
}
