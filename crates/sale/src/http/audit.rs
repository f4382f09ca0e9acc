//! Records of stock changes in the audit log.

use access::{AuditLog, Caller};
use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde_json::{Value, json};

use super::problem::Problem;
use crate::service::SaleError;

/// Records the changes of a request's caller, if there is an audit log.
pub(super) struct Recorder {
    caller: Caller,
    log: Option<AuditLog>,
}

/// The record of a change that may now happen.
pub(super) struct ChangeRecord {
    recorder: Recorder,
    number: Option<u64>,
}

impl<S: Sync> FromRequestParts<S> for Recorder {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let extensions = &parts.extensions;
        match (extensions.get::<Caller>(), extensions.get::<Option<AuditLog>>()) {
            (Some(caller), Some(log)) => Ok(Self { caller: caller.clone(), log: log.clone() }),
            _ => {
                let status = StatusCode::INTERNAL_SERVER_ERROR;
                Err(Problem::new(status, "caller-unknown", "Caller unknown", ""))
            }
        }
    }
}

impl Recorder {
    /// Records a change before it happens.
    ///
    /// # Errors
    /// It can't be recorded, so it must not happen.
    pub(super) async fn begin(
        self,
        action: &'static str,
        detail: Value,
    ) -> Result<ChangeRecord, Problem> {
        let Some(log) = &self.log else {
            return Ok(ChangeRecord { recorder: self, number: None });
        };
        match log.record(&self.caller, action, detail).await {
            Ok(anchor) => Ok(ChangeRecord { recorder: self, number: Some(anchor.number) }),
            Err(err) => {
                let detail =
                    format!("nothing was changed, because it could not be recorded: {err}");
                let status = StatusCode::SERVICE_UNAVAILABLE;
                Err(Problem::new(status, "not-recorded", "Audit log not writable", detail))
            }
        }
    }
}

impl ChangeRecord {
    /// Records the result. One that can't be recorded is logged and counted: the change is on record.
    pub(super) async fn end(self, action: &'static str, error: Option<&SaleError>) {
        let Recorder { caller, log: Some(log) } = &self.recorder else { return };
        let result = match error {
            None => json!({ "record": self.number }),
            Some(err) => json!({ "record": self.number, "error": err.to_string() }),
        };
        let _ = log.record(caller, action, result).await;
    }
}
