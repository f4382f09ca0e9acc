//! The shop's endpoint of a kind, called over HTTP.

use std::sync::Arc;

use async_trait::async_trait;
use axum::http::StatusCode;
use coherence::Clock;
use serde::Serialize;
use serde_json::value::RawValue;

use super::handler::{JobHandler, JobResult};
use super::options::JobOptions;
use crate::ledger::LeasedJob;
use crate::payment::{Answer, Call, Client, ProviderUrl, SecretFile, sign};

/// An endpoint.
pub(super) struct Endpoint {
    kind: String,
    client: Client,
    secret: Option<SecretFile>,
    is_batch: bool,
    clock: Arc<dyn Clock>,
}

impl Endpoint {
    pub(super) fn new(
        kind: &str,
        url: ProviderUrl,
        options: &JobOptions,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            kind: kind.to_owned(),
            client: Client::new(url, options.timeout),
            secret: options.secret_file.clone().map(SecretFile),
            is_batch: options.batch > 1,
            clock,
        }
    }

    /// Calls the endpoint once.
    ///
    /// # Errors
    /// There is no complete answer. The text says why.
    async fn call(&self, jobs: &[LeasedJob]) -> Result<Answer, String> {
        let body = if self.is_batch { batch(jobs) } else { single(jobs) };
        let (key, attempt) = jobs.first().map_or((0, 0), |job| (job.id, job.attempt));
        let mut headers = vec![("job-kind", self.kind.clone())];
        if !self.is_batch {
            headers.push(("job-attempt", attempt.to_string()));
        }
        if let Some(secret) = &self.secret {
            let secret = secret.read().await?;
            let now_seconds = self.clock.wall_ms() / 1_000;
            let signature = sign(&secret, body.as_bytes(), now_seconds);
            headers.push(("job-signature", signature.ok_or("the secret can't sign")?));
        }
        // The key of a batch names its first job: each job has its own in the body.
        let key = format!("job-{key}");
        let call = Call {
            method: "POST",
            path: "",
            content_type: "application/json",
            body,
            key: Some(&key).filter(|_| !self.is_batch).map(String::as_str),
            secret: None,
            headers: &headers,
        };
        self.client.send(call).await.map_err(|unknown| unknown.to_string())
    }
}

#[derive(Serialize)]
struct BatchBody {
    jobs: Vec<BatchJob>,
}

#[derive(Serialize)]
struct BatchJob {
    job: String,
    key: String,
    attempt: u32,
    content: Box<RawValue>,
}

fn single(jobs: &[LeasedJob]) -> String {
    jobs.first().map(|job| job.body.clone()).unwrap_or_default()
}

fn batch(jobs: &[LeasedJob]) -> String {
    let job = |job: &LeasedJob| BatchJob {
        job: job.id.to_string(),
        key: format!("job-{}", job.id),
        attempt: job.attempt,
        content: job.content(),
    };
    let body = BatchBody { jobs: jobs.iter().map(job).collect() };
    serde_json::to_string(&body).expect("texts, numbers and valid JSON can be written")
}

/// Returns the result of each job by the endpoint's answer.
fn judge(jobs: &[LeasedJob], answer: &Answer) -> Vec<JobResult> {
    let Answer { status, body } = answer;
    if status.is_success() {
        let failed = body["failed"].as_array().map(Vec::as_slice).unwrap_or_default();
        let result = |job: &LeasedJob| {
            let id = job.id.to_string();
            match failed.iter().find(|failed| failed["job"] == id.as_str()) {
                Some(failed) => {
                    JobResult::Failed(failed["reason"].as_str().unwrap_or("failed").to_owned())
                }
                None => JobResult::Done,
            }
        };
        return jobs.iter().map(result).collect();
    }
    let reason = format!("the endpoint answers {status}");
    let may_pass = [
        StatusCode::REQUEST_TIMEOUT,
        StatusCode::CONFLICT,
        StatusCode::TOO_EARLY,
        StatusCode::TOO_MANY_REQUESTS,
    ];
    let is_final = status.is_client_error() && !may_pass.contains(status);
    // Of several jobs, one may be the reason: each is sent alone next.
    let result = match is_final && jobs.len() == 1 {
        true => JobResult::Hopeless(reason),
        false => JobResult::Failed(reason),
    };
    vec![result; jobs.len()]
}

#[async_trait]
impl JobHandler for Endpoint {
    async fn run(&self, jobs: &[LeasedJob]) -> Vec<JobResult> {
        match self.call(jobs).await {
            Ok(answer) => {
                let is_well = !answer.status.is_server_error()
                    && answer.status != StatusCode::TOO_MANY_REQUESTS;
                let results = judge(jobs, &answer);
                if is_well { results } else { results.into_iter().map(JobResult::unwell).collect() }
            }
            Err(reason) => vec![JobResult::Unwell(reason); jobs.len()],
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn job(id: i64) -> LeasedJob {
        LeasedJob {
            id,
            attempt: 1,
            attempts_left: 1,
            body: "{\"a\":1}".to_owned(),
            enqueued_ms: 0,
            due_ms: 0,
            until_ms: 0,
        }
    }

    fn results(jobs: &[LeasedJob], status: u16, body: Value) -> Vec<JobResult> {
        judge(jobs, &Answer { status: StatusCode::from_u16(status).expect("a status"), body })
    }

    #[test]
    fn status_decides_about_the_job() {
        let one = [job(1)];
        let first = |status| results(&one, status, Value::Null).remove(0);
        assert_eq!(first(204), JobResult::Done);
        for status in [302, 408, 409, 429, 500, 503] {
            assert!(matches!(first(status), JobResult::Failed(_)), "{status}");
        }
        for status in [400, 404, 410, 422] {
            assert!(matches!(first(status), JobResult::Hopeless(_)), "{status}");
        }
    }

    #[test]
    fn jobs_of_a_batch_fail_alone() {
        let two = [job(1), job(2)];
        let failed = json!({ "failed": [{ "job": "2", "reason": "no" }] });
        assert_eq!(
            results(&two, 200, failed),
            [JobResult::Done, JobResult::Failed("no".to_owned())]
        );
        let refused = results(&two, 422, Value::Null);
        assert!(refused.iter().all(|result| matches!(result, JobResult::Failed(_))), "{refused:?}");
        assert!(batch(&two).contains("\"content\":{\"a\":1}"));
    }
}
