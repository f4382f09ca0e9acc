//! After a write that went through here.

use coherence::{After, Subject};
use http::{Method, Response, StatusCode};

use super::{Gateway, Shared};
use crate::asked::Asked;
use crate::body::Body;
use crate::token;

impl Shared {
    /// What an answer to an unsafe method brings with it: the stored page of the same target goes,
    /// and the client may be handed the token of its write.
    pub(super) async fn written(
        &self,
        asked: &Asked,
        token: Option<After>,
        response: &mut Response<Body>,
    ) {
        if let Some(token) = token {
            token::set_cookie(response.headers_mut(), token, asked.scheme);
        }
        if invalidates(&asked.method, response.status()) {
            let host = asked.host.to_str().unwrap_or_default();
            let keys = Gateway::keys(asked.scheme, host, asked.target.as_str());
            let subjects: Vec<Subject> = keys.into_iter().map(Subject::Key).collect();
            self.engine.evict(&subjects).await;
        }
    }
}

/// RFC 9111 §4.4: a non-error answer to a method that is not safe.
fn invalidates(method: &Method, status: StatusCode) -> bool {
    !method.is_safe() && (status.is_success() || status.is_redirection())
}
