//! `/openapi.json`: the description of this API, made with the limits that the code applies.

mod carts;
mod checkouts;
mod gifts;
mod holds;
mod jobs;
mod problems;
mod schemas;
mod stock;

use std::sync::LazyLock;

use access::Role;
use access::openapi::{self, Interface, Operation};
use axum::http::header;
use axum::response::IntoResponse;
use serde_json::json;

static DOCUMENT: LazyLock<String> = LazyLock::new(|| interface().document().to_string());

static PATHS: LazyLock<String> =
    LazyLock::new(|| format!("the paths are {}", interface().paths().join(", ")));

const DESCRIPTION: &str = "Stock, holds, checkouts, orders and jobs. The address is private: its callers are the shop's \
    own servers. Bodies are JSON, and unknown members are errors. Amounts are integers in minor units; \
    integers are written without a fraction and an exponent. A request may be \
    repeated with its `Idempotency-Key`, and gets the same answer. Errors are problem details (RFC 9457) with a stable \
    `type`. An unknown path is `not-found` (404), a method that a path does not have is `method-not-allowed` (405) with the \
    header `Allow`. A message that is no HTTP, or whose head is too large, gets a status of 400, 414 or 431 without a body.";

pub(super) async fn get() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, openapi::MEDIA_TYPE)], DOCUMENT.as_str())
}

/// Names the paths, for requests of others.
pub(super) fn paths() -> &'static str {
    &PATHS
}

fn interface() -> Interface {
    let document = Operation::new("get", openapi::PATH, "getDescription", "This document")
        .role(Role::Viewer)
        .answer(200, "An OpenAPI 3.1 document.", json!({ "type": "object" }));
    let parts = [
        stock::operations(),
        holds::operations(),
        carts::operations(),
        gifts::operations(),
        checkouts::operations(),
        jobs::operations(),
    ];
    Interface {
        title: "Tidegate: the sale",
        description: DESCRIPTION,
        operations: parts.into_iter().flatten().chain([document]).collect(),
        schemas: schemas::all(),
        problems: problems::KINDS.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn operations_are_the_routes() {
        let described = interface().operations;
        let described: BTreeSet<(String, String)> = described
            .iter()
            .map(|operation| (operation.path().to_owned(), operation.method().to_owned()))
            .collect();
        let mut routes = harness::routes::of_source(include_str!("../http.rs"));
        routes.extend(harness::routes::of_source(include_str!("jobs.rs")));
        assert_eq!(described, routes);
    }

    /// Returns the words of the tables of problems, each with its status: `| `word`, `other` | 409, 422 | …`.
    fn documented(page: &str) -> BTreeSet<(String, u16)> {
        let mut rows = BTreeSet::new();
        for line in page.lines() {
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            let [words, statuses, ..] = cells[..] else { continue };
            let statuses: Option<Vec<u16>> =
                statuses.split(", ").map(|status| status.parse().ok()).collect();
            let Some(statuses) = statuses else { continue };
            for word in words.split('`').skip(1).step_by(2) {
                rows.extend(statuses.iter().map(|status| (word.to_owned(), *status)));
            }
        }
        rows
    }

    #[test]
    fn problems_are_those_of_the_manual() {
        let manual =
            [include_str!("../../../../docs/sale.md"), include_str!("../../../../docs/jobs.md")];
        let manual: BTreeSet<_> = manual.into_iter().flat_map(documented).collect();
        let listed = openapi::ACCESS_PROBLEMS.iter().chain(problems::KINDS);
        let listed: BTreeSet<_> = listed.map(|kind| (kind.word.to_owned(), kind.status)).collect();
        let unlisted: Vec<_> = manual.difference(&listed).collect();
        assert!(unlisted.is_empty(), "in the manual only: {unlisted:?}");
        let unwritten: Vec<_> = listed.difference(&manual).collect();
        assert!(unwritten.is_empty(), "not in the manual: {unwritten:?}");
    }

    /// The words in the sources of handlers and errors.
    #[test]
    fn problems_of_the_sources_are_listed() {
        let known: BTreeSet<&str> =
            openapi::ACCESS_PROBLEMS.iter().chain(problems::KINDS).map(|kind| kind.word).collect();
        let errors = include_str!("../service/error.rs");
        let kinds =
            errors.split("pub fn kind").nth(1).and_then(|rest| rest.split("\n    }\n").next());
        let mut words: Vec<&str> = quoted(kinds.expect("the function")).collect();
        let jobs = include_str!("jobs.rs");
        let kinds =
            jobs.split("impl From<JobError>").nth(1).and_then(|rest| rest.split("\n}\n").next());
        words.extend(quoted(kinds.expect("the function")).filter(|word| is_word(word)));
        for source in [
            include_str!("audit.rs"),
            include_str!("body.rs"),
            include_str!("carts.rs"),
            include_str!("checkouts.rs"),
            include_str!("problem.rs"),
            jobs,
        ] {
            let calls = ["Problem::new(", "Err(ended("];
            let made = calls.into_iter().flat_map(|call| source.split(call).skip(1));
            let arguments = made.filter_map(|rest| rest.split(';').next());
            words.extend(arguments.filter_map(|text| quoted(text).find(|text| is_word(text))));
        }
        assert!(words.len() > 30, "{words:?}");
        let unlisted: Vec<_> = words.into_iter().filter(|word| !known.contains(word)).collect();
        assert!(unlisted.is_empty(), "{unlisted:?}");
    }

    fn quoted(text: &str) -> impl Iterator<Item = &str> {
        text.split('"').skip(1).step_by(2)
    }

    fn is_word(text: &str) -> bool {
        text.contains('-') && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')
    }

    #[test]
    fn references_and_words_resolve() {
        let interface = interface();
        let document = interface.document();
        let text = document.to_string();
        for name in text.split("#/components/schemas/").skip(1) {
            let name = name.split('"').next().unwrap_or_default();
            assert!(document["components"]["schemas"].get(name).is_some(), "{name}");
        }
        let ids: Vec<&str> = text
            .split("\"operationId\":\"")
            .skip(1)
            .filter_map(|rest| rest.split('"').next())
            .collect();
        assert!(ids.len() > interface.operations.len(), "links name operations");
        let distinct: BTreeSet<&str> = ids.iter().copied().collect();
        assert_eq!(distinct.len(), interface.operations.len(), "{ids:?}");
        for operation in &interface.operations {
            let unknown = operation.unknown_problems(&interface.problems);
            assert!(unknown.is_empty(), "{}: {unknown:?}", operation.path());
        }
    }
}
