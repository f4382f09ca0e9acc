//! `/v1/jobs`

use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;

use super::body::{Segment, key, parse, timestamp};
use super::problem::Problem;
use crate::jobs::{JobError, JobRequest, Jobs};
use crate::ledger::LeasedJob;
use crate::request::InvalidRequest;
use crate::service::SaleError;

type RequestBody = Result<Bytes, BytesRejection>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JobBody {
    kind: String,
    /// As it is written: numbers keep their digits.
    content: Box<RawValue>,
    unique: Option<String>,
    #[serde(default)]
    delay_seconds: u64,
    ttl_seconds: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClaimBody {
    kind: String,
    #[serde(default = "one")]
    limit: u32,
    #[serde(default = "half_a_minute")]
    lease_seconds: u64,
    #[serde(default)]
    worker: String,
}

const fn one() -> u32 {
    1
}

const fn half_a_minute() -> u64 {
    30
}

#[derive(Serialize)]
struct ClaimedBody<'a> {
    kind: &'a str,
    jobs: Vec<ClaimedJob>,
}

#[derive(Serialize)]
struct ClaimedJob {
    job: String,
    token: u32,
    attempts_left: u32,
    content: Box<RawValue>,
    enqueued_at: String,
    leased_until: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DoneBody {
    token: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FailBody {
    kind: String,
    token: u32,
    #[serde(default)]
    reason: String,
    #[serde(default, rename = "final")]
    is_final: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExtendBody {
    token: u32,
    #[serde(default = "half_a_minute")]
    lease_seconds: u64,
}

pub(super) fn routes<S: Clone + Send + Sync + 'static>(jobs: Jobs) -> Router<S> {
    Router::new()
        .route("/v1/jobs", post(enqueue).get(list))
        .route("/v1/jobs/claim", post(claim))
        .route("/v1/jobs/{job}/done", post(done))
        .route("/v1/jobs/{job}/fail", post(fail))
        .route("/v1/jobs/{job}/extend", post(extend))
        .with_state(jobs)
}

impl From<JobError> for Problem {
    fn from(err: JobError) -> Self {
        let (status, kind, title) = match &err {
            JobError::Invalid(invalid) => return invalid.clone().into(),
            JobError::Ledger(ledger) => return SaleError::Ledger(ledger.clone()).into(),
            JobError::UnknownKind(_) => {
                (StatusCode::NOT_FOUND, "unknown-kind", "Unknown kind of jobs")
            }
            JobError::HasEndpoint(_) => {
                (StatusCode::CONFLICT, "kind-has-endpoint", "Jobs are sent to an endpoint")
            }
            JobError::Draining(_) => (StatusCode::CONFLICT, "kind-draining", "Jobs are drained"),
            JobError::Busy { .. } => {
                (StatusCode::SERVICE_UNAVAILABLE, "jobs-busy", "Too many jobs")
            }
            JobError::KeyReused => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "idempotency-key-reused",
                "Idempotency key used for another request",
            ),
            JobError::LeaseLost { .. } => (StatusCode::CONFLICT, "lease-lost", "Lease lost"),
            JobError::UnknownJob { .. } => (StatusCode::NOT_FOUND, "unknown-job", "Unknown job"),
        };
        Self::new(status, kind, title, err.to_string())
    }
}

fn job_id(text: &str) -> Result<i64, Problem> {
    text.parse().map_err(|_| {
        let detail = format!("{text:?}: the name of a job is a number");
        Problem::new(StatusCode::NOT_FOUND, "unknown-job", "Unknown job", detail)
    })
}

fn seconds_to_ms(field: &str, seconds: u64) -> Result<i64, InvalidRequest> {
    let ms = seconds.checked_mul(1_000).and_then(|ms| i64::try_from(ms).ok());
    ms.ok_or_else(|| InvalidRequest::new(field, "write a time up to a year"))
}

async fn enqueue(
    State(jobs): State<Jobs>,
    headers: HeaderMap,
    body: RequestBody,
) -> Result<Response, Problem> {
    let key = key(&headers)?;
    let JobBody { kind, content, unique, delay_seconds, ttl_seconds } = parse(&headers, body)?;
    let delay_ms = seconds_to_ms("delay_seconds", delay_seconds)?;
    let ttl_ms = ttl_seconds.map(|ttl| seconds_to_ms("ttl_seconds", ttl)).transpose()?;
    let request = JobRequest::new(&kind, &content, unique.as_deref(), delay_ms, ttl_ms)?;
    let enqueued = jobs.enqueue(vec![request.with_key(&key)]).await?;
    let id = enqueued.first().map(|(id, _)| id.to_string());
    Ok((StatusCode::CREATED, Json(json!({ "job": id, "kind": kind }))).into_response())
}

async fn list(State(jobs): State<Jobs>) -> Result<Response, Problem> {
    let stats = jobs.stats().await.map_err(JobError::from)?;
    Ok(Json(json!({ "kinds": stats })).into_response())
}

async fn claim(
    State(jobs): State<Jobs>,
    headers: HeaderMap,
    body: RequestBody,
) -> Result<Response, Problem> {
    let ClaimBody { kind, limit, lease_seconds, worker } = parse(&headers, body)?;
    let leased = jobs.claim(&kind, limit, lease_seconds, &worker).await?;
    let jobs = leased.iter().map(claimed).collect();
    Ok(Json(ClaimedBody { kind: &kind, jobs }).into_response())
}

fn claimed(job: &LeasedJob) -> ClaimedJob {
    ClaimedJob {
        job: job.id.to_string(),
        token: job.attempt,
        attempts_left: job.attempts_left,
        content: job.content(),
        enqueued_at: timestamp(job.enqueued_ms),
        leased_until: timestamp(job.until_ms),
    }
}

async fn done(
    State(jobs): State<Jobs>,
    Segment(job): Segment,
    headers: HeaderMap,
    body: RequestBody,
) -> Result<Response, Problem> {
    let DoneBody { token } = parse(&headers, body)?;
    jobs.done(job_id(&job)?, token).await?;
    Ok(Json(json!({ "job": job, "state": "done" })).into_response())
}

async fn fail(
    State(jobs): State<Jobs>,
    Segment(job): Segment,
    headers: HeaderMap,
    body: RequestBody,
) -> Result<Response, Problem> {
    let FailBody { kind, token, reason, is_final } = parse(&headers, body)?;
    let end = jobs.fail(&kind, job_id(&job)?, token, &reason, is_final).await?;
    Ok(Json(json!({ "job": job, "state": end.word() })).into_response())
}

async fn extend(
    State(jobs): State<Jobs>,
    Segment(job): Segment,
    headers: HeaderMap,
    body: RequestBody,
) -> Result<Response, Problem> {
    let ExtendBody { token, lease_seconds } = parse(&headers, body)?;
    let until_ms = jobs.extend(job_id(&job)?, token, lease_seconds).await?;
    Ok(Json(json!({ "job": job, "leased_until": timestamp(until_ms) })).into_response())
}
