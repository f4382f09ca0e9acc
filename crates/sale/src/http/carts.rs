//! `/v1/carts`

use access::Object;
use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::body::{Segment, counted, key, parse, timestamp};
use super::checkouts::{PaymentBody, answer};
use super::holds::{LineBody, lines};
use super::problem::Problem;
use crate::ledger::CartRecord;
use crate::request::{CartCheckout, CartContent, CartId, InvalidRequest};
use crate::rules::{CartStage, CartVersion};
use crate::service::Sale;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CartBody {
    customer: String,
    lines: Vec<Object<LineBody>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CheckoutBody {
    payment: Object<PaymentBody>,
}

type RequestBody = Result<Bytes, BytesRejection>;

/// Returns the version that `If-Match` names; `None`: there is no such header.
fn wanted_version(headers: &HeaderMap) -> Result<Option<CartVersion>, InvalidRequest> {
    let mut values = headers.get_all(header::IF_MATCH).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let text = value.to_str().unwrap_or_default().trim();
    let number = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    match (text, number.and_then(|number| number.parse::<i64>().ok()), values.next()) {
        ("*", _, None) => Ok(Some(CartVersion::Any)),
        (_, Some(version), None) if version > 0 => Ok(Some(CartVersion::Exactly(version))),
        _ => {
            let problem = "send the ETag of the cart as the client got it, such as \"3\", or *";
            Err(InvalidRequest::new("If-Match", problem))
        }
    }
}

fn tagged(version: i64) -> [(header::HeaderName, HeaderValue); 1] {
    let tag = HeaderValue::from_str(&format!("\"{version}\""));
    [(header::ETAG, tag.unwrap_or(HeaderValue::from_static("\"0\"")))]
}

pub(super) async fn put(
    State(sale): State<Sale>,
    Segment(cart): Segment,
    headers: HeaderMap,
    body: RequestBody,
) -> Result<Response, Problem> {
    let cart = CartId::new(&cart)?;
    let wanted = wanted_version(&headers)?.unwrap_or(CartVersion::Absent);
    let CartBody { customer, lines: wanted_lines } = parse(&headers, body)?;
    let wanted_lines = wanted_lines.into_iter().map(|Object(line)| line.into_parts()).collect();
    let content = CartContent::new(&customer, wanted_lines)?;
    let written = sale.put_cart(&cart, wanted, &content).await;
    let version = counted(&sale, "put-cart", written)?;
    let body = json!({
        "cart": cart.as_str(),
        "version": version,
        "customer": content.customer(),
        "lines": lines(content.lines()),
    });
    let is_new = wanted == CartVersion::Absent;
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, tagged(version), Json(body)).into_response())
}

pub(super) async fn get(
    State(sale): State<Sale>,
    Segment(cart): Segment,
) -> Result<Response, Problem> {
    let cart = CartId::new(&cart)?;
    let found = counted(&sale, "find-cart", sale.find_cart(&cart).await)?;
    Ok((tagged(found.state.version), Json(shown(&cart, &found))).into_response())
}

fn shown(cart: &CartId, found: &CartRecord) -> Value {
    let CartRecord { state, content, hold, deadline_ms, checkout, .. } = found;
    let mut body = json!({
        "cart": cart.as_str(),
        "version": state.version,
        "state": state.stage.word(),
        "customer": content.customer(),
        "lines": lines(content.lines()),
    });
    if state.stage == CartStage::Held {
        body["hold"] = hold.map(|hold| hold.to_string()).into();
        body["expires_at"] = deadline_ms.map(timestamp).into();
    }
    let checkout = checkout.map(|checkout| checkout.to_string());
    match state.stage {
        CartStage::Paying => body["checkout"] = checkout.into(),
        CartStage::Ordered => body["order"] = checkout.into(),
        CartStage::Open | CartStage::Held => {}
    }
    body
}

pub(super) async fn delete(
    State(sale): State<Sale>,
    Segment(cart): Segment,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let cart = CartId::new(&cart)?;
    let wanted = wanted_version(&headers)?.unwrap_or(CartVersion::Any);
    counted(&sale, "delete-cart", sale.delete_cart(&cart, wanted).await)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub(super) async fn check_out(
    State(sale): State<Sale>,
    Segment(cart): Segment,
    headers: HeaderMap,
    body: RequestBody,
) -> Result<Response, Problem> {
    let (key, cart) = (key(&headers)?, CartId::new(&cart)?);
    let CheckoutBody { payment: Object(payment) } = parse(&headers, body)?;
    let Some(version) = wanted_version(&headers)? else {
        let detail = "send If-Match with the version of the cart that the customer has seen, as its ETag, or * for any";
        let status = StatusCode::PRECONDITION_REQUIRED;
        return Err(Problem::new(status, "version-missing", "Version missing", detail));
    };
    let request = CartCheckout { cart, version, payment: payment.check()? };
    let paid = sale.check_out_cart(&request, &key).await;
    let record = counted(&sale, "checkout-cart", paid)?;
    answer(&sale, &record).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_is_the_entity_tag() {
        let read = |texts: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for text in texts {
                headers.append(header::IF_MATCH, HeaderValue::from_static(text));
            }
            wanted_version(&headers)
        };
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&["\"3\""]), Ok(Some(CartVersion::Exactly(3))));
        assert_eq!(read(&["*"]), Ok(Some(CartVersion::Any)));
        for texts in [&["3"][..], &["\"\""], &["W/\"3\""], &["\"-1\""], &["\"0\""], &["*", "*"]] {
            assert!(read(texts).is_err(), "{texts:?}");
        }
    }
}
