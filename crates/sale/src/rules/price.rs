//! Prices. The amount of a checkout is computed from them, never taken from the client.

use std::fmt;
use std::str::FromStr;

use super::shelf::Demand;

/// A currency: three letters of ISO 4217.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Currency([u8; 3]);

impl FromStr for Currency {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let letters: [u8; 3] = text.as_bytes().try_into().map_err(|_| ())?;
        letters.iter().all(u8::is_ascii_uppercase).then_some(Self(letters)).ok_or(())
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|letter| write!(f, "{}", char::from(*letter)))
    }
}

/// An amount in minor units of a currency.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Price {
    /// The amount, at least 1.
    pub amount: i64,
    /// The currency.
    pub currency: Currency,
}

impl fmt::Display for Price {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.amount, self.currency)
    }
}

/// A line of a hold with the price of a unit that was in force when the hold was granted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PricedLine {
    /// The line.
    pub demand: Demand,
    /// The price of a unit; `None`: the SKU had none.
    pub price: Option<Price>,
}

/// Why a hold has no amount.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum QuoteRefusal {
    /// This SKU had no price.
    Unpriced(String),
    /// The lines have prices in these currencies.
    Currencies(Currency, Currency),
    /// The sum is out of range.
    TooLarge,
}

/// Returns the amount of all lines.
///
/// # Errors
/// [`QuoteRefusal`].
pub fn quote(lines: &[PricedLine]) -> Result<Price, QuoteRefusal> {
    let mut sum: Option<Price> = None;
    for PricedLine { demand, price } in lines {
        let price = price.ok_or_else(|| QuoteRefusal::Unpriced(demand.cell.sku.clone()))?;
        let so_far = sum.unwrap_or(Price { amount: 0, ..price });
        if so_far.currency != price.currency {
            return Err(QuoteRefusal::Currencies(so_far.currency, price.currency));
        }
        let line = price.amount.checked_mul(demand.quantity);
        let amount = line.and_then(|line| so_far.amount.checked_add(line));
        sum = Some(Price { amount: amount.ok_or(QuoteRefusal::TooLarge)?, ..price });
    }
    sum.ok_or_else(|| QuoteRefusal::Unpriced(String::new()))
}

#[cfg(test)]
mod tests {
    use super::super::shelf::Cell;
    use super::*;

    fn line(sku: &str, quantity: i64, price: Option<(i64, &str)>) -> PricedLine {
        let cell = Cell { sku: sku.to_owned(), location: "main".to_owned() };
        let price = price.map(|(amount, currency)| Price {
            amount,
            currency: currency.parse().expect("a currency"),
        });
        PricedLine { demand: Demand { cell, quantity }, price }
    }

    #[test]
    fn amount_is_the_sum_of_the_lines() {
        let lines = [line("A", 2, Some((1_999, "EUR"))), line("B", 1, Some((1, "EUR")))];
        assert_eq!(quote(&lines).expect("priced").to_string(), "3999 EUR");
    }

    #[test]
    fn amount_is_never_guessed() {
        let eur = line("A", 1, Some((5, "EUR")));
        let refused = |line| quote(&[eur.clone(), line]).expect_err("refused");
        assert_eq!(refused(line("B", 1, None)), QuoteRefusal::Unpriced("B".to_owned()));
        let usd = refused(line("B", 1, Some((5, "USD"))));
        assert!(matches!(usd, QuoteRefusal::Currencies(..)));
        assert_eq!(refused(line("B", 2, Some((i64::MAX, "EUR")))), QuoteRefusal::TooLarge);
        assert!(quote(&[]).is_err());
        for text in ["eur", "EURO", "", "€"] {
            assert!(text.parse::<Currency>().is_err(), "{text}");
        }
    }
}
