//! `GET /api/v1/invalidations`

use std::fmt::Display;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use coherence::{Cause, Lsn, Subject};
use node::Record;
use serde::{Deserialize, Serialize, Serializer};

use crate::admin::SharedAdmin;
use crate::problem::{Parameters, problem};

/// The records of a response whose query names no limit.
const DEFAULT_LIMIT: usize = 100;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    limit: Option<usize>,
    subject: Option<String>,
}

/// One invalidation: cause, subjects, position, time, and how far it has been applied.
#[derive(Clone, Debug, Serialize)]
pub struct Invalidation {
    /// The source in whose log it is; only where there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The position in the log, such as `16/B374D848`.
    #[serde(serialize_with = "text")]
    pub position: Lsn,
    /// The cause.
    pub cause: Cause,
    /// The subjects: `k:<key>`, `t:<tag>`, a wildcard or `*`.
    #[serde(serialize_with = "texts")]
    pub subjects: Vec<Subject>,
    /// The number of all subjects; `subjects` may be cut.
    pub subjects_total: usize,
    /// The commit time by the database's clock, µs since 1970.
    pub committed_us: u64,
    /// The time of application in the shared tier, ms since 1970; null while it is not applied.
    pub shared_ms: Option<u64>,
    /// The time of application in this node's in-process tier, ms since 1970; null while it is not applied.
    pub local_ms: Option<u64>,
    /// The number of failed attempts to apply it.
    pub retries: u32,
}

impl From<Record> for Invalidation {
    fn from(record: Record) -> Self {
        Self {
            source: None,
            position: record.position,
            cause: record.cause,
            subjects: record.subjects,
            subjects_total: record.subjects_total,
            committed_us: record.committed_us,
            shared_ms: record.shared_ms,
            local_ms: record.local_ms,
            retries: record.retries,
        }
    }
}

fn text<S: Serializer>(value: &impl Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

fn texts<S: Serializer>(values: &[Subject], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(values.iter().map(ToString::to_string))
}

pub(super) async fn get(
    State(admin): SharedAdmin,
    Parameters(query): Parameters<ListQuery>,
) -> Response {
    let subject = match query.subject.as_deref().map(str::parse::<Subject>).transpose() {
        Ok(subject) => subject,
        Err(err) => return problem(StatusCode::BAD_REQUEST, "Invalid query", &err.to_string()),
    };
    let limit = query.limit.unwrap_or(DEFAULT_LIMIT);
    let mut latest = Vec::new();
    for source in &admin.sources {
        let name = (admin.sources.len() > 1).then(|| source.name.to_string());
        let records = source.journal.latest(limit, subject.as_ref()).into_iter();
        latest.extend(records.map(|record| Invalidation { source: name.clone(), ..record.into() }));
    }
    // Positions of several logs can't be compared. The sort is stable: within a log, the order stays.
    if admin.sources.len() > 1 {
        latest.sort_by_key(|record| std::cmp::Reverse(record.committed_us));
        latest.truncate(limit);
    }
    Json(latest).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_and_subjects_serialized_as_text() {
        let record = Record {
            position: Lsn(3),
            cause: Cause::Commit,
            subjects: vec!["t:product-3".parse().expect("a tag")],
            subjects_total: 1,
            committed_us: 3,
            shared_ms: Some(3),
            local_ms: None,
            retries: 0,
        };
        let shown = serde_json::to_value(Invalidation::from(record)).expect("JSON");
        assert_eq!((&shown["position"], &shown["cause"]), (&"0/3".into(), &"commit".into()));
        assert_eq!(shown["subjects"], serde_json::json!(["t:product-3"]));
        let fields = [
            "position",
            "cause",
            "subjects",
            "subjects_total",
            "committed_us",
            "shared_ms",
            "local_ms",
            "retries",
        ];
        assert!(shown.as_object().expect("an object").keys().eq(fields), "{shown}");
    }
}
