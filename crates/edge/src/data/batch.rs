//! `GET /data/batch?get={contract}/{id}&get=…&atomic`: several values in one response.

use std::sync::Arc;
use std::time::Duration;

use access::Caller;
use cache::{Answer, Item, Policy, ReadError, Tier};
use coherence::CausalTokens;
use contract::{Evidence, ProblemDetails, percent};
use futures_util::future::join_all;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};
use serde::Serialize;
use serde_json::value::RawValue;

use super::api::{DataApi, Served, ServedContract};
use super::error::DataError;
use super::value::{self, JSON};
use crate::http::body::Body;
use crate::http::cache_control::NO_STORE;
use crate::http::freshness::{CACHE_STATUS, TIDEGATE_FRESHNESS, millis_up};

/// The path below `/data/`.
pub(super) const PATH: &str = "batch";

/// The most items of a batch.
pub(super) const MAX_ITEMS: usize = 100;

/// The query of a batch request.
#[derive(Debug, Default, PartialEq)]
struct BatchQuery {
    /// The items as in the query: contract, `/`, ID.
    gets: Vec<String>,
    atomic: bool,
}

/// The body of the response.
#[derive(Serialize)]
struct BatchBody<'a> {
    atomic: bool,
    /// The source of an atomic batch.
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<&'static str>,
    items: Vec<ItemBody<'a>>,
}

#[derive(Serialize)]
struct ItemBody<'a> {
    get: &'a str,
    /// The status that a single read would have.
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    freshness: Option<Freshness>,
    /// The type of the problem, in place of a value.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_s: Option<u64>,
}

#[derive(Serialize)]
struct Freshness {
    /// `None`: the answer is unproven.
    bound_ms: Option<u64>,
    tier: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    stale: Option<&'static str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    soft: bool,
    /// The evidence, where it is weaker than the log and a database.
    #[serde(skip_serializing_if = "Option::is_none")]
    proof: Option<&'static str>,
}

/// The combined freshness of all items: the worst of each property.
#[derive(Default)]
struct WorstProof {
    items: usize,
    bound: Duration,
    unproven: bool,
    tier: Option<Tier>,
    stale: Option<&'static str>,
    soft: bool,
    proof: Option<&'static str>,
}

impl DataApi {
    /// Serves a batch request.
    pub(super) async fn batch(
        &self,
        query: &str,
        tokens: Option<CausalTokens>,
        caller: &Caller,
    ) -> Result<Response<Body>, DataError> {
        let BatchQuery { gets, atomic } = parse(query)?;
        let requested: Vec<_> = gets.iter().map(|get| self.item(get, caller)).collect();
        let valid = requested.iter().filter_map(|requested| requested.as_ref().ok());
        let items: Vec<Item> = valid.clone().map(|(_, item)| item.clone()).collect();
        let (answers, by) = if atomic {
            let first = valid.clone().next().map(|(served, _)| *served);
            let mut apart =
                valid.filter_map(|(served, _)| Some((*served, unshared_snapshot(*served, first)?)));
            if let Some((served, detail)) = apart.next() {
                let name = &served.policy.rules.name;
                let detail = format!("{name} {detail}: omit it, or omit `atomic`");
                let status = StatusCode::BAD_REQUEST;
                return Err(DataError::new(status, "No common snapshot", detail));
            }
            match first {
                None => (Vec::new(), Some(Tier::Local.as_str())),
                Some(Served { at, source, .. }) => {
                    let token = self.token_of(at, tokens.as_ref());
                    let batch = source.engine.get_atomic(&items, token).await?;
                    (batch.answers, Some(batch.by.as_str()))
                }
            }
        } else {
            let sources: Vec<usize> = valid.map(|(served, _)| served.at).collect();
            (self.get_many(&items, &sources, tokens.as_ref()).await, None)
        };
        let mut answers = answers.into_iter();
        let results: Vec<Result<(Served<'_>, Answer), DataError>> = requested
            .into_iter()
            .map(|requested| {
                let (served, item) = requested?;
                let missing =
                    || DataError::new(StatusCode::BAD_GATEWAY, "Missing answer", String::new());
                let answer = answers.next().ok_or_else(missing)??;
                served.answered(&item.key, &item.id, &answer);
                Ok((served, answer))
            })
            .collect();
        let mut worst = WorstProof::default();
        for (served, answer) in results.iter().flatten() {
            worst.add(answer, &served.policy);
        }
        let items = gets.iter().zip(&results);
        let items = items.map(|(get, result)| ItemBody::new(get, result.as_ref())).collect();
        let body = BatchBody { atomic, by, items };
        let json = serde_json::to_vec(&body).expect("text, numbers and valid JSON serialize");
        let mut response = Response::new(Body::complete(json.into()));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, JSON);
        headers.insert(CACHE_CONTROL, NO_STORE);
        if let Some(freshness) = worst.freshness(atomic) {
            headers.insert(TIDEGATE_FRESHNESS, freshness);
            headers.insert(CACHE_STATUS, worst.cache_status());
        }
        Ok(response)
    }

