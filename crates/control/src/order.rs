//! What people and applications ask for: invalidate this, purge that.

use async_trait::async_trait;
use coherence::{Cause, Subject};
use contract::{Key, Tag};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The most subjects one order may name.
pub const SUBJECTS_MAX: usize = 1_000;

/// An order as it comes in: `{"tags": ["product-42"], "keys": [], "all": false}`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Body {
    /// Keys, such as `v1:catalog:price:42`.
    #[serde(default)]
    pub keys: Vec<String>,
    /// Surrogate keys, such as `product-42`.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Everything there is.
    #[serde(default)]
    pub all: bool,
}

/// A checked order.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Order {
    /// Who asks.
    pub cause: Cause,
    /// For what; at least one, at most [`SUBJECTS_MAX`].
    pub subjects: Vec<Subject>,
}

/// Done: no answer given after this misses the change that was ordered.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Receipt {
    /// The order's name in logs.
    pub id: String,
    /// Where in the log it stands, `XXXXXXXX/XXXXXXXX`.
    pub position: String,
    /// A read-your-writes token: reads that carry it miss nothing up to the order.
    pub token: String,
    /// How many keys and tags it named.
    pub subjects: usize,
    /// How long it took until the shared tier and this node's own had applied it, in ms.
    pub took_ms: u64,
}

/// An order was not carried out, or not completely.
#[derive(Debug, Error)]
pub enum OrderError {
    /// It makes no sense.
    #[error("{0}")]
    Bad(String),
    /// The database's log could not be written, so the order has no position. Entries were dropped
    /// if `dropped`; a load that is under way may bring an old value back until the log runs again.
    #[error(
        "the order could not be written into the database's log ({cause}); entries dropped: {dropped}"
    )]
    NoLog {
        /// Why.
        cause: String,
        /// Whether the entries were dropped from the shared tier nevertheless.
        dropped: bool,
    },
    /// It stands in the log but has not been applied within the waiting time; it will be.
    #[error(
        "written at {position}, not applied within {waited_ms} ms; it is applied as soon as the log is followed again"
    )]
    Late {
        /// Where it stands.
        position: String,
        /// How long was waited.
        waited_ms: u64,
    },
}

/// Carries orders out; implemented where the parts are put together.
#[async_trait]
pub trait Orders: Send + Sync + 'static {
    /// Returns when the order holds everywhere it can be proven.
    async fn carry_out(&self, order: Order) -> Result<Receipt, OrderError>;
}

impl Order {
    /// Checks a body.
    ///
    /// # Errors
    /// [`OrderError::Bad`] names the key or tag that is not one, or says that there is none.
    pub fn check(cause: Cause, body: &Body) -> Result<Self, OrderError> {
        let mut subjects = Vec::new();
        for key in &body.keys {
            let key =
                Key::parse(key).map_err(|err| OrderError::Bad(format!("keys: {key:?}: {err}")))?;
            subjects.push(Subject::Key(key));
        }
        for tag in &body.tags {
            let tag =
                Tag::parse(tag).map_err(|err| OrderError::Bad(format!("tags: {tag:?}: {err}")))?;
            subjects.push(Subject::Tag(tag));
        }
        if body.all {
            subjects.push(Subject::Everything);
        }
        subjects.sort_unstable();
        subjects.dedup();
        match subjects.len() {
            0 => Err(OrderError::Bad(
                "nothing to do: name at least one of `keys`, `tags` or `all`".into(),
            )),
            n if n > SUBJECTS_MAX => Err(OrderError::Bad(format!(
                "{n} keys and tags in one order; at most {SUBJECTS_MAX}, send several"
            ))),
            _ => Ok(Self { cause, subjects }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_checked_before_anything_is_done() {
        let order = |text: &str| {
            let body: Body = serde_json::from_str(text).map_err(|err| err.to_string())?;
            Order::check(Cause::Purge, &body).map_err(|err| err.to_string())
        };
        let good = order(r#"{"tags":["product-1","product-1"],"keys":["v1:catalog:price:1"]}"#);
        assert_eq!(good.expect("good").subjects.len(), 2);
        assert!(order("{}").is_err_and(|err| err.contains("at least one")));
        assert!(order(r#"{"tags":["a b"]}"#).is_err_and(|err| err.contains("\"a b\"")));
        assert!(order(r#"{"keys":["nonsense"]}"#).is_err_and(|err| err.contains("nonsense")));
        assert!(order(r#"{"tag":["x"]}"#).is_err_and(|err| err.contains("unknown field")));
    }
}
