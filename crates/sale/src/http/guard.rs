//! The checks before a handler: the host, the caller, the role. Nothing of a body is read before them.

use access::{Gate, Listener, Peer, Refusal, Role};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::problem::Problem;

/// Refuses a request that names a foreign host, that a page of another site sends, or whose token does not
/// suffice.
pub(super) async fn check_caller(
    State(gate): State<Gate>,
    request: Request,
    next: Next,
) -> Response {
    let (mut parts, body) = request.into_parts();
    let Some(peer) = parts.extensions.get::<Peer>() else {
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        return Problem::new(status, "caller-unknown", "Caller unknown", "").into_response();
    };
    let permitted = gate.check_host(Listener::Sale, &parts).and_then(|()| {
        let caller = gate.authenticate(Listener::Sale, &parts.headers, peer)?;
        let is_read = matches!(parts.method, Method::GET | Method::HEAD);
        let role = if is_read { Role::Viewer } else { Role::Operator };
        let action = format!("{} {}", parts.method, parts.uri.path());
        let permitted = caller.require(role, &action);
        permitted.inspect_err(|refusal| gate.refused(Listener::Sale, refusal))?;
        Ok(caller)
    });
    match permitted {
        Ok(caller) => {
            parts.extensions.insert(caller);
            next.run(Request::from_parts(parts, body)).await
        }
        Err(refusal) => refused(&refusal),
    }
}

fn refused(refusal: &Refusal) -> Response {
    let status = refusal.status();
    let problem = Problem::new(status, refusal.kind(), refusal.title(), refusal.to_string());
    let mut response = problem.into_response();
    if status == StatusCode::UNAUTHORIZED {
        let bearer = HeaderValue::from_static("Bearer");
        response.headers_mut().insert(header::WWW_AUTHENTICATE, bearer);
    }
    response
}
