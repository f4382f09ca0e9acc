//! Errors of a configuration, each with the value and a remedy.

use std::fmt;

use serde::Serialize;
use thiserror::Error;
use toml::Value;

/// A value that is not accepted. [`ValueError::at`] adds the key.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{message}; {help}")]
pub struct ValueError {
    /// The stable name of the kind of problem, such as `wrong-type` or `out-of-range`.
    pub rule: &'static str,
    /// The problem, with the value.
    pub message: String,
    /// The remedy: the accepted form with an example, and the range.
    pub help: String,
}

impl ValueError {
    /// Returns the problem of the key at `path`, such as `local.memory`.
    pub fn at(self, path: impl Into<String>) -> Problem {
        Problem { rule: self.rule, path: path.into(), message: self.message, help: self.help }
    }

    /// A value that is not accepted, although its type is.
    #[must_use]
    pub fn wrong_value(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { rule: "wrong-value", message: message.into(), help: help.into() }
    }

    /// A blank text.
    pub(super) fn empty() -> Self {
        Self::wrong_value("is empty", "fill it in or leave it out")
    }

    /// A value of another TOML type than the accepted form, which starts with "write".
    pub(super) fn wrong_type(value: &Value, help: impl Into<String>) -> Self {
        let message = format!("is {}", describe_value(value));
        Self { rule: "wrong-type", message, help: help.into() }
    }
}

/// A problem of a configuration: its path, a message and the remedy.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize)]
pub struct Problem {
    /// The stable name of the kind of problem.
    pub rule: &'static str,
    /// The key, with dots between tables: `data.product_price.from.table`.
    pub path: String,
    /// The problem, with the value.
    pub message: String,
    /// The remedy.
    pub help: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.path, self.message, self.help)
    }
}

/// Describes a value for a message: its type, and the value itself where it is short.
pub fn describe_value(value: &Value) -> String {
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
