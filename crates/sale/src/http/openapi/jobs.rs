//! `/v1/jobs`

use access::Role;
use access::openapi::{Operation, object, schema};
use serde_json::{Value, json};

use super::problems::{BODY, KEY, LEDGER};
use super::schemas::{idempotency_key, or_null};
use crate::http::limits::BODY_BYTES_MAX;
use crate::jobs::{CLAIM_MAX, JOB_BYTES_MAX, JOB_SECONDS_MAX, LEASES, UNIQUE_BYTES_MAX};
use crate::rules::JobClass;

pub(super) fn operations() -> Vec<Operation> {
    let of_job = |path: &'static str, id: &'static str, summary: &'static str| {
        let job = json!({ "type": "string", "pattern": "^[0-9]{1,18}$" });
        Operation::new("post", path, id, summary)
            .role(Role::Operator)
            .in_path("job", job)
            .problems(BODY)
            .problems(&["unknown-job", "lease-lost"])
            .problems(LEDGER)
    };
    vec![
        Operation::new("post", "/v1/jobs", "createJob", "Enqueues a job, durably")
            .role(Role::Operator)
            .parameter(idempotency_key())
            .body(job_body(), true, BODY_BYTES_MAX)
            .answer(
                201,
                "The job, or the open one with the same unique key.",
                object(&["job", "kind"], json!({ "job": schema("Text"), "kind": schema("Text") })),
            )
            .problems(BODY)
            .problems(KEY)
            .problems(&["unknown-kind", "kind-draining", "jobs-busy"])
            .problems(LEDGER),
        Operation::new("get", "/v1/jobs", "listJobs", "Returns the counts of all kinds")
            .role(Role::Viewer)
            .answer(200, "The counts.", counts())
            .problems(LEDGER),
        Operation::new("post", "/v1/jobs/claim", "claimJobs", "Leases due jobs")
            .role(Role::Operator)
            .body(claim_body(), true, BODY_BYTES_MAX)
            .answer(200, "The leased jobs; none if none is due.", claimed())
            .problems(BODY)
            .problems(&["unknown-kind", "kind-has-endpoint"])
            .problems(LEDGER),
        of_job("/v1/jobs/{job}/done", "finishJob", "Ends a job")
            .body(object(&["token"], json!({ "token": token() })), true, BODY_BYTES_MAX)
            .answer(200, "The job is done.", ended(&["done"])),
        of_job("/v1/jobs/{job}/fail", "failJob", "Ends an attempt that failed")
            .body(fail_body(), true, BODY_BYTES_MAX)
            .answer(200, "Whether there is another attempt.", ended(&["retry", "dead"]))
            .problems(&["unknown-kind"]),
        of_job("/v1/jobs/{job}/extend", "extendJob", "Extends a lease")
            .body(
                object(&["token"], json!({ "token": token(), "lease_seconds": lease() })),
                true,
                BODY_BYTES_MAX,
            )
            .answer(
                200,
                "The new end of the lease.",
                object(
                    &["job", "leased_until"],
                    json!({ "job": schema("Text"), "leased_until": schema("Time") }),
                ),
            ),
    ]
}

fn token() -> Value {
    json!({
        "type": "integer", "minimum": 0, "maximum": u32::MAX,
        "description": "The number of the attempt.",
    })
}

fn lease() -> Value {
    json!({ "type": "integer", "minimum": LEASES.start(), "maximum": LEASES.end(), "default": 30 })
}

fn seconds(least: u64) -> Value {
    json!({ "type": "integer", "minimum": least, "maximum": JOB_SECONDS_MAX })
}

fn job_body() -> Value {
    let unique = json!({
        "type": "string", "minLength": 1, "maxLength": UNIQUE_BYTES_MAX, "pattern": "^[^\\x00]+$",
    });
    let content = json!({ "description": format!("Any JSON of at most {JOB_BYTES_MAX} bytes.") });
    object(
        &["kind", "content"],
        json!({
            "kind": { "type": "string" },
            "content": content,
            "unique": or_null(unique),
            "delay_seconds": seconds(0),
            "ttl_seconds": or_null(seconds(1)),
        }),
    )
}

fn claim_body() -> Value {
    object(
        &["kind"],
        json!({
            "kind": { "type": "string" },
            "limit": { "type": "integer", "minimum": 1, "maximum": CLAIM_MAX, "default": 1 },
            "lease_seconds": lease(),
            "worker": { "type": "string", "maxLength": 255, "pattern": "^[^\\x00]*$" },
        }),
    )
}

fn fail_body() -> Value {
    object(
        &["kind", "token"],
        json!({
            "kind": { "type": "string" },
            "token": token(),
            "reason": { "type": "string" },
            "final": { "type": "boolean", "default": false },
        }),
    )
}

fn claimed() -> Value {
    let job = object(
        &["job", "token", "attempts_left", "content", "enqueued_at", "leased_until"],
        json!({
            "job": schema("Text"), "token": token(), "attempts_left": schema("Count"),
            "content": {}, "enqueued_at": schema("Time"), "leased_until": schema("Time"),
        }),
    );
    object(
        &["kind", "jobs"],
        json!({ "kind": schema("Text"), "jobs": { "type": "array", "items": job } }),
    )
}

fn ended(states: &[&str]) -> Value {
    object(&["job", "state"], json!({ "job": schema("Text"), "state": { "enum": states } }))
}

fn counts() -> Value {
    let numbers =
        ["waiting", "delayed", "leased", "dead", "oldest_ms", "enqueued", "done", "expired"];
    let mut properties = json!({
        "kind": schema("Text"),
        "class": { "enum": JobClass::ALL.map(JobClass::word) },
        "run": { "enum": ["running", "paused", "draining"] },
    });
    let mut required = vec!["kind", "class", "run"];
    for name in numbers {
        properties[name] = schema("Count");
        required.push(name);
    }
    let kinds = json!({ "type": "array", "items": object(&required, properties) });
    object(&["kinds"], json!({ "kinds": kinds }))
}
