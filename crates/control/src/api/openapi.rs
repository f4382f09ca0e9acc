//! `/openapi.json`: the description of the admin API.

mod operations;

use std::sync::LazyLock;

use access::openapi::{self, Interface, ProblemKind};
use axum::http::header;
use axum::response::IntoResponse;
use serde_json::json;

static DOCUMENT: LazyLock<String> = LazyLock::new(|| interface().document().to_string());

static PATHS: LazyLock<String> =
    LazyLock::new(|| format!("the paths are {}", interface().paths().join(", ")));

const DESCRIPTION: &str = "Health, metrics, the state of a node, purges and causal tokens. The address is private. Errors are \
    problem details (RFC 9457) with a stable `type`. An unknown path is `not-found` (404), another method \
    `method-not-allowed` (405) with the header `Allow`.";

const fn kind(word: &'static str, status: u16, meaning: &'static str) -> ProblemKind {
    ProblemKind::new(word, status, meaning)
}

/// The kinds of problems: the titles in lower case.
#[rustfmt::skip]
const KINDS: &[ProblemKind] = &[
    kind("invalid-query", 400, "A parameter of the query can't be accepted."),
    kind("invalid-purge-request", 400, "The subjects of the request can't be accepted."),
    kind("invalid-events", 400, "The events can't be parsed."),
    kind("authentication-failed", 401, "The sender of events is not authenticated."),
    kind("not-found", 404, "There is no such path, or the source takes no events."),
    kind("unknown-source", 404, "There is no such source."),
    kind("method-not-allowed", 405, "The path has other methods: `Allow`."),
    kind("body-incomplete", 408, "The body did not arrive as a whole."),
    kind("restart-needed", 409, "The changed configuration needs a restart."),
    kind("body-too-large", 413, "The body is too large."),
    kind("unsupported-media-type", 415, "The body is not sent as JSON."),
    kind("invalid-configuration", 422, "The configuration is invalid; nothing was changed."),
    kind("too-many-dry-runs", 429, "Too many dry runs wait."),
    kind("too-many-reloads", 429, "Too many reloads wait."),
    kind("metrics-could-not-be-encoded", 500, "The metrics could not be encoded."),
    kind("too-many-requests", 503, "Too many bodies are being received."),
    kind("audit-log-not-writable", 503, "Nothing was done, since it could not be recorded."),
    kind("purge-request-not-fenced", 503, "The database's log did not take the request."),
    kind("dry-run-failed", 503, "A tier could not be scanned."),
    kind("no-token-available", 503, "The database did not say how far its log has come."),
    kind("events-not-accepted-by-this-node-now", 503, "Send the events to this or another node again."),
    kind("not-reloaded", 503, "A server that the configuration needs does not answer; nothing was changed."),
    kind("no-reload-now", 503, "The node starts or ends."),
    kind("purge-request-not-applied-yet", 504, "The request is in the log, and not every tier has applied it."),
];

pub(super) async fn get() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, openapi::MEDIA_TYPE)], DOCUMENT.as_str())
}

/// Names the paths, for requests of others.
pub(super) fn paths() -> &'static str {
    &PATHS
}

fn interface() -> Interface {
    let text = json!({ "type": "string" });
    let texts = json!({ "type": "array", "items": text });
    let count = json!({ "type": "integer", "minimum": 0 });
    Interface {
        title: "Tidegate: the admin API",
        description: DESCRIPTION,
        operations: operations::all(),
        schemas: vec![("Text", text), ("Texts", texts), ("Count", count)],
        problems: KINDS.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use contract::ProblemDetails;

    use super::*;

    #[test]
    fn operations_are_the_routes() {
        let described = interface().operations;
        let described: BTreeSet<(String, String)> = described
            .iter()
            .map(|operation| (operation.path().to_owned(), operation.method().to_owned()))
            .collect();
        assert_eq!(described, harness::routes::of_source(include_str!("../api.rs")));
    }

    /// The titles in the sources are those of the document.
    #[test]
    fn problems_of_the_sources_are_listed() {
        let known: Vec<&str> =
            openapi::ACCESS_PROBLEMS.iter().chain(KINDS).map(|kind| kind.word).collect();
        let sources = [
            include_str!("../api.rs"),
            include_str!("events.rs"),
            include_str!("guard.rs"),
            include_str!("inspect.rs"),
            include_str!("invalidations.rs"),
            include_str!("metrics.rs"),
            include_str!("purge.rs"),
            include_str!("reload.rs"),
            include_str!("token.rs"),
            include_str!("../body.rs"),
            include_str!("../problem.rs"),
        ];
        let titles: Vec<&str> = sources.into_iter().flat_map(titles).collect();
        assert!(titles.len() > 20, "{titles:?}");
        for title in titles {
            assert!(known.contains(&&*ProblemDetails::kind_of(title)), "{title}");
        }
        for operation in interface().operations {
            assert!(operation.unknown_problems(KINDS).is_empty(), "{}", operation.path());
        }
    }

    /// Returns the text after each status.
    fn titles(source: &'static str) -> impl Iterator<Item = &'static str> {
        source.split("StatusCode::").skip(1).filter_map(|rest| {
            let (_, rest) = rest.split_once(',')?;
            let title = rest.trim_start().strip_prefix('"')?.split('"').next()?;
            title.starts_with(|first: char| first.is_ascii_uppercase()).then_some(title)
        })
    }
}
