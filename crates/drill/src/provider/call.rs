//! A call, read completely.

use http::Method;

/// A call.
pub(super) struct Call {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) query: String,
    pub(super) key: Option<String>,
    pub(super) body: String,
}

/// The kind of a call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum CallKind {
    Read,
    /// A payment is registered: no money moves.
    Registration,
    Operation,
}

impl Call {
    pub(super) fn kind(&self) -> CallKind {
        match (&self.method, self.path.as_str()) {
            (&Method::GET, _) => CallKind::Read,
            (_, "/v1/payment_intents") => CallKind::Registration,
            _ => CallKind::Operation,
        }
    }
}
