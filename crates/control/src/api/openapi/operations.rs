//! The operations.

use access::Role;
use access::openapi::{self, Operation, object, query_parameter, schema};
use serde_json::{Value, json};

use crate::api::{events, purge};

pub(super) fn all() -> Vec<Operation> {
    let mut all = vec![healthz(), readyz(), metrics()];
    all.extend(reads());
    all.extend([
        purge_request("/api/v1/invalidate", "invalidate", "Invalidates entries for an application"),
        purge_request("/api/v1/purge", "purge", "Removes entries for an operator"),
        reload(),
        token(),
        post_events(),
        Operation::new("get", openapi::PATH, "getDescription", "This document")
            .role(Role::Viewer)
            .answer(200, "An OpenAPI 3.1 document.", any_object()),
    ]);
    all
}

fn any_object() -> Value {
    json!({ "type": "object" })
}

fn healthz() -> Operation {
    Operation::new("get", "/healthz", "getHealth", "Says that the process runs").answer_of_type(
        200,
        "It runs.",
        "text/plain",
        json!({ "const": "ok\n" }),
    )
}

fn readyz() -> Operation {
    let component = object(
        &["ok", "required"],
        json!({
            "ok": { "type": "boolean" }, "required": { "type": "boolean" },
            "detail": { "type": "string", "description": "For callers with the role viewer." },
        }),
    );
    let readiness = object(
        &["ready", "components"],
        json!({
            "ready": { "type": "boolean" },
            "components": { "type": "object", "additionalProperties": component },
        }),
    );
    Operation::new("get", "/readyz", "getReadiness", "Says whether the node should get traffic")
        .answer(200, "It should.", readiness.clone())
        .answer(503, "It should not.", readiness)
}

fn metrics() -> Operation {
    let media_type = "application/openmetrics-text";
    Operation::new("get", "/metrics", "getMetrics", "Returns the metrics")
        .role(Role::Viewer)
        .answer_of_type(200, "OpenMetrics 1.0.", media_type, json!({ "type": "string" }))
        .problems(&["metrics-could-not-be-encoded"])
}

fn reads() -> [Operation; 4] {
    let text = || json!({ "type": "string" });
    let required = |mut parameter: Value| {
        parameter["required"] = true.into();
        parameter
    };
    let salt = json!({ "type": "string", "maxLength": 64 });
    let status = json!({
        "type": "object",
        "required": ["epoch", "applied", "watermark", "bound_ms", "entries", "bytes", "tombstones"],
    });
    let invalidation = json!({
        "type": "object",
        "required": ["position", "cause", "subjects", "subjects_total", "committed_us", "shared_ms", "local_ms", "retries"],
    });
    [
        Operation::new("get", "/api/v1/status", "getStatus", "Returns the state of the node")
            .role(Role::Viewer)
            .answer(200, "The state.", status),
        Operation::new("get", "/api/v1/audit", "getAudit", "Returns the auditor's report")
            .role(Role::Viewer)
            .answer(200, "The report.", any_object()),
        Operation::new(
            "get",
            "/api/v1/inspect",
            "inspect",
            "Returns the entry of each tier for an id",
        )
        .role(Role::Viewer)
        .parameter(required(query_parameter("contract", "The contract.", text())))
        .parameter(required(query_parameter("id", "The id.", text())))
        .parameter(query_parameter("salt", "Of the digests of values.", salt))
        .answer(200, "The entries.", any_object())
        .problems(&["invalid-query"]),
        Operation::new(
            "get",
            "/api/v1/invalidations",
            "listInvalidations",
            "Returns the last invalidations",
        )
        .role(Role::Viewer)
        .parameter(query_parameter(
            "limit",
            "The most records.",
            json!({ "type": "integer", "minimum": 0, "default": 100 }),
        ))
        .parameter(query_parameter("subject", "`k:KEY`, `t:TAG`, a wildcard or `*`.", text()))
        .answer(200, "The newest first.", json!({ "type": "array", "items": invalidation }))
        .problems(&["invalid-query"]),
    ]
}

fn purge_request(path: &'static str, id: &'static str, summary: &'static str) -> Operation {
    let flag = || json!({ "type": "boolean", "default": false });
    let body = object(
        &[],
        json!({
            "tags": schema("Texts"), "keys": schema("Texts"), "tag_patterns": schema("Texts"),
            "key_patterns": schema("Texts"), "contracts": schema("Texts"),
            "all": flag(), "dry_run": flag(),
        }),
    );
    Operation::new("post", path, id, summary)
        .role(Role::Operator)
        .body(body, true, purge::BODY_BYTES_MAX)
        .answer(
            200,
            "Applied, or with `dry_run` counted.",
            json!({ "anyOf": [receipt(), dry_run()] }),
        )
        .problems(&[
            "invalid-purge-request",
            "body-incomplete",
            "body-too-large",
            "unsupported-media-type",
            "too-many-requests",
            "too-many-dry-runs",
            "audit-log-not-writable",
            "purge-request-not-fenced",
            "dry-run-failed",
            "purge-request-not-applied-yet",
        ])
}

fn receipt() -> Value {
    object(
        &["id", "position", "token", "subjects", "took_ms"],
        json!({
            "id": schema("Text"), "position": schema("Text"), "token": schema("Text"),
            "positions": { "type": "object", "additionalProperties": schema("Text") },
            "subjects": schema("Count"), "took_ms": schema("Count"),
        }),
    )
}

fn dry_run() -> Value {
    let tier = object(
        &["entries", "complete", "contracts", "examples"],
        json!({
            "entries": schema("Count"), "complete": { "type": "boolean" },
            "contracts": { "type": "object", "additionalProperties": schema("Count") },
            "examples": schema("Texts"),
        }),
    );
    object(
        &["subjects", "shared", "local"],
        json!({ "subjects": schema("Texts"), "shared": tier, "local": tier }),
    )
}

fn reload() -> Operation {
    Operation::new("post", "/api/v1/reload", "reload", "Reads the configuration again")
        .role(Role::Admin)
        .answer(200, "It is in force.", any_object())
        .problems(&[
            "invalid-configuration",
            "restart-needed",
            "not-reloaded",
            "too-many-reloads",
            "no-reload-now",
            "audit-log-not-writable",
        ])
}

fn token() -> Operation {
    let body = object(
        &["token", "position"],
        json!({
            "token": schema("Text"), "position": schema("Text"),
            "positions": { "type": "object", "additionalProperties": schema("Text") },
        }),
    );
    Operation::new("post", "/api/v1/token", "createToken", "Returns a causal token")
        .any_token()
        .parameter(query_parameter("source", "By default all.", schema("Text")))
        .answer(200, "It covers every commit before the request.", body)
        .problems(&["invalid-query", "unknown-source", "no-token-available"])
}

fn post_events() -> Operation {
    Operation::new(
        "post",
        "/api/v1/events/{source}",
        "postEvents",
        "Takes Debezium's change events",
    )
    .in_path("source", schema("Text"))
    .body(json!({}), true, events::BODY_BYTES_MAX)
    .no_content(204, "They are applied.")
    .problems(&[
        "wrong-host",
        "invalid-events",
        "authentication-failed",
        "not-found",
        "body-incomplete",
        "body-too-large",
        "too-many-requests",
        "events-not-accepted-by-this-node-now",
    ])
}
