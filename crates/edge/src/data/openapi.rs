//! `/openapi.json`: the description of this API.

use std::sync::LazyLock;

use access::openapi::{
    self, Interface, Operation, ProblemKind, header_parameter, object, query_parameter, schema,
};
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response};
use serde_json::{Value, json};

use super::batch::MAX_ITEMS;
use crate::http::body::Body;
use crate::http::cache_control::NO_STORE;

static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| interface().document().to_string().into());

const DESCRIPTION: &str = "Values under their contracts, each with a proven bound of its staleness. The address is \
    private. `HEAD` is answered wherever `GET` is. Errors are problem details (RFC 9457) with a stable `type`. An unknown \
    path is `unknown-path` (404), another method `method-not-allowed` (405) with the header `Allow`.";

const fn kind(word: &'static str, status: u16, meaning: &'static str) -> ProblemKind {
    ProblemKind::new(word, status, meaning)
}

/// The kinds of problems: the titles of [`DataError`](super::error::DataError), in lower case.
#[rustfmt::skip]
const KINDS: &[ProblemKind] = &[
    kind("invalid-id", 400, "The contract or its origin rejects the ID."),
    kind("invalid-tidegate-after", 400, "The causal token is malformed."),
    kind("invalid-batch", 400, "The query of a batch is malformed."),
    kind("no-common-snapshot", 400, "The items of an atomic batch share no snapshot."),
    kind("unknown-contract", 404, "There is no such contract with a value."),
    kind("row-not-found", 404, "There is no row for the ID: `Tidegate-Freshness` says since when."),
    kind("unknown-path", 404, "There is no such path."),
    kind("method-not-allowed", 405, "The methods are in `Allow`."),
    kind("value-is-not-json", 406, "Of an item of a batch: read it with a single request."),
    kind("load-aborted", 500, "The load was aborted."),
    kind("origin-failed", 502, "The origin's answer can't be used."),
    kind("value-not-shareable", 502, "The origin's answer may not be shared."),
    kind("malformed-value", 502, "Of an item of a batch: its value is not JSON."),
    kind("missing-answer", 502, "Of an item of a batch: it has no answer."),
    kind("origin-unavailable", 503, "The origin does not answer, or refuses."),
    kind("origin-overloaded", 503, "Too many requests wait for the origin."),
    kind("freshness-not-proven", 503, "The contract forbids an answer without proof."),
    kind("origin-timed-out", 504, "The origin did not answer in time."),
];

/// The problems of any read.
const READ: &[&str] = &[
    "invalid-id",
    "invalid-tidegate-after",
    "load-aborted",
    "origin-failed",
    "value-not-shareable",
    "origin-unavailable",
    "origin-overloaded",
    "freshness-not-proven",
    "origin-timed-out",
];

pub(super) fn response() -> Response<Body> {
    let mut response = Response::new(Body::complete(DOCUMENT.clone()));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(openapi::MEDIA_TYPE));
    headers.insert(CACHE_CONTROL, NO_STORE);
    response
}

fn interface() -> Interface {
    Interface {
        title: "Tidegate: the data API",
        description: DESCRIPTION,
        operations: vec![single(), batch(), document()],
        schemas: vec![("Text", json!({ "type": "string" })), ("Item", item())],
        problems: KINDS.to_vec(),
    }
}

fn single() -> Operation {
    let variants = json!({
        "name": "variants", "in": "query", "style": "form", "explode": true,
        "description": "The variants of the contract's key, by name.",
        "schema": { "type": "object", "additionalProperties": { "type": "string" } },
    });
    proven(
        Operation::new("get", "/data/{contract}/{id}", "getValue", "Returns one value")
            .any_token()
            .in_path("contract", schema("Text"))
            .in_path("id", schema("Text"))
            .parameter(variants)
            .parameter(after())
            .answer(200, "The value, of the media type that its origin states.", json!({})),
    )
    .header(200, "Age", "Seconds since it was loaded.", json!({ "type": "integer", "minimum": 0 }))
    .problems(READ)
    .problems(&["unknown-contract", "row-not-found"])
}

