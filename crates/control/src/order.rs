//! What people and applications ask for: invalidate this, purge that.

use std::collections::BTreeMap;

use async_trait::async_trait;
use coherence::{Cause, Subject};
use contract::{Key, Pattern, Tag};
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
    /// Wildcards for keys, such as `v1:catalog:price:*`.
    #[serde(default)]
    pub key_patterns: Vec<String>,
    /// Wildcards for surrogate keys, such as `category-*`.
    #[serde(default)]
    pub tag_patterns: Vec<String>,
    /// Names of contracts: whatever their keys are like.
    #[serde(default)]
    pub contracts: Vec<String>,
    /// Everything there is.
    #[serde(default)]
    pub all: bool,
    /// Only count what would go.
    #[serde(default)]
    pub dry_run: bool,
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
    /// How many keys, tags and wildcards it named.
    pub subjects: usize,
    /// How long it took until the shared tier and this node's own had applied it, in ms.
    pub took_ms: u64,
}

/// What an order would remove. Nothing was removed.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct DryRun {
    /// What was asked about, `k:<key>`, `t:<tag>`, `k*:<pattern>`, `t*:<pattern>` or `*`.
    pub subjects: Vec<String>,
    /// In the shared tier.
    pub shared: Reach,
    /// In the in-process tier of the node that was asked.
    pub local: Reach,
}

/// What an order would remove from one tier.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Reach {
    /// How many entries.
    pub entries: u64,
    /// False: the tier was not looked through to its end; there are at least as many.
    pub complete: bool,
    /// How many of each contract; pages of the gateway under `pages`, and keys of no contract under
    /// what they begin with.
    pub contracts: BTreeMap<String, u64>,
    /// A few of the keys.
    pub examples: Vec<String>,
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
    /// What it would remove could not be counted.
    #[error("the shared tier could not be looked through ({cause})")]
    Unseen {
        /// Why.
        cause: String,
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

    /// Counts what the order would remove, and removes nothing.
    async fn survey(&self, order: Order) -> Result<DryRun, OrderError>;

    /// What the keys of a contract are like; a sentence if there is no such contract.
    fn keys_of(&self, contract: &str) -> Result<Pattern, String>;
}

impl Order {
    /// Checks a body. `keys_of`: see [`Orders::keys_of`].
    ///
    /// # Errors
    /// [`OrderError::Bad`] names the key, tag, wildcard or contract that is not one, or says that there
    /// is none.
    pub fn check(
        cause: Cause,
        body: &Body,
        keys_of: impl Fn(&str) -> Result<Pattern, String>,
    ) -> Result<Self, OrderError> {
        let mut subjects = Vec::new();
        let bad = |field: &str, text: &str, err: &dyn std::fmt::Display| {
            OrderError::Bad(format!("{field}: {text:?}: {err}"))
        };
        for key in &body.keys {
            let key = Key::parse(key).map_err(|err| bad("keys", key, &err))?;
            subjects.push(Subject::Key(key));
        }
        for tag in &body.tags {
            let tag = Tag::parse(tag).map_err(|err| bad("tags", tag, &err))?;
            subjects.push(Subject::Tag(tag));
        }
        for text in &body.key_patterns {
            let keys = Pattern::of_keys(text).map_err(|err| bad("key_patterns", text, &err))?;
            subjects.push(Subject::KeysLike(keys));
        }
        for text in &body.tag_patterns {
            let tags = Pattern::of_tags(text).map_err(|err| bad("tag_patterns", text, &err))?;
            subjects.push(Subject::TagsLike(tags));
        }
        for name in &body.contracts {
            let keys = keys_of(name).map_err(|err| bad("contracts", name, &err))?;
            subjects.push(Subject::KeysLike(keys));
        }
        if body.all {
            subjects.push(Subject::Everything);
        }
        subjects.sort_unstable();
        subjects.dedup();
        match subjects.len() {
            0 => Err(OrderError::Bad(
                "nothing to do: name at least one of `keys`, `tags`, `key_patterns`, \
                 `tag_patterns`, `contracts` or `all`"
                    .into(),
            )),
            n if n > SUBJECTS_MAX => Err(OrderError::Bad(format!(
                "{n} keys, tags and wildcards in one order; at most {SUBJECTS_MAX}, send several"
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
            let keys_of = |name: &str| match name {
                "price" => Pattern::of_keys("v1:catalog:price:*").map_err(|err| err.to_string()),
                _ => Err("there is `price`".to_owned()),
            };
            Order::check(Cause::Purge, &body, keys_of).map_err(|err| err.to_string())
        };
        let good = order(r#"{"tags":["product-1","product-1"],"keys":["v1:catalog:price:1"]}"#);
        assert_eq!(good.expect("good").subjects.len(), 2);
        assert!(order("{}").is_err_and(|err| err.contains("at least one")));
        assert!(order(r#"{"tags":["a b"]}"#).is_err_and(|err| err.contains("\"a b\"")));
        assert!(order(r#"{"keys":["nonsense"]}"#).is_err_and(|err| err.contains("nonsense")));
        let wild = order(r#"{"key_patterns":["v1:catalog:price:*"],"contracts":["price"]}"#);
        let wild = wild.expect("good").subjects;
        assert_eq!(wild.len(), 1, "a contract stands for what its keys are like: {wild:?}");
        assert!(order(r#"{"contracts":["prize"]}"#).is_err_and(|err| err.contains("`price`")));
        assert!(order(r#"{"key_patterns":["*"]}"#).is_err_and(|err| err.contains("`all`")));
        assert!(order(r#"{"tag_patterns":["a"]}"#).is_err_and(|err| err.contains("no `*`")));
        let exact = order(r#"{"tags":["50%*off"]}"#).expect("good").subjects;
        assert_eq!(exact[0].to_string(), "t:50%*off", "what is no wildcard has none");
        assert!(order(r#"{"tag":["x"]}"#).is_err_and(|err| err.contains("unknown field")));
    }
}
