//! Invalidation after a write through the gateway.

use std::borrow::Cow;

use coherence::{CausalTokens, Subject};
use http::{Method, Response, StatusCode};

use super::inner::GatewayInner;
use crate::http::body::Body;
use crate::http::ryw_token;
use crate::page_cache::key::{page_keys, variants_tag};
use crate::settings::routes::Route;
use crate::upstream::request::ForwardRequest;

impl GatewayInner {
    /// Evicts the stored page of a write's target, and passes the token of the write to the client.
    /// The eviction has no position; the commit's event invalidates the page with a proof.
    pub(super) async fn invalidate_after_write(
        &self,
        route: &Route,
        request: &ForwardRequest,
        token: Option<CausalTokens>,
        response: &mut Response<Body>,
    ) {
        if let Some(token) = token {
            ryw_token::set_cookie(response.headers_mut(), &token, request.scheme);
        }
        if invalidates(&request.method, response.status()) {
            let host = request.host.to_str().unwrap_or_default();
            // The page's target, which lacks parameters that the write may have.
            let target = route.query.apply(Cow::Borrowed(request.target.as_str()));
            let keys = page_keys(request.scheme, host, &target);
            let mut subjects: Vec<Subject> = keys.into_iter().map(Subject::Key).collect();
            if !route.key_headers.is_empty() {
                let tag = variants_tag(request.scheme, host, &target);
                subjects.push(Subject::Tag(tag));
            }
            self.engine.evict(&subjects).await;
        }
    }
}

/// RFC 9111 §4.4: a non-error response to an unsafe method.
fn invalidates(method: &Method, status: StatusCode) -> bool {
    !method.is_safe() && (status.is_success() || status.is_redirection())
}
