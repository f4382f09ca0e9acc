//! Reading a TOML table key by key, noting every problem instead of stopping at the first.

use std::ops::RangeInclusive;
use std::time::Duration;

use toml::Value;

use crate::keys;
use crate::toml_in::Problem;

/// The longest duration that is taken for meant: ten years.
const MAX_DURATION: Duration = Duration::from_secs(10 * 366 * 24 * 3600);

/// A table being read.
pub(crate) struct Fields<'a> {
    /// Where the table is: `data.product_price.from`.
    path: String,
    /// Where it is in the table of keys: empty, or `from.`.
    within: String,
    table: &'a toml::Table,
    problems: Vec<Problem>,
}

impl<'a> Fields<'a> {
    /// Starts reading `table`, the contract at `path`; unknown keys are noted at once.
    pub(crate) fn new(path: String, table: &'a toml::Table) -> Self {
        Self::within(path, String::new(), table)
    }

    fn within(path: String, within: String, table: &'a toml::Table) -> Self {
        let mut fields = Self { path, within, table, problems: Vec::new() };
        for key in table.keys() {
            fields.refuse_unknown(key);
        }
        fields
    }

    fn refuse_unknown(&mut self, key: &str) {
        let dotted = format!("{}{key}", self.within);
        if keys::is_known(&dotted) {
            return;
        }
        let help = match keys::nearest(&dotted) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "remove it; the reference lists all keys".to_owned(),
        };
        self.problem("unknown-key", key, "is no key that contracts know".to_owned(), &help);
    }

    /// What was noted, in the order it was found.
    pub(crate) fn into_problems(self) -> Vec<Problem> {
        self.problems
    }

    /// Notes a problem with `key`, or with the table where `key` is empty.
    pub(crate) fn problem(&mut self, rule: &'static str, key: &str, message: String, help: &str) {
        let dot = if key.is_empty() { "" } else { "." };
        let path = format!("{}{dot}{key}", self.path);
        self.problems.push(Problem { rule, path, message, help: help.to_owned() });
    }

    /// Whether the key is there at all.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Whether the key holds a table.
    pub(crate) fn is_table(&self, key: &str) -> bool {
        matches!(self.table.get(key), Some(Value::Table(_)))
    }

    fn get(&self, key: &str) -> Option<&'a Value> {
        debug_assert!(
            keys::is_known(&format!("{}{key}", self.within)),
            "`{key}` has no entry in KEYS"
        );
        self.table.get(key)
    }

    fn wrong_type(&mut self, key: &str, value: &Value, expected: &str) {
        self.problem(
            "wrong-type",
            key,
            format!("is {}", describe(value)),
            &format!("write {expected}"),
        );
    }

    /// Text that is not blank.
    pub(crate) fn text(&mut self, key: &str) -> Option<&'a str> {
        match self.get(key)? {
            Value::String(text) if !text.trim().is_empty() => Some(text),
            Value::String(_) => {
                self.problem(
                    "wrong-value",
                    key,
                    "is empty".to_owned(),
                    "fill it in or leave it out",
                );
                None
            }
            other => {
                self.wrong_type(key, other, "text in quotes");
                None
            }
        }
    }

    /// Text that has to be there and that `read` understands.
    pub(crate) fn required_with<T>(
        &mut self,
        key: &str,
        rule: &'static str,
        help: &str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        if !self.has(key) {
            self.problem("missing", key, "is missing".to_owned(), help);
            return None;
        }
        let text = self.text(key)?;
        match read(text) {
            Ok(value) => Some(value),
            Err(why) => {
                self.problem(rule, key, format!("`{text}`: {why}"), help);
                None
            }
        }
    }

    /// A list of texts, each of which `read` understands. Empty where the key is missing.
    pub(crate) fn list_with<T>(
        &mut self,
        key: &str,
        help: &str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Vec<T> {
        let Some(value) = self.get(key) else { return Vec::new() };
        let Value::Array(items) = value else {
            self.wrong_type(key, value, "a list, even of one: [\"…\"]");
            return Vec::new();
        };
        let mut list = Vec::with_capacity(items.len());
        for (at, item) in items.iter().enumerate() {
            let place = format!("{key}[{at}]");
            match item.as_str().map(&read) {
                Some(Ok(value)) => list.push(value),
                Some(Err(why)) => {
                    self.problem("wrong-value", &place, format!("{}: {why}", describe(item)), help);
                }
                None => self.wrong_type(&place, item, "text in quotes"),
            }
        }
        list
    }

    /// One of `options`.
    pub(crate) fn choice<T: Copy>(&mut self, key: &str, options: &[(&str, T)]) -> Option<T> {
        let text = self.text(key)?;
        if let Some((_, value)) = options.iter().find(|(name, _)| *name == text) {
            return Some(*value);
        }
        let names: Vec<&str> = options.iter().map(|(name, _)| *name).collect();
        let near = names
            .iter()
            .map(|name| (strsim::damerau_levenshtein(text, name), *name))
            .filter(|(distance, _)| *distance <= 3)
            .min();
        let help = match near {
            Some((_, near)) => {
                format!("did you mean \"{near}\"? It is one of: {}", names.join(", "))
            }
            None => format!("it is one of: {}", names.join(", ")),
        };
        self.problem("wrong-value", key, format!("`{text}` is unknown"), &help);
        None
    }

    /// A duration with a unit, up to ten years.
    pub(crate) fn duration(&mut self, key: &str) -> Option<Duration> {
        const HELP: &str = "write a number with a unit, such as \"500ms\", \"30s\", \"5min\", \"24h\" or \"7days\"";
        let value = self.get(key)?;
        let Value::String(text) = value else {
            self.wrong_type(key, value, "a duration with its unit, such as \"30s\"");
            return None;
        };
        match humantime::parse_duration(text) {
            Ok(duration) if duration <= MAX_DURATION => Some(duration),
            Ok(_) => {
                self.problem(
                    "out-of-range",
                    key,
                    format!("`{text}` is longer than ten years"),
                    HELP,
                );
                None
            }
            Err(err) => {
                self.problem("wrong-value", key, format!("`{text}` is no duration: {err}"), HELP);
                None
            }
        }
    }

    /// A number of bytes, at least 1.
    pub(crate) fn size(&mut self, key: &str) -> Option<u64> {
        const HELP: &str = "write a number of bytes, or text such as \"64KiB\" or \"1MiB\"";
        let value = self.get(key)?;
        let bytes = match value {
            Value::Integer(bytes) => u64::try_from(*bytes).ok(),
            Value::String(text) => parse_size(text),
            other => {
                self.wrong_type(key, other, "a number of bytes, or text such as \"64KiB\"");
                return None;
            }
        };
        if bytes.is_none_or(|bytes| bytes == 0) {
            self.problem("wrong-value", key, format!("{} is no size", describe(value)), HELP);
            return None;
        }
        bytes
    }

    /// True or false.
    pub(crate) fn flag(&mut self, key: &str) -> Option<bool> {
        match self.get(key)? {
            Value::Boolean(flag) => Some(*flag),
            other => {
                self.wrong_type(key, other, "true or false, without quotes");
                None
            }
        }
    }

    /// A number in `range`.
    pub(crate) fn number(&mut self, key: &str, range: RangeInclusive<f64>) -> Option<f64> {
        let number = match self.get(key)? {
            Value::Float(number) => *number,
            // Anything a float can't hold exactly is far out of range.
            Value::Integer(number) => *number as f64,
            other => {
                self.wrong_type(key, other, "a number, without quotes");
                return None;
            }
        };
        if range.contains(&number) {
            return Some(number);
        }
        let help = format!("choose {} to {}", range.start(), range.end());
        self.problem("out-of-range", key, format!("{number} is out of range"), &help);
        None
    }

    /// A date that has to be there.
    pub(crate) fn date(&mut self, key: &str) -> Option<jiff::civil::Date> {
        const HELP: &str = "write a date without quotes, such as 2026-11-02";
        let Some(value) = self.get(key) else {
            self.problem("missing", key, "is missing".to_owned(), HELP);
            return None;
        };
        let date = match value {
            Value::Datetime(toml::value::Datetime {
                date: Some(date),
                time: None,
                offset: None,
            }) => {
                let year = i16::try_from(date.year).ok();
                let parts =
                    year.zip(i8::try_from(date.month).ok()).zip(i8::try_from(date.day).ok());
                parts.and_then(|((year, month), day)| jiff::civil::Date::new(year, month, day).ok())
            }
            _ => None,
        };
        if date.is_none() {
            self.problem("wrong-type", key, format!("is {}", describe(value)), HELP);
        }
        date
    }

    /// True, which is `default`, or a table inside this one, read by `read`.
    pub(crate) fn switched<T>(
        &mut self,
        key: &str,
        default: T,
        read: impl FnOnce(&mut Fields<'a>) -> Option<T>,
    ) -> Option<T> {
        match self.get(key)? {
            Value::Boolean(on) => on.then_some(default),
            Value::Table(_) => self.nested(key, read),
            other => {
                self.wrong_type(key, other, "true, false or a table, `{ … }`");
                None
            }
        }
    }

    /// A table inside this one, read by `read`. What is wrong there is noted here.
    pub(crate) fn nested<T>(
        &mut self,
        key: &str,
        read: impl FnOnce(&mut Fields<'a>) -> Option<T>,
    ) -> Option<T> {
        let value = self.get(key)?;
        let Value::Table(table) = value else {
            self.wrong_type(key, value, "a table, `{ … }`");
            return None;
        };
        let mut inner =
            Fields::within(format!("{}.{key}", self.path), format!("{}{key}.", self.within), table);
        let result = read(&mut inner);
        self.problems.append(&mut inner.problems);
        result
    }
}

/// A value as it may stand in a message: its type, and itself where it is short.
pub(crate) fn describe(value: &Value) -> String {
    match value {
        Value::String(text) if text.chars().count() <= 80 => {
            format!("the text \"{}\"", text.escape_debug())
        }
        Value::String(_) => "a long text".to_owned(),
        Value::Integer(number) => format!("the number {number}"),
        Value::Float(number) => format!("the number {number}"),
        Value::Boolean(flag) => format!("{flag}"),
        Value::Datetime(date) => format!("the date {date}"),
        Value::Array(_) => "a list".to_owned(),
        Value::Table(_) => "a table".to_owned(),
    }
}

/// `64KiB`, `1 MB`, `512`.
fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let unit = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..unit].parse().ok()?;
    let factor = match text[unit..].trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1_000,
        "kib" => 1 << 10,
        "mb" => 1_000_000,
        "mib" => 1 << 20,
        "gb" => 1_000_000_000,
        "gib" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(factor)
}
