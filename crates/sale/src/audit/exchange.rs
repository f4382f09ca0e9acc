//! A request of a client, and the answer that it got.

use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// A request and its answer. Times are in ms since 1970 by the client's clock.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Exchange {
    /// The method.
    pub method: String,
    /// The path.
    pub path: String,
    /// The idempotency key; null: none.
    #[serde(deserialize_with = "present")]
    pub key: Option<String>,
    /// The JSON body; null: none.
    #[serde(deserialize_with = "present")]
    pub body: Value,
    /// When it was sent.
    pub sent_ms: i64,
    /// When the answer was complete; null: there was none, and the request may have had its effect.
    #[serde(deserialize_with = "present")]
    pub answered_ms: Option<i64>,
    /// The status of the answer; null: there was none.
    #[serde(deserialize_with = "present")]
    pub status: Option<u16>,
    /// The JSON body of the answer.
    #[serde(deserialize_with = "present")]
    pub answer: Value,
}

/// A field that has to be written, also where it is null: a misspelt `status` would hide an answer.
fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(value: D) -> Result<T, D::Error> {
    T::deserialize(value)
}

/// The request of an exchange.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Request<'e> {
    Hold,
    Confirm(&'e str),
    CancelHold(&'e str),
    Checkout,
    CartCheckout(&'e str),
    /// A question about an order, or an operation on it.
    Order(&'e str),
    Adjust,
    Other,
}

impl Exchange {
    pub(super) fn request(&self) -> Request<'_> {
        let path = self.path.split('?').next().unwrap_or_default();
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        match (self.method.as_str(), parts.as_slice()) {
            ("POST", ["v1", "holds"]) => Request::Hold,
            ("POST", ["v1", "holds", hold, "confirm"]) => Request::Confirm(hold),
            ("DELETE", ["v1", "holds", hold]) => Request::CancelHold(hold),
            ("POST", ["v1", "checkouts"]) => Request::Checkout,
            ("POST", ["v1", "carts", cart, "checkout"]) => Request::CartCheckout(cart),
            ("GET", ["v1", "orders", order])
            | ("POST", ["v1", "orders", order, "capture" | "refund" | "cancel"]) => {
                Request::Order(order)
            }
            ("POST", ["v1", "stock", _, "adjust"]) => Request::Adjust,
            _ => Request::Other,
        }
    }

    pub(super) fn is_success(&self) -> bool {
        matches!(self.status, Some(200 | 201))
    }

    /// Returns the last word of the problem's type; empty: the answer is no problem.
    pub(super) fn problem(&self) -> &str {
        let kind = self.answer["type"].as_str().unwrap_or_default();
        kind.rsplit(':').next().unwrap_or_default()
    }

    /// Returns a text of the answer; empty: it has none of that name.
    pub(super) fn told(&self, name: &str) -> &str {
        self.answer[name].as_str().unwrap_or_default()
    }
}

/// Reads exchanges: a JSON object on each line.
///
/// # Errors
/// There is none, or a line is no exchange; the text names it.
pub fn read_exchanges(text: &str) -> Result<Vec<Exchange>, String> {
    let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
    let read = |(number, line): (usize, &str)| {
        let named = |problem: String| format!("line {number}: {problem}");
        let exchange: Exchange =
            serde_json::from_str(line).map_err(|err| named(err.to_string()))?;
        check(&exchange).map_err(|problem| named(problem.to_owned()))?;
        Ok(exchange)
    };
    let exchanges: Vec<Exchange> = lines.map(read).collect::<Result<_, String>>()?;
    match exchanges.is_empty() {
        true => Err("there is no request in it, so it shows nothing".to_owned()),
        false => Ok(exchanges),
    }
}

fn check(exchange: &Exchange) -> Result<(), &'static str> {
    match (exchange.status, exchange.answered_ms) {
        (Some(_), None) => Err("an answer needs `answered_ms`"),
        (None, Some(_)) => Err("without `status` there was no answer: write `answered_ms` null"),
        (_, Some(answered)) if answered < exchange.sent_ms => {
            Err("`answered_ms` lies before `sent_ms`")
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"method":"POST","path":"/v1/holds","key":"k","body":null,"sent_ms":1,"answered_ms":2,"status":409,"answer":{"type":"urn:tidegate:problem:sold-out"}}"#;

    #[test]
    fn line_read() {
        let read = read_exchanges(&format!("\n{LINE}\n")).expect("read");
        assert_eq!((read[0].request(), read[0].problem()), (Request::Hold, "sold-out"));
    }

    #[test]
    fn unusable_lines_named() {
        for (from, to, problem) in [
            ("\"status\":409,", "", "line 1: missing field `status`"),
            ("\"key\":\"k\"", "\"keys\":\"k\"", "line 1: unknown field `keys`"),
            ("\"status\":409", "\"status\":null", "line 1: without `status`"),
            ("\"answered_ms\":2", "\"answered_ms\":0", "line 1: `answered_ms` lies"),
            ("\"answered_ms\":2", "\"answered_ms\":null", "line 1: an answer needs"),
            (LINE, "", "no request"),
            (LINE, "{", "line 1: "),
        ] {
            let read = read_exchanges(&LINE.replace(from, to));
            let err = read.expect_err(to);
            assert!(err.contains(problem), "{err}");
        }
    }
}