    /// Reads items, each from the engine of its source; `sources`: their positions.
    async fn get_many(
        &self,
        items: &[Item],
        sources: &[usize],
        tokens: Option<&CausalTokens>,
    ) -> Vec<Result<Answer, ReadError>> {
        let groups = self.sources.iter().enumerate().map(|(at, source)| async move {
            let own = sources.iter().enumerate().filter(|(_, of)| **of == at).map(|(item, _)| item);
            let own: Vec<usize> = own.collect();
            if own.is_empty() {
                return Vec::new();
            }
            let items: Vec<Item> = own.iter().map(|item| items[*item].clone()).collect();
            let answers = source.engine.get_many(&items, self.token_of(at, tokens)).await;
            own.into_iter().zip(answers).collect()
        });
        let mut answers: Vec<_> = join_all(groups).await.into_iter().flatten().collect();
        answers.sort_by_key(|(item, _)| *item);
        answers.into_iter().map(|(_, answer)| answer).collect()
    }

    fn item(&self, get: &str, caller: &Caller) -> Result<(Served<'_>, Item), DataError> {
        let (name, id) = get.split_once('/').ok_or_else(|| {
            DataError::invalid_id(format!("{get:?} is not of the form contract/id"))
        })?;
        let served = self.served(name, caller)?;
        let key = served.contract.key(id);
        let key = key.map_err(|err| DataError::invalid_id(err.to_string()))?;
        let (policy, origin) = (Arc::clone(&served.policy), Arc::clone(&served.origin));
        Ok((served, Item { key, id: id.into(), policy, origin }))
    }
}

impl<'a> ItemBody<'a> {
    fn new(get: &'a str, result: Result<&'a (Served<'_>, Answer), &DataError>) -> Self {
        let failed = |err: &DataError, freshness| Self {
            get,
            status: err.status.as_u16(),
            value: None,
            freshness,
            kind: Some(format!("{}{}", ProblemDetails::TYPE_PREFIX, err.kind)),
            title: Some(err.title),
            detail: Some(err.detail.clone()),
            retry_after_s: err.retry_after_s,
        };
        let (served, answer) = match result {
            Ok(result) => result,
            Err(err) => return failed(err, None),
        };
        let freshness = Some(Freshness::new(answer, &served.policy));
        match json(answer, served) {
            Ok(value) => Self {
                get,
                status: StatusCode::OK.as_u16(),
                value: Some(value),
                freshness,
                kind: None,
                title: None,
                detail: None,
                retry_after_s: None,
            },
            Err(err) => failed(&err, freshness),
        }
    }
}

/// Says why an item shares no snapshot with the first one; `None`: it may.
fn unshared_snapshot(served: Served<'_>, first: Option<Served<'_>>) -> Option<&'static str> {
    if served.policy.rules.evidence != Evidence::Log {
        return Some("is read from a service, which shares no snapshot with other origins");
    }
    let is_elsewhere = first.is_some_and(|first| first.at != served.at);
    is_elsewhere.then_some("is of another source, and two databases have no common snapshot")
}

/// The evidence of a bound, where it is weaker than the log and a database.
fn weaker_evidence(evidence: Evidence) -> Option<&'static str> {
    (evidence != Evidence::Log).then_some(evidence.as_str())
}

/// The value as JSON. A value of another type would break the response's body.
///
/// # Errors
/// [`DataError`] where the answer has no value, or one that is not JSON.
fn json(answer: &Answer, served: &ServedContract) -> Result<Box<RawValue>, DataError> {
    let name = &served.policy.rules.name;
    let value = value::value(answer, &served.policy)?;
    if !value.head.is_empty() {
        let detail = format!("the value of {name} is not JSON; read it with a single request");
        return Err(DataError::new(StatusCode::NOT_ACCEPTABLE, "Value is not JSON", detail));
    }
    serde_json::from_slice(&value.body).map_err(|err| {
        let detail = format!("the stored value of {name} is not valid JSON: {err}");
        DataError::new(StatusCode::BAD_GATEWAY, "Malformed value", detail)
    })
}

