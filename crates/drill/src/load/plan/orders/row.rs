//! Parsing of the rows of an order book.

use std::collections::BTreeMap;

use csv::ByteRecord;

use super::error::OrdersError;

/// Rows that are not sales or returns of articles, counted by reason.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SkippedRows {
    /// Number of rows by reason.
    pub reasons: BTreeMap<&'static str, u64>,
    /// Line number and reason of the first few rows.
    pub first: Vec<(u64, &'static str)>,
}

const FIRST: usize = 5;

impl SkippedRows {
    /// Returns the number of skipped rows.
    pub fn total(&self) -> u64 {
        self.reasons.values().sum()
    }

    pub(super) fn add(&mut self, line: u64, reason: &'static str) {
        *self.reasons.entry(reason).or_default() += 1;
        if self.first.len() < FIRST {
            self.first.push((line, reason));
        }
    }

    pub(super) fn notes(&self) -> Vec<String> {
        if self.reasons.is_empty() {
            return Vec::new();
        }
        let reasons: Vec<String> =
            self.reasons.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
        let first: Vec<String> =
            self.first.iter().map(|(line, reason)| format!("line {line}: {reason}")).collect();
        vec![format!(
            "Rows skipped: {} ({}). The first: {}.",
            self.total(),
            reasons.join(", "),
            first.join("; ")
        )]
    }
}

/// Indexes of the columns.
pub(super) struct Columns {
    invoice: usize,
    sku: usize,
    name: usize,
    quantity: usize,
    date: usize,
    price: usize,
}

/// A sale or return of an article.
pub(super) struct Row {
    pub(super) sku: String,
    pub(super) name: String,
    pub(super) quantity: u32,
    pub(super) returned: bool,
    pub(super) at: i64,
    pub(super) month: i64,
    pub(super) price_cents: i64,
}

impl Columns {
    pub(super) fn of(header: &ByteRecord) -> Result<Self, OrdersError> {
        let column = |name: &'static str| {
            // Spreadsheets often begin a file with a byte order mark.
            let bare = |field: &[u8]| {
                let field = field.strip_prefix(b"\xef\xbb\xbf").unwrap_or(field);
                field.trim_ascii().eq_ignore_ascii_case(name.as_bytes())
            };
            header.iter().position(bare).ok_or(OrdersError::Column(name))
        };
        Ok(Self {
            invoice: column("InvoiceNo")?,
            sku: column("StockCode")?,
            name: column("Description")?,
            quantity: column("Quantity")?,
            date: column("InvoiceDate")?,
            price: column("UnitPrice")?,
        })
    }

    pub(super) fn row(&self, record: &ByteRecord) -> Result<Row, &'static str> {
        let text = |column: usize| {
            record.get(column).map(|field| String::from_utf8_lossy(field.trim_ascii()))
        };
        let field = |column| text(column).ok_or("too few columns");
        let sku = field(self.sku)?;
        let date = field(self.date)?;
        let price = field(self.price)?;
        let quantity: i64 =
            field(self.quantity)?.parse().map_err(|_| "quantity is not an integer")?;
        let returned = field(self.invoice)?.starts_with(['C', 'c']);
        if sku.len() < 5 || !sku.as_bytes()[..5].iter().all(u8::is_ascii_digit) {
            return Err("not an article (postage, fees, vouchers)");
        }
        let (at, month) = parse_date(&date).ok_or("date is not YYYY-MM-DD HH:MM:SS")?;
        let price_cents = parse_cents(&price).ok_or("price is not a number")?;
        if price_cents <= 0 {
            return Err("no price (samples, write-offs)");
        }
        if quantity == 0 || (quantity < 0) != returned {
            return Err("quantity does not fit the invoice (corrections)");
        }
        let quantity =
            u32::try_from(quantity.unsigned_abs()).map_err(|_| "quantity is too large")?;
        let name = field(self.name)?.into_owned();
        Ok(Row { sku: sku.to_uppercase(), name, quantity, returned, at, month, price_cents })
    }
}

/// Parses `12.34` as 1234, rounded to the nearest cent; halves away from zero.
fn parse_cents(price: &str) -> Option<i64> {
    let amount: f64 = price.parse().ok()?;
    #[expect(clippy::cast_possible_truncation, reason = "the range is checked")]
    (amount.is_finite() && amount.abs() < 1e12).then(|| (amount * 100.0).round() as i64)
}

/// Parses a date of the proleptic Gregorian calendar into seconds since 1970 and months since
/// year 0. The seconds, or the whole time of day, may be missing.
fn parse_date(date: &str) -> Option<(i64, i64)> {
    let (day, time) = date.split_once([' ', 'T']).unwrap_or((date, "00:00"));
    let mut day = day.split('-').map(str::parse::<i64>);
    let (year, month, day) = (day.next()?.ok()?, day.next()?.ok()?, day.next()?.ok()?);
    let mut time = time.split(':').map(str::parse::<i64>);
    let (hour, minute) = (time.next()?.ok()?, time.next()?.ok()?);
    let second = time.next().unwrap_or(Ok(0)).ok()?;
    let plausible = (1..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && (0..24).contains(&hour)
        && (0..60).contains(&minute)
        && (0..=60).contains(&second);
    // Years begin in March here, so that the leap day comes last (the days-from-civil algorithm).
    let (march_year, march_month) =
        if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * march_year + march_year / 4 - march_year / 100
        + march_year / 400
        + (153 * march_month + 2) / 5
        + day
        - 1
        - 719_468;
    plausible.then_some((days * 86_400 + hour * 3600 + minute * 60 + second, year * 12 + month - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_parsed_to_seconds() {
        assert_eq!(parse_date("1970-01-01 00:00:00"), Some((0, 1970 * 12)));
        assert_eq!(parse_date("2010-12-01 08:26:00"), Some((1_291_191_960, 2010 * 12 + 11)));
        assert_eq!(parse_date("2012-02-29T12:00"), Some((1_330_516_800, 2012 * 12 + 1)));
        assert_eq!(parse_date("01/12/2010 08:26"), None);
        assert_eq!(parse_date("2010-13-01 08:26:00"), None);
        assert_eq!(parse_date(""), None);
    }

    #[test]
    fn prices_parsed_to_cents() {
        assert_eq!(parse_cents("2.55"), Some(255));
        assert_eq!(parse_cents("0.29"), Some(29));
        assert_eq!(parse_cents("NaN"), None);
        assert_eq!(parse_cents("a lot"), None);
    }
}
