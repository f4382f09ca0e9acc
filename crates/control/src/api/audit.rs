//! `GET /api/v1/audit`

use axum::Json;
use axum::extract::State;
/// The body of the response.
pub use cache::audit::AuditReport;
use node::SignatureRefusals;

use crate::admin::SharedAdmin;

/// The report of the main source, with those of the others in it.
pub(super) async fn get(State(admin): SharedAdmin) -> Json<AuditReport> {
    let pages = admin.page_audit.as_ref().map(|pages| pages()).unwrap_or_default();
    let mut reports = admin.sources.iter().map(|source| {
        let SignatureRefusals { values, messages } = &source.refusals;
        let (refused_values, refused_messages) = (values.report(), messages.report());
        let report = AuditReport { refused_values, refused_messages, ..source.audit.report() };
        (&source.name, report)
    });
    let main = reports.next().map(|(_, report)| report).unwrap_or_default();
    let sources = reports.map(|(name, report)| (name.to_string(), report)).collect();
    Json(AuditReport { pages, sources, ..main })
}
