//! The checks before a handler: the host, the caller, the role. Nothing of a body is read before them.

use std::sync::Arc;

use access::{Caller, Listener, Peer, Refusal, Role};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::Response;

use crate::admin::Admin;
use crate::problem::{problem, refused};

/// Refuses a request that names a foreign host, or that a page of another site sends.
pub(super) async fn check_host(
    State(admin): State<Arc<Admin>>,
    request: Request,
    next: Next,
) -> Response {
    let (parts, body) = request.into_parts();
    match admin.gate.check_host(Listener::Admin, &parts) {
        Ok(()) => next.run(Request::from_parts(parts, body)).await,
        Err(refusal) => refused(&refusal),
    }
}

/// The callers of a group of routes.
#[derive(Clone)]
pub(super) struct Needs {
    pub(super) admin: Arc<Admin>,
    /// The lowest role; `None`: any token.
    pub(super) role: Option<Role>,
}

/// Refuses callers without a token, or whose role does not suffice. Handlers get the [`Caller`] as an extension.
pub(super) async fn check_caller(
    State(Needs { admin, role }): State<Needs>,
    mut request: Request,
    next: Next,
) -> Response {
    let Some(peer) = request.extensions().get::<Peer>() else {
        return problem(StatusCode::INTERNAL_SERVER_ERROR, "Caller unknown", "");
    };
    let caller = admin.gate.authenticate(Listener::Admin, request.headers(), peer);
    let permitted = caller.and_then(|caller| {
        if let Some(role) = role {
            let action = format!("{} {}", request.method(), request.uri().path());
            require(&admin, &caller, role, &action)?;
        }
        Ok(caller)
    });
    match permitted {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(refusal) => refused(&refusal),
    }
}

/// Requires a role for an action that not every caller of a route may do.
pub(super) fn require(
    admin: &Admin,
    caller: &Caller,
    role: Role,
    action: &str,
) -> Result<(), Refusal> {
    let permitted = caller.require(role, action);
    permitted.inspect_err(|refusal| admin.gate.refused(Listener::Admin, refusal))
}
