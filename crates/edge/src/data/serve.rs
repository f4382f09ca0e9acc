//! The listener of the data API, and its requests.

use std::convert::Infallible;

use access::{Caller, Listener, Peer};
use cache::Answer;
use coherence::CausalToken;
use contract::{Key, percent};
use http::header::CONTENT_LENGTH;
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body::Body as _;
use hyper::service::service_fn;
use listen::{Acceptor, Switch};

use super::api::{DataApi, Served};
use super::error::DataError;
use super::{batch, openapi, value};
use crate::http::body::Body;
use crate::http::request_id::X_REQUEST_ID;
use crate::http::ryw_token;

/// The detail for an unknown path.
const PATHS: &str = "values are at /data/{contract}/{id}, with the variants of the key in the query, several at /data/batch?get={contract}/{id}&get=…, and their description at /openapi.json";

impl DataApi {
    /// Serves HTTP/1.1 on the connections of `acceptor` until `shutdown` resolves. Then closes the listener and
    /// waits up to ten seconds for requests in flight.
    pub async fn serve(&self, acceptor: Acceptor, shutdown: impl Future<Output = ()> + Send) {
        Self::serve_current(Switch::new(self.clone()), acceptor, shutdown).await;
    }

    /// Serves as [`serve`](Self::serve) does, each request by the data API on which `current` stands when it arrives.
    pub async fn serve_current(
        current: Switch<Self>,
        acceptor: Acceptor,
        shutdown: impl Future<Output = ()> + Send,
    ) {
        let service = service_fn(move |request: Request<access::Body>| {
            let api = current.get();
            // The body is ignored.
            let (head, _) = request.into_parts();
            async move { Ok::<_, Infallible>(api.serve_request(&head).await) }
        });
        access::serve(acceptor, service, shutdown).await;
    }

    /// Serves one request.
    async fn serve_request(&self, request: &Parts) -> Response<Body> {
        let id = self.ids.accept_or_generate(&request.headers);
        let mut response = match self.respond(request).await {
            Ok(response) => response,
            Err(err) => {
                tracing::debug!(
                    request_id = id.to_str().unwrap_or_default(),
                    path = request.uri.path(),
                    status = err.status.as_u16(),
                    detail = %err.detail,
                    "request failed"
                );
                err.response()
            }
        };
        response.headers_mut().insert(X_REQUEST_ID, id);
        if request.method == Method::HEAD {
            let length = response.body().size_hint().lower();
            response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
            *response.body_mut() = Body::Empty;
        }
        response
    }

    async fn respond(&self, request: &Parts) -> Result<Response<Body>, DataError> {
        let caller = self.caller(request)?;
        let (method, uri) = (&request.method, &request.uri);
        let named = uri.path().strip_prefix("/data/").filter(|path| !path.is_empty());
        let one = named.and_then(|path| path.split_once('/'));
        let is_description = uri.path() == access::openapi::PATH;
        if one.is_none() && named != Some(batch::PATH) && !is_description {
            return Err(DataError::new(StatusCode::NOT_FOUND, "Unknown path", PATHS.into()));
        }
        if !matches!(*method, Method::GET | Method::HEAD) {
            let detail = format!("{method} is not supported; use GET or HEAD");
            let status = StatusCode::METHOD_NOT_ALLOWED;
            return Err(DataError::new(status, "Method not allowed", detail));
        }
        if is_description {
            return Ok(openapi::response());
        }
        let token = || {
            ryw_token::from_header(&request.headers).map_err(|err| {
                DataError::new(StatusCode::BAD_REQUEST, "Invalid Tidegate-After", err.0)
            })
        };
        let Some((name, id)) = one else {
            return self.batch(uri.query().unwrap_or_default(), token()?, &caller).await;
        };
        let served = self.served(name, &caller)?;
        let id = match (served.contract.takes_variants(), uri.query()) {
            // Both parts are decoded where they are separated.
            (true, Some(query)) => format!("{id}?{query}"),
            (true, None) => id.to_owned(),
            (false, _) => percent::decode(id)
                .ok_or_else(|| DataError::invalid_id("the ID is not valid UTF-8".into()))?,
        };
        let key = served.contract.key(&id);
        let key = key.map_err(|err| DataError::invalid_id(err.to_string()))?;
        let token = self.token_of(served.at, token()?.as_ref());
        let answer = read(served, &key, &id, token).await?;
        served.answered(&key, &id, &answer);
        Ok(value::response(&answer, &served.policy))
    }

    /// Returns the sender of a request to this listener.
    fn caller(&self, request: &Parts) -> Result<Caller, DataError> {
        self.gate.check_host(Listener::Data, request)?;
        let Some(peer) = request.extensions.get::<Peer>() else {
            let status = StatusCode::INTERNAL_SERVER_ERROR;
            return Err(DataError::new(status, "Caller unknown", String::new()));
        };
        Ok(self.gate.authenticate(Listener::Data, &request.headers, peer)?)
    }
}

async fn read(
    served: Served<'_>,
    key: &Key,
    id: &str,
    token: Option<CausalToken>,
) -> Result<Answer, DataError> {
    let (engine, policy) = (&served.source.engine, &served.policy);
    let local = match token {
        None => engine.peek(key, policy),
        Some(token) => engine.peek_after(key, policy, token),
    };
    match local {
        Some(answer) => Ok(answer),
        None => Ok(engine.get_after(key, id, policy, &served.origin, token).await?),
    }
}
