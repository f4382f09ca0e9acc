//! `GET /data/batch?get={contract}/{id}&get=…&atomic`: several values in one answer.

use std::sync::Arc;
use std::time::Duration;

use cache::{Answer, Content, Item, OneMoment, Policy, Tier};
use coherence::After;
use contract::Evidence;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};
use serde::Serialize;
use serde_json::value::RawValue;

use super::refusal::Refusal;
use super::{CACHE_STATUS, DataFace, Face, JSON, NO_STORE, TIDEGATE_FRESHNESS, bad_id, decoded};
use crate::body::Body;
use crate::proof::millis_up;

/// What comes after `/data/`.
pub(super) const PATH: &str = "batch";

/// The most items of one batch.
const MAX_ITEMS: usize = 100;

/// What was asked.
#[derive(Debug, Default, PartialEq)]
struct Question {
    /// As written: contract, `/`, id.
    gets: Vec<String>,
    atomic: bool,
}

/// The answer as it is sent.
#[derive(Serialize)]
struct Reply<'a> {
    atomic: bool,
    /// Who gave the answers of a read-atomic batch.
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<&'static str>,
    items: Vec<Line<'a>>,
}

#[derive(Serialize)]
struct Line<'a> {
    get: &'a str,
    /// As a single read would have been answered.
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    freshness: Option<Freshness>,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_s: Option<u64>,
}

#[derive(Serialize)]
struct Freshness {
    /// `None`: nothing is proven.
    bound_ms: Option<u64>,
    tier: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    stale: Option<&'static str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    soft: bool,
    /// Where that is less than the log and a database.
    #[serde(skip_serializing_if = "Option::is_none")]
    proof: Option<&'static str>,
}

/// What holds for all answers: the worst of each.
#[derive(Default)]
struct Worst {
    items: usize,
    bound: Duration,
    unproven: bool,
    tier: Option<Tier>,
    stale: Option<&'static str>,
    soft: bool,
    proof: Option<&'static str>,
}

impl DataFace {
    pub(super) async fn batch(
        &self,
        query: &str,
        after: Option<After>,
    ) -> Result<Response<Body>, Refusal> {
        let Question { gets, atomic } = question(query)?;
        let asked: Vec<_> = gets.iter().map(|get| self.item(get)).collect();
        let items = asked.iter().filter_map(|asked| Some(asked.as_ref().ok()?.1.clone()));
        let items: Vec<Item> = items.collect();
        let (answers, by) = if atomic {
            let faces = asked.iter().filter_map(|asked| Some(asked.as_ref().ok()?.0));
            let mut services = faces.filter(|face| face.policy.evidence != Evidence::Log);
            if let Some(face) = services.next() {
                let name = &face.policy.name;
                let detail = format!(
                    "{name} is given by a service, which has no snapshot in common with anything: \
                     leave it out, or ask without `atomic`"
                );
                return Err(Refusal::new(
                    StatusCode::BAD_REQUEST,
                    "these have no common moment",
                    detail,
                ));
            }
            let OneMoment { answers, by } = self.engine.get_together(&items, after).await?;
            (answers, Some(by.as_str()))
        } else {
            (self.engine.get_many(&items, after).await, None)
        };
        let mut answers = answers.into_iter();
        let answered: Vec<Result<(&Face, Answer), Refusal>> = asked
            .into_iter()
            .map(|asked| {
                let (face, item) = asked?;
                let none = || Refusal::new(StatusCode::BAD_GATEWAY, "no value", String::new());
                let answer = answers.next().ok_or_else(none)??;
                if let Some(sampler) = &self.sampler {
                    sampler.answered(&item.key, &item.id, &face.policy, &answer);
                }
                Ok((face, answer))
            })
            .collect();
        let mut worst = Worst::default();
        for (face, answer) in answered.iter().flatten() {
            worst.add(answer, &face.policy);
        }
        let lines = gets.iter().zip(&answered);
        let lines = lines.map(|(get, answered)| Line::of(get, answered.as_ref()));
        let reply = Reply { atomic, by, items: lines.collect() };
        let json = serde_json::to_vec(&reply).expect("texts, numbers and checked JSON");
        let mut response = Response::new(Body::whole(json.into()));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, JSON);
        headers.insert(CACHE_CONTROL, NO_STORE);
        if let Some(freshness) = worst.freshness(atomic) {
            headers.insert(TIDEGATE_FRESHNESS, freshness);
            headers.insert(CACHE_STATUS, worst.cache_status());
        }
        Ok(response)
    }

    fn item(&self, get: &str) -> Result<(&Face, Item), Refusal> {
        let (name, id) = get
            .split_once('/')
            .ok_or_else(|| bad_id(format!("{get:?} is not of the form contract/id")))?;
        let face = self.face(name)?;
        let key = face.contract.key(id).map_err(|err| bad_id(err.to_string()))?;
        let (policy, origin) = (Arc::clone(&face.policy), Arc::clone(&face.origin));
        Ok((face, Item { key, id: id.into(), policy, origin }))
    }
}