fn batch() -> Operation {
    let gets = json!({
        "type": "array", "minItems": 1, "maxItems": MAX_ITEMS, "items": { "type": "string" },
    });
    let mut get = query_parameter("get", "`{contract}/{id}`, one for each item.", gets);
    get["required"] = true.into();
    let body = object(
        &["atomic", "items"],
        json!({
            "atomic": { "type": "boolean" },
            "by": { "enum": ["local", "shared", "origin"] },
            "items": { "type": "array", "items": schema("Item") },
        }),
    );
    let atomic = json!({ "enum": ["", "true", "1", "false", "0"] });
    proven(
        Operation::new("get", "/data/batch", "getValues", "Returns several values")
            .any_token()
            .parameter(get)
            .parameter(query_parameter("atomic", "All values from one snapshot.", atomic))
            .parameter(after())
            .answer(200, "The items in the order of the request, each with its own status.", body),
    )
    .problems(READ)
    .problems(&["invalid-batch", "no-common-snapshot"])
}

fn document() -> Operation {
    Operation::new("get", openapi::PATH, "getDescription", "This document").any_token().answer(
        200,
        "An OpenAPI 3.1 document.",
        json!({ "type": "object" }),
    )
}

fn after() -> Value {
    let description = "A causal token: the answer includes every commit up to it.";
    header_parameter("Tidegate-After", description, schema("Text"))
}

fn proven(operation: Operation) -> Operation {
    let text = || json!({ "type": "string" });
    operation
        .header(200, "Tidegate-Freshness", "`bound=MS`, or `unproven`, and the tier.", text())
        .header(200, "Cache-Status", "RFC 9211.", text())
}

fn item() -> Value {
    let freshness = object(
        &["bound_ms", "tier"],
        json!({
            "bound_ms": { "type": ["integer", "null"], "minimum": 0 },
            "tier": { "enum": ["local", "shared", "origin"] },
            "stale": { "type": "string" },
            "soft": { "type": "boolean" },
            "proof": { "type": "string" },
        }),
    );
    object(
        &["get", "status"],
        json!({
            "get": schema("Text"),
            "status": { "type": "integer", "minimum": 200, "maximum": 599 },
            "value": {},
            "freshness": freshness,
            "type": schema("Text"),
            "title": schema("Text"),
            "detail": schema("Text"),
            "retry_after_s": { "type": "integer", "minimum": 1 },
        }),
    )
}

#[cfg(test)]
mod tests {
    use contract::ProblemDetails;

    use super::*;

    /// The titles in the sources are those of the document.
    #[test]
    fn problems_of_the_sources_are_listed() {
        let sources = [
            include_str!("api.rs"),
            include_str!("batch.rs"),
            include_str!("error.rs"),
            include_str!("serve.rs"),
            include_str!("value.rs"),
        ];
        let is_title = |text: &&str| {
            text.starts_with(|first: char| first.is_ascii_uppercase())
                && text.chars().all(|letter| letter.is_ascii_alphabetic() || " -".contains(letter))
                && text.len() > 8
        };
        let code = |source: &'static str| source.split("#[cfg(test)]").next().unwrap_or_default();
        let quoted = |source| code(source).split('"').skip(1).step_by(2);
        let titles: Vec<&str> = sources.into_iter().flat_map(quoted).filter(is_title).collect();
        assert!(titles.len() > KINDS.len(), "{titles:?}");
        let known: Vec<&str> =
            openapi::ACCESS_PROBLEMS.iter().chain(KINDS).map(|kind| kind.word).collect();
        for title in titles {
            let kind = ProblemDetails::kind_of(title);
            assert!(known.contains(&&*kind), "{title}");
        }
        for operation in interface().operations {
            assert!(operation.unknown_problems(KINDS).is_empty(), "{}", operation.path());
        }
    }
}
