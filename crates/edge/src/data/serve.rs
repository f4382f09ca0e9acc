//! The listener of the data API, and its requests.

use std::convert::Infallible;
use std::pin::pin;
use std::time::Duration;

use cache::Answer;
use coherence::CausalToken;
use contract::{Key, percent};
use http::header::CONTENT_LENGTH;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body::Body as _;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use listen::{Accepted, Acceptor};

use super::api::{DataApi, ServedContract};
use super::error::DataError;
use super::{batch, value};
use crate::http::body::Body;
use crate::http::request_id::X_REQUEST_ID;
use crate::http::ryw_token;

/// The time limit for requests in flight to end after shutdown begins.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// The detail for an unknown path.
const PATHS: &str =
    "values are at /data/{contract}/{id}, several at /data/batch?get={contract}/{id}&get=…";

impl DataApi {
    /// Serves HTTP/1.1 on the connections of `acceptor` until `shutdown` resolves. Then closes the listener and
    /// waits up to ten seconds for requests in flight.
    pub async fn serve(&self, acceptor: Acceptor, shutdown: impl Future<Output = ()> + Send) {
        let mut server = http1::Builder::new();
        server.timer(TokioTimer::new()).half_close(false);
        let connections = GracefulShutdown::new();
        let mut shutdown = pin!(shutdown);
        loop {
            let Accepted { socket, slot, .. } = tokio::select! {
                () = &mut shutdown => break,
                accepted = acceptor.accept() => accepted,
            };
            let _ = socket.set_nodelay(true);
            let api = self.clone();
            let service = service_fn(move |request| {
                let api = api.clone();
                async move { Ok::<_, Infallible>(api.serve_request(&request).await) }
            });
            let connection = server.serve_connection(TokioIo::new(socket), service);
            let watched = connections.watch(connection);
            tokio::spawn(async move {
                if let Err(err) = watched.await {
                    tracing::debug!(error = %err, "connection ended");
                }
                drop(slot);
            });
        }
        drop(acceptor);
        if tokio::time::timeout(DRAIN_TIMEOUT, connections.shutdown()).await.is_err() {
            tracing::warn!("data API connections closed after the drain time");
        }
    }

    /// Serves one request. Its body is ignored.
    async fn serve_request<B>(&self, request: &Request<B>) -> Response<Body> {
        let id = self.ids.accept_or_generate(request.headers());
        let mut response = match self.respond(request).await {
            Ok(response) => response,
            Err(err) => {
                tracing::debug!(
                    request_id = id.to_str().unwrap_or_default(),
                    path = request.uri().path(),
                    status = err.status.as_u16(),
                    detail = %err.detail,
                    "request failed"
                );
                err.response()
            }
        };
        response.headers_mut().insert(X_REQUEST_ID, id);
        if *request.method() == Method::HEAD {
            let length = response.body().size_hint().lower();
            response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
            *response.body_mut() = Body::Empty;
        }
        response
    }

    async fn respond<B>(&self, request: &Request<B>) -> Result<Response<Body>, DataError> {
        let (method, uri) = (request.method(), request.uri());
        let named = uri.path().strip_prefix("/data/").filter(|path| !path.is_empty());
        let one = named.and_then(|path| path.split_once('/'));
        if one.is_none() && named != Some(batch::PATH) {
            return Err(DataError::new(StatusCode::NOT_FOUND, "Unknown path", PATHS.into()));
        }
        if !matches!(*method, Method::GET | Method::HEAD) {
            let detail = format!("{method} is not supported; use GET or HEAD");
            let status = StatusCode::METHOD_NOT_ALLOWED;
            return Err(DataError::new(status, "Method not allowed", detail));
        }
        let token = || {
            ryw_token::from_header(request.headers()).map_err(|err| {
                DataError::new(StatusCode::BAD_REQUEST, "Invalid Tidegate-After", err.0)
            })
        };
        let Some((name, id)) = one else {
            return self.batch(uri.query().unwrap_or_default(), token()?).await;
        };
        let served = self.served(name)?;
        let id = percent::decode(id)
            .ok_or_else(|| DataError::invalid_id("the ID is not valid UTF-8".into()))?;
        let key = served.contract.key(&id);
        let key = key.map_err(|err| DataError::invalid_id(err.to_string()))?;
        let answer = self.read(served, &key, &id, token()?).await?;
        if let Some(sampler) = &self.sampler {
            sampler.answered(&key, &id, &served.policy, &answer);
        }
        Ok(value::response(&answer, &served.policy))
    }

    async fn read(
        &self,
        served: &ServedContract,
        key: &Key,
        id: &str,
        token: Option<CausalToken>,
    ) -> Result<Answer, DataError> {
        let policy = &served.policy;
        let local = match token {
            None => self.engine.peek(key, policy),
            Some(token) => self.engine.peek_after(key, policy, token),
        };
        match local {
            Some(answer) => Ok(answer),
            None => Ok(self.engine.get_after(key, id, policy, &served.origin, token).await?),
        }
    }
}
