//! `POST /api/v1/invalidate` and `POST /api/v1/purge`: purge requests of applications and of operators.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::Arc;

use access::{AuditLogError, Caller, Object, Role};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use coherence::{Cause, Subject};
use contract::{Key, Pattern, Tag};
use node::{InvalidationError, InvalidationRequest, SourceReceipts};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::guard::require;
use super::token::by_source;
use crate::admin::{Admin, SharedAdmin};
use crate::problem::{problem, refused};

/// The largest body, in bytes.
pub(super) const BODY_BYTES_MAX: usize = 512 * 1024;

/// The body of a request: `{"tags": ["product-42"], "keys": [], "all": false}`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PurgeRequest {
    /// Surrogate keys, such as `product-42`.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Keys, such as `v1:catalog:price:42`.
    #[serde(default)]
    pub keys: Vec<String>,
    /// Wildcards for surrogate keys, such as `category-*`.
    #[serde(default)]
    pub tag_patterns: Vec<String>,
    /// Wildcards for keys, such as `v1:catalog:price:*`.
    #[serde(default)]
    pub key_patterns: Vec<String>,
    /// Names of contracts, for all keys of each.
    #[serde(default)]
    pub contracts: Vec<String>,
    /// All entries.
    #[serde(default)]
    pub all: bool,
    /// Count the matching entries only.
    #[serde(default)]
    pub dry_run: bool,
}

impl PurgeRequest {
    /// Parses the subjects. `key_pattern` returns the pattern of a contract's keys, or a sentence that says
    /// why there is none.
    ///
    /// # Errors
    /// [`InvalidationError::Invalid`]: a key, tag, wildcard or contract is invalid, or there is none, or
    /// there are more than [`node::purge::SUBJECTS_MAX`].
    pub fn check(
        &self,
        cause: Cause,
        key_pattern: impl Fn(&str) -> Result<Pattern, String>,
    ) -> Result<InvalidationRequest, InvalidationError> {
        let mut subjects = Vec::new();
        let invalid = |field: &str, text: &str, err: &dyn Display| {
            InvalidationError::Invalid(format!("{field}: {text:?}: {err}"))
        };
        for key in &self.keys {
            let key = Key::parse(key).map_err(|err| invalid("keys", key, &err))?;
            subjects.push(Subject::Key(key));
        }
        for tag in &self.tags {
            let tag = Tag::parse(tag).map_err(|err| invalid("tags", tag, &err))?;
            subjects.push(Subject::Tag(tag));
        }
        for text in &self.key_patterns {
            let keys = Pattern::of_keys(text).map_err(|err| invalid("key_patterns", text, &err))?;
            subjects.push(Subject::KeysLike(keys));
        }
        for text in &self.tag_patterns {
            let tags = Pattern::of_tags(text).map_err(|err| invalid("tag_patterns", text, &err))?;
            subjects.push(Subject::TagsLike(tags));
        }
        for name in &self.contracts {
            let keys = key_pattern(name).map_err(|err| invalid("contracts", name, &err))?;
            subjects.push(Subject::KeysLike(keys));
        }
        if self.all {
            subjects.push(Subject::Everything);
        }
        if subjects.is_empty() {
            return Err(InvalidationError::Invalid(
                "nothing to do: name at least one of `keys`, `tags`, `key_patterns`, \
                 `tag_patterns`, `contracts` or `all`"
                    .into(),
            ));
        }
        InvalidationRequest::new(cause, subjects)
    }
}

/// The response to an applied request: no answer given after it misses the invalidation.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct PurgeReceipt {
    /// The request's name in logs.
    pub id: String,
    /// The position in the log, such as `16/B374D848`; of several logs, the first one's.
    pub position: String,
    /// The positions by source, where the request went to several logs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub positions: BTreeMap<String, String>,
    /// A causal token: a read with it includes every commit up to the request.
    pub token: String,
    /// The number of keys, tags and wildcards.
    pub subjects: usize,
    /// The time until the shared tier and this node's own tier had applied the request, in ms.
    pub took_ms: u64,
}