impl Freshness {
    fn new(answer: &Answer, policy: &Policy) -> Self {
        let proof = answer.proof();
        Self {
            bound_ms: proof.bound.map(|bound| u64::try_from(millis_up(bound)).unwrap_or(u64::MAX)),
            tier: proof.tier.as_str(),
            stale: proof.stale.map(cache::Stale::as_str),
            soft: proof.soft,
            proof: weaker_evidence(policy.rules.evidence),
        }
    }
}

impl WorstProof {
    fn add(&mut self, answer: &Answer, policy: &Policy) {
        let proof = answer.proof();
        let distance = |tier| match tier {
            Tier::Local => 0,
            Tier::Shared => 1,
            Tier::Origin => 2,
        };
        self.items += 1;
        self.bound = self.bound.max(proof.bound.unwrap_or_default());
        self.unproven |= proof.bound.is_none();
        self.tier = self.tier.into_iter().chain([proof.tier]).max_by_key(|tier| distance(*tier));
        self.stale = self.stale.or(proof.stale.map(cache::Stale::as_str));
        self.soft |= proof.soft;
        // The alphabetical order of the names is their order from weak to strong.
        self.proof =
            [self.proof, weaker_evidence(policy.rules.evidence)].into_iter().flatten().min();
    }

    /// `Tidegate-Freshness` of all items; `None`: there are no items.
    fn freshness(&self, atomic: bool) -> Option<HeaderValue> {
        let tier = self.tier?.as_str();
        let mut text = match self.unproven {
            true => "unproven".to_owned(),
            false => format!("bound={}", millis_up(self.bound)),
        };
        text.push_str(&format!(", tier={tier}, items={}", self.items));
        if atomic {
            text.push_str(", atomic");
        }
        if let Some(stale) = self.stale {
            text.push_str(&format!(", stale={stale}"));
        }
        if self.soft {
            text.push_str(", soft");
        }
        if let Some(proof) = self.proof {
            text.push_str(&format!(", proof={proof}"));
        }
        Some(HeaderValue::try_from(text).expect("numbers and names are visible ASCII"))
    }

    fn cache_status(&self) -> HeaderValue {
        HeaderValue::from_static(match self.tier {
            Some(Tier::Origin) => "tidegate; fwd=partial",
            _ => "tidegate; hit",
        })
    }
}

fn parse(query: &str) -> Result<BatchQuery, DataError> {
    let invalid = |detail: String| DataError::new(StatusCode::BAD_REQUEST, "Invalid batch", detail);
    let mut batch = BatchQuery::default();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        // Forms and `URLSearchParams` encode a space as `+`.
        let value = percent::decode(&value.replace('+', " "))
            .ok_or_else(|| invalid(format!("{pair:?} is not valid UTF-8")))?;
        match name {
            "get" => batch.gets.push(value),
            "atomic" => {
                batch.atomic = match value.as_str() {
                    "" | "true" | "1" => true,
                    "false" | "0" => false,
                    _ => return Err(invalid(format!("atomic={value:?} is not true or false"))),
                }
            }
            _ => {
                return Err(invalid(format!(
                    "{name:?} is not a parameter; parameters: get, atomic"
                )));
            }
        }
    }
    match batch.gets.len() {
        0 => Err(invalid("no items; use /data/batch?get={contract}/{id}&get=…".into())),
        1..=MAX_ITEMS => Ok(batch),
        many => Err(invalid(format!("{many} items; a batch has at most {MAX_ITEMS}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_parsed_in_client_encodings() {
        let batch = |gets: &[&str], atomic| {
            let gets = gets.iter().map(|get| (*get).to_owned()).collect();
            BatchQuery { gets, atomic }
        };
        for (query, expected) in [
            ("get=price/42", batch(&["price/42"], false)),
            ("get=price%2F42&get=stock/a+b%2B", batch(&["price/42", "stock/a b+"], false)),
            ("atomic&get=price/42", batch(&["price/42"], true)),
            ("get=price/42&atomic=1&", batch(&["price/42"], true)),
            ("get=price/42&atomic=false", batch(&["price/42"], false)),
        ] {
            assert_eq!(parse(query).expect(query), expected, "{query}");
        }
    }

    #[test]
    fn invalid_batch_rejected_with_reason() {
        let many = vec!["get=a/1"; MAX_ITEMS + 1].join("&");
        for (query, reason) in [
            ("", "get={contract}/{id}"),
            ("atomic", "get={contract}/{id}"),
            ("got=price/42", "\"got\" is not a parameter"),
            ("get=%ff", "UTF-8"),
            ("get=price/42&atomic=maybe", "true or false"),
            (&many, "at most 100"),
        ] {
            let err = parse(query).expect_err(query);
            assert_eq!(err.status, StatusCode::BAD_REQUEST);
            assert!(err.detail.contains(reason), "{query}: {}", err.detail);
        }
    }
}
