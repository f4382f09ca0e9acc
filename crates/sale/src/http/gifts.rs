//! `/v1/gift-cards`

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;

use super::audit::Recorder;
use super::body::{counted, key, parse};
use super::problem::Problem;
use crate::ledger::GiftCard;
use crate::request::{GiftCode, InvalidRequest, IssueGift, price};
use crate::service::Sale;

/// The header with a code: addresses are in logs.
const CODE_HEADER: &str = "gift-card-code";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct IssueBody {
    code: String,
    amount: i64,
    currency: String,
}

pub(super) async fn post(
    State(sale): State<Sale>,
    recorder: Recorder,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let key = key(&headers)?;
    let IssueBody { code, amount, currency } = parse(&headers, body)?;
    let value = price("gift_card", amount, &currency)?;
    let gift = IssueGift { code: GiftCode::new("code", &code)?, value };
    let issued = json!({ "gift_card": gift.code.name(), "amount": amount, "currency": currency });
    let mut detail = issued.clone();
    detail["key"] = key.as_str().into();
    let record = recorder.begin("gift-card.issue", detail).await?;
    let outcome = sale.issue_gift(&gift, &key).await;
    record.end("gift-card.issue.result", outcome.as_ref().err()).await;
    counted(&sale, "issue-gift-card", outcome)?;
    Ok((StatusCode::CREATED, Json(issued)).into_response())
}

pub(super) async fn get(State(sale): State<Sale>, headers: HeaderMap) -> Result<Response, Problem> {
    let mut values = headers.get_all(CODE_HEADER).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        let problem = "send one header Gift-Card-Code with the code of the card";
        return Err(InvalidRequest::new("Gift-Card-Code", problem).into());
    };
    let code = GiftCode::new("Gift-Card-Code", value.to_str().unwrap_or_default())?;
    let found = sale.find_gift(&code).await;
    let GiftCard { currency, balance } = counted(&sale, "find-gift-card", found)?;
    let body = json!({
        "gift_card": code.name(),
        "currency": currency.to_string(),
        "issued": balance.issued,
        "reserved": balance.reserved,
        "spent": balance.spent,
        "available": balance.available(),
    });
    Ok(Json(body).into_response())
}
