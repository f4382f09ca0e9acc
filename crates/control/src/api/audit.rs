//! `GET /api/v1/audit`

use axum::Json;
use axum::extract::State;
/// The body of the response.
pub use cache::audit::AuditReport;
use node::SignatureRefusals;

use crate::admin::SharedAdmin;

pub(super) async fn get(State(admin): SharedAdmin) -> Json<AuditReport> {
    let pages = admin.page_audit.as_ref().map(|pages| pages()).unwrap_or_default();
    let SignatureRefusals { values, messages } = &admin.refusals;
    let (refused_values, refused_messages) = (values.report(), messages.report());
    Json(AuditReport { pages, refused_values, refused_messages, ..admin.audit.report() })
}