impl<'a> Line<'a> {
    fn of(get: &'a str, answered: Result<&'a (&Face, Answer), &Refusal>) -> Self {
        let none = |refusal: &Refusal, freshness| Self {
            get,
            status: refusal.status.as_u16(),
            value: None,
            freshness,
            title: Some(refusal.title),
            detail: Some(refusal.detail.clone()),
            retry_after_s: refusal.retry_after_s,
        };
        let (face, answer) = match answered {
            Ok(answered) => answered,
            Err(refusal) => return none(refusal, None),
        };
        let freshness = Some(Freshness::of(answer, &face.policy));
        match value(answer, face) {
            Ok(value) => Self {
                get,
                status: StatusCode::OK.as_u16(),
                value: Some(value),
                freshness,
                title: None,
                detail: None,
                retry_after_s: None,
            },
            Err(refusal) => none(&refusal, freshness),
        }
    }
}

/// What a bound rests on, where that is less than the log and a database.
fn weaker(evidence: Evidence) -> Option<&'static str> {
    (evidence != Evidence::Log).then_some(evidence.as_str())
}

/// What is no JSON would break the answers beside it.
fn value<'a>(answer: &'a Answer, face: &Face) -> Result<&'a RawValue, Refusal> {
    let body = super::body(answer, &face.policy)?;
    if let Content::Present(value) = &answer.entry.content
        && !value.head.is_empty()
    {
        let detail = format!("{} is no JSON here: read it by itself", face.policy.name);
        return Err(Refusal::new(StatusCode::NOT_ACCEPTABLE, "not in a batch", detail));
    }
    serde_json::from_slice(body).map_err(|err| {
        let detail = format!("what is stored for {} is no JSON: {err}", face.policy.name);
        Refusal::new(StatusCode::BAD_GATEWAY, "no value", detail)
    })
}

impl Freshness {
    fn of(answer: &Answer, policy: &Policy) -> Self {
        let proof = answer.proof();
        Self {
            bound_ms: proof.bound.map(|bound| u64::try_from(millis_up(bound)).unwrap_or(u64::MAX)),
            tier: proof.tier.as_str(),
            stale: proof.stale.map(cache::Stale::as_str),
            soft: proof.soft,
            proof: weaker(policy.evidence),
        }
    }
}

impl Worst {
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
        // In the order of the alphabet, which is that of their weakness.
        self.proof = [self.proof, weaker(policy.evidence)].into_iter().flatten().min();
    }

    /// As for a single answer, of all of them; `None`: there is none.
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
        Some(HeaderValue::try_from(text).expect("numbers and names are plain text"))
    }

    fn cache_status(&self) -> HeaderValue {
        HeaderValue::from_static(match self.tier {
            Some(Tier::Origin) => "tidegate; fwd=partial",
            _ => "tidegate; hit",
        })
    }
}

fn question(query: &str) -> Result<Question, Refusal> {
    let refuse = |detail: String| Refusal::new(StatusCode::BAD_REQUEST, "that is no batch", detail);
    let mut question = Question::default();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        // As forms and `URLSearchParams` write it.
        let value = decoded(&value.replace('+', " "))
            .ok_or_else(|| refuse(format!("{pair:?} is not well-formed UTF-8")))?;
        match name {
            "get" => question.gets.push(value),
            "atomic" => {
                question.atomic = match value.as_str() {
                    "" | "true" | "1" => true,
                    "false" | "0" => false,
                    _ => return Err(refuse(format!("atomic={value:?}: write true or false"))),
                }
            }
            _ => return Err(refuse(format!("{name:?} is not known here; there are get, atomic"))),
        }
    }
    match question.gets.len() {
        0 => Err(refuse("nothing is asked for: /data/batch?get={contract}/{id}&get=…".into())),
        1..=MAX_ITEMS => Ok(question),
        many => Err(refuse(format!("{many} items; a batch takes at most {MAX_ITEMS}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_read_as_clients_write_them() {
        let asked = |gets: &[&str], atomic| {
            let gets = gets.iter().map(|get| (*get).to_owned()).collect();
            Question { gets, atomic }
        };
        for (query, expected) in [
            ("get=price/42", asked(&["price/42"], false)),
            ("get=price%2F42&get=stock/a+b%2B", asked(&["price/42", "stock/a b+"], false)),
            ("atomic&get=price/42", asked(&["price/42"], true)),
            ("get=price/42&atomic=1&", asked(&["price/42"], true)),
            ("get=price/42&atomic=false", asked(&["price/42"], false)),
        ] {
            assert_eq!(question(query).expect(query), expected, "{query}");
        }
    }

    #[test]
    fn what_is_no_batch_is_refused_with_its_reason() {
        let many = vec!["get=a/1"; MAX_ITEMS + 1].join("&");
        for (query, says) in [
            ("", "get={contract}/{id}"),
            ("atomic", "get={contract}/{id}"),
            ("got=price/42", "\"got\" is not known"),
            ("get=%ff", "UTF-8"),
            ("get=price/42&atomic=maybe", "true or false"),
            (&many, "at most 100"),
        ] {
            let refusal = question(query).expect_err(query);
            assert_eq!(refusal.status, StatusCode::BAD_REQUEST);
            assert!(refusal.detail.contains(says), "{query}: {}", refusal.detail);
        }
    }
}
