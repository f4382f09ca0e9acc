//! Granting holds.

use std::collections::BTreeMap;

use super::rule::{Rule, on};
use super::stock::{Policy, Stock};

/// A SKU at a location.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Cell {
    /// The SKU.
    pub sku: String,
    /// The location.
    pub location: String,
}

/// A number of units of a cell.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Demand {
    /// The cell.
    pub cell: Cell,
    /// At least 1.
    pub quantity: i64,
}

/// A line that can't be granted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Shortage {
    /// The demand.
    pub demand: Demand,
    /// The units that could be granted.
    pub available: i64,
}

/// Why a hold was not granted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum GrantRefusal {
    /// There is no stock record of this cell.
    UnknownCell(Cell),
    /// These lines do not fit.
    SoldOut(Vec<Shortage>),
    /// These lines exceed the limit of the customer.
    CustomerLimit(Vec<Shortage>),
}

/// The stock that a batch of requests is decided by, as it is under the locks of its SKUs.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Shelf {
    /// The counters of each cell, with its SKU's policy.
    pub cells: BTreeMap<Cell, (Stock, Policy)>,
    /// The limit for each customer, of SKUs that have one.
    pub limits: BTreeMap<String, i64>,
    /// The units that a customer holds or has bought, by SKU with a limit and by customer.
    pub taken: BTreeMap<(String, String), i64>,
}

impl Shelf {
    /// Grants all lines or none, and counts the granted ones. `lines`: each cell once, in ascending order.
    ///
    /// # Errors
    /// [`GrantRefusal`]; nothing is counted.
    pub fn grant(&mut self, customer: &str, lines: &[Demand]) -> Result<(), GrantRefusal> {
        let unknown = lines.iter().find(|line| !self.cells.contains_key(&line.cell));
        if let Some(Demand { cell, .. }) = unknown {
            return Err(GrantRefusal::UnknownCell(cell.clone()));
        }
        let sold_out = self.shortages(lines);
        if !sold_out.is_empty() && on(Rule::EveryLineFits) {
            return Err(GrantRefusal::SoldOut(sold_out));
        }
        let over_limit = self.over_limit(customer, lines);
        if !over_limit.is_empty() && on(Rule::WithinCustomerLimit) {
            return Err(GrantRefusal::CustomerLimit(over_limit));
        }
        for Demand { cell, quantity } in lines {
            if let Some((stock, _)) = self.cells.get_mut(cell) {
                stock.held += quantity;
            }
            if self.limits.contains_key(&cell.sku) {
                let taken = self.taken.entry((cell.sku.clone(), customer.to_owned())).or_default();
                *taken += quantity;
            }
        }
        Ok(())
    }

    fn shortages(&self, lines: &[Demand]) -> Vec<Shortage> {
        let short = lines.iter().filter_map(|demand| {
            let (stock, policy) = self.cells.get(&demand.cell)?;
            let available = stock.free(*policy);
            (available < demand.quantity).then(|| Shortage { demand: demand.clone(), available })
        });
        short.collect()
    }

    fn over_limit(&self, customer: &str, lines: &[Demand]) -> Vec<Shortage> {
        let mut wanted = BTreeMap::<&str, i64>::new();
        for line in lines {
            *wanted.entry(&line.cell.sku).or_default() += line.quantity;
        }
        let over = lines.iter().filter_map(|demand| {
            let sku = &demand.cell.sku;
            let limit = self.limits.get(sku)?;
            let taken = self.taken.get(&(sku.clone(), customer.to_owned())).copied();
            let available = limit - taken.unwrap_or_default();
            (available < wanted[sku.as_str()])
                .then(|| Shortage { demand: demand.clone(), available: available.max(0) })
        });
        over.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn demand(sku: &str, location: &str, quantity: i64) -> Demand {
        Demand { cell: Cell { sku: sku.into(), location: location.into() }, quantity }
    }

    fn shelf(cells: &[(&str, &str, i64)]) -> Shelf {
        let cells = cells.iter().map(|(sku, location, on_hand)| {
            let stock = Stock { on_hand: *on_hand, ..Stock::default() };
            (demand(sku, location, 1).cell, (stock, Policy::Strict))
        });
        Shelf { cells: cells.collect(), ..Shelf::default() }
    }

    #[test]
    fn basket_is_all_or_nothing() {
        let mut shelf = shelf(&[("A", "main", 2), ("B", "main", 1)]);
        let before = shelf.clone();
        let refused = shelf.grant("c", &[demand("A", "main", 1), demand("B", "main", 2)]);
        let shortage = Shortage { demand: demand("B", "main", 2), available: 1 };
        assert_eq!(refused, Err(GrantRefusal::SoldOut(vec![shortage])));
        assert_eq!(shelf, before);
        assert_eq!(shelf.grant("c", &[demand("A", "main", 2), demand("B", "main", 1)]), Ok(()));
    }

    #[test]
    fn limit_counts_all_locations() {
        let mut shelf = shelf(&[("A", "east", 9), ("A", "west", 9)]);
        shelf.limits.insert("A".into(), 3);
        assert_eq!(shelf.grant("c", &[demand("A", "east", 2)]), Ok(()));
        let refused = shelf.grant("c", &[demand("A", "east", 1), demand("A", "west", 1)]);
        assert!(matches!(refused, Err(GrantRefusal::CustomerLimit(lines)) if lines.len() == 2));
        assert_eq!(shelf.grant("c", &[demand("A", "west", 1)]), Ok(()));
        assert!(shelf.grant("c", &[demand("A", "west", 1)]).is_err());
        assert_eq!(shelf.grant("d", &[demand("A", "west", 3)]), Ok(()));
    }

    #[test]
    fn unknown_cell_named() {
        let refused = shelf(&[]).grant("c", &[demand("A", "main", 1)]);
        assert_eq!(refused, Err(GrantRefusal::UnknownCell(demand("A", "main", 1).cell)));
    }
}