impl From<SourceReceipts> for PurgeReceipt {
    fn from(receipts: SourceReceipts) -> Self {
        let positions: Vec<_> =
            receipts.0.iter().map(|(name, receipt)| (Arc::clone(name), receipt.position)).collect();
        let (first, all) = (receipts.0.first().map(|(_, receipt)| receipt), &receipts.0);
        let took = all.iter().map(|(_, receipt)| receipt.elapsed).max().unwrap_or_default();
        Self {
            id: first.map(|receipt| receipt.id.clone()).unwrap_or_default(),
            position: first.map(|receipt| receipt.position.to_string()).unwrap_or_default(),
            positions: by_source(&positions),
            token: receipts.tokens().map(|tokens| tokens.to_string()).unwrap_or_default(),
            subjects: all.iter().map(|(_, receipt)| receipt.subjects).max().unwrap_or_default(),
            took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

/// The response to a dry run: the entries that the request would remove.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct DryRun {
    /// The subjects: `k:<key>`, `t:<tag>`, `k*:<pattern>`, `t*:<pattern>` or `*`.
    pub subjects: Vec<String>,
    /// The matches in the shared tier.
    pub shared: TierMatches,
    /// The matches in the in-process tier of the node that answers.
    pub local: TierMatches,
}

/// The entries of one tier that the request matches.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct TierMatches {
    /// Their number.
    pub entries: u64,
    /// False: the scan of the tier was cut short, so there are at least as many.
    pub complete: bool,
    /// Their number by contract; the gateway's pages are under `pages`, keys of no contract under their
    /// prefix.
    pub contracts: BTreeMap<String, u64>,
    /// Some of the keys.
    pub examples: Vec<String>,
}

impl From<node::DryRun> for DryRun {
    fn from(dry_run: node::DryRun) -> Self {
        Self {
            subjects: dry_run.subjects.iter().map(ToString::to_string).collect(),
            shared: dry_run.shared.into(),
            local: dry_run.local.into(),
        }
    }
}

impl From<node::TierMatches> for TierMatches {
    fn from(matches: node::TierMatches) -> Self {
        Self {
            entries: matches.entries,
            complete: matches.complete,
            contracts: matches.contracts,
            examples: matches.examples.iter().map(ToString::to_string).collect(),
        }
    }
}

pub(super) async fn invalidate(
    admin: SharedAdmin,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Response {
    respond(admin, Cause::Application, &caller, request).await
}

pub(super) async fn purge(
    admin: SharedAdmin,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Response {
    respond(admin, Cause::Purge, &caller, request).await
}

async fn respond(
    State(admin): SharedAdmin,
    cause: Cause,
    caller: &Caller,
    request: Request,
) -> Response {
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if kind.is_none_or(|value| value.split(';').next() != Some("application/json")) {
        let detail = "send the purge request with `Content-Type: application/json`";
        return problem(StatusCode::UNSUPPORTED_MEDIA_TYPE, "Unsupported media type", detail);
    }
    let received = admin.bodies.json.receive(caller.from(), request.into_body(), BODY_BYTES_MAX);
    let body = match received.await {
        Ok(body) => body,
        Err(response) => return response,
    };
    let parsed = serde_json::from_slice::<Object<PurgeRequest>>(&body)
        .map_err(|err| InvalidationError::Invalid(format!("the body can't be parsed: {err}")))
        .and_then(|Object(body)| {
            let request = body.check(cause, |name| admin.invalidators.key_pattern(name))?;
            Ok((request, body.dry_run))
        });
    let (request, dry_run) = match parsed {
        Ok(parsed) => parsed,
        Err(err) => return error_response(&err),
    };
    if dry_run {
        return match admin.invalidators.dry_run(request).await {
            Ok(dry_run) => Json(DryRun::from(dry_run)).into_response(),
            Err(err) => error_response(&err),
        };
    }
    if request.subjects().contains(&Subject::Everything)
        && let Err(refusal) = require(&admin, caller, Role::Admin, "to purge everything")
    {
        return refused(&refusal);
    }
    match apply(&admin, cause, caller, request).await {
        Ok(receipt) => Json(PurgeReceipt::from(receipt)).into_response(),
        Err(response) => response,
    }
}

/// Applies a request between its two records in the audit log: the request and its result.
async fn apply(
    admin: &Admin,
    cause: Cause,
    caller: &Caller,
    request: InvalidationRequest,
) -> Result<SourceReceipts, Response> {
    if cause == Cause::Purge {
        let by = caller.name();
        tracing::warn!(by, from = %caller.from(), subjects = ?request.subjects(), "purge requested");
    }
    let (asked, ended) = match cause {
        Cause::Purge => ("purge", "purge.result"),
        _ => ("invalidate", "invalidate.result"),
    };
    let mut number = None;
    if let Some(log) = &admin.audit_log {
        let subjects: Vec<String> = request.subjects().iter().map(ToString::to_string).collect();
        let recorded = log.record(caller, asked, json!({ "subjects": subjects })).await;
        number = Some(recorded.map_err(|err| not_recorded(&err))?.number);
    }
    let applied = admin.invalidators.invalidate(request).await;
    if let Some(log) = &admin.audit_log {
        let result = match &applied {
            Ok(receipts) => {
                let requests = receipts.0.iter().map(|(_, receipt)| receipt);
                let text = |texts: Vec<String>| texts.join(" ");
                json!({
                    "record": number,
                    "request": text(requests.clone().map(|receipt| receipt.id.clone()).collect()),
                    "position": text(requests.map(|receipt| receipt.position.to_string()).collect()),
                })
            }
            Err(err) => json!({ "record": number, "error": err.to_string() }),
        };
        // The request is on record, and has happened: a result that can't be recorded is logged and counted.
        let _ = log.record(caller, ended, result).await;
    }
    applied.map_err(|err| error_response(&err))
}

fn not_recorded(err: &AuditLogError) -> Response {
    let detail = format!("nothing was purged, because it could not be recorded: {err}");
    problem(StatusCode::SERVICE_UNAVAILABLE, "Audit log not writable", &detail)
}

fn error_response(err: &InvalidationError) -> Response {
    let (status, title) = match err {
        InvalidationError::Invalid(_) => (StatusCode::BAD_REQUEST, "Invalid purge request"),
        InvalidationError::Busy => (StatusCode::TOO_MANY_REQUESTS, "Too many dry runs"),
        InvalidationError::NotLogged { .. } => {
            (StatusCode::SERVICE_UNAVAILABLE, "Purge request not fenced")
        }
        InvalidationError::NotScanned { .. } => (StatusCode::SERVICE_UNAVAILABLE, "Dry run failed"),
        InvalidationError::NotApplied { .. } => {
            (StatusCode::GATEWAY_TIMEOUT, "Purge request not applied yet")
        }
    };
    let mut response = problem(status, title, &err.to_string());
    if matches!(err, InvalidationError::Busy) {
        let seconds = HeaderValue::from(InvalidationError::RETRY_AFTER_S);
        response.headers_mut().insert(header::RETRY_AFTER, seconds);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_purge_request_names_field() {
        let check = |text: &str| {
            let body: PurgeRequest = serde_json::from_str(text).map_err(|err| err.to_string())?;
            let key_pattern = |name: &str| match name {
                "price" => Pattern::of_keys("v1:catalog:price:*").map_err(|err| err.to_string()),
                _ => Err("there is `price`".to_owned()),
            };
            let request = body.check(Cause::Purge, key_pattern).map_err(|err| err.to_string())?;
            Ok::<_, String>(request.subjects().to_vec())
        };
        let valid = check(r#"{"tags":["product-1","product-1"],"keys":["v1:catalog:price:1"]}"#);
        assert_eq!(valid.expect("valid").len(), 2);
        assert!(check("{}").is_err_and(|err| err.contains("at least one")));
        assert!(check(r#"{"tags":["a b"]}"#).is_err_and(|err| err.contains("\"a b\"")));
        assert!(check(r#"{"keys":["nonsense"]}"#).is_err_and(|err| err.contains("nonsense")));
        let wildcard = check(r#"{"key_patterns":["v1:catalog:price:*"],"contracts":["price"]}"#);
        let wildcard = wildcard.expect("valid");
        assert_eq!(wildcard.len(), 1, "a contract is the pattern of its keys: {wildcard:?}");
        assert!(check(r#"{"contracts":["prize"]}"#).is_err_and(|err| err.contains("`price`")));
        assert!(check(r#"{"key_patterns":["*"]}"#).is_err_and(|err| err.contains("`all`")));
        assert!(check(r#"{"tag_patterns":["a"]}"#).is_err_and(|err| err.contains("no `*`")));
        let exact = check(r#"{"tags":["50%*off"]}"#).expect("valid");
        assert_eq!(exact[0].to_string(), "t:50%*off", "a `*` in `tags` is no wildcard");
        assert!(check(r#"{"tag":["x"]}"#).is_err_and(|err| err.contains("unknown field")));
    }
}
