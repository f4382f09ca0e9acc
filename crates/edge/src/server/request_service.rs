//! The requests of one client connection.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::header::CONNECTION;
use http::{Request, Response, Version};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::service::Service;
use listen::Switch;

use super::h2_stream::{ResponseGuard, StreamExecutor, TrackedBody};
use crate::gateway::{Dispatch, Gateway};
use crate::http::body::Body;
use crate::http::client::Peer;
use crate::http::forwarding::list_members;
use crate::http::in_flight::{ClientRequest, ConnectionActivity};

/// Serves the requests of one connection.
pub(super) struct RequestService {
    pub(super) gateway: Switch<Gateway>,
    pub(super) activity: Arc<ConnectionActivity>,
    pub(super) peer: Peer,
    /// The streams of a connection of HTTP/2.
    pub(super) streams: Option<StreamExecutor>,
}

impl Service<Request<Incoming>> for RequestService {
    type Response = Response<TrackedBody>;
    type Error = Infallible;
    type Future = ResponseFuture;

    fn call(&self, request: Request<Incoming>) -> ResponseFuture {
        self.activity.request_started(!request.body().is_end_stream());
        if is_last_request(&request) {
            self.activity.last_request();
        }
        let guard = match &self.streams {
            Some(streams) => ResponseGuard::Stream(streams.start_stream()),
            None => ResponseGuard::Connection(ClientRequest::new(&self.activity)),
        };
        let response =
            self.gateway.with(|Gateway { inner }| match inner.dispatch(request, self.peer) {
                Dispatch::Ready(response) => PendingResponse::Ready(Some(response)),
                Dispatch::Pending(pending) => {
                    let client_request = ClientRequest::new(&self.activity);
                    let gateway = Arc::clone(inner);
                    PendingResponse::Pending(Box::pin(gateway.resume(pending, client_request)))
                }
            });
        ResponseFuture { response, guard: Some(guard) }
    }
}

/// Whether the client has sent all that it sends: no further request, and no body.
fn is_last_request(request: &Request<Incoming>) -> bool {
    let has = |option: &str| {
        list_members(request.headers(), &CONNECTION).any(|given| given.eq_ignore_ascii_case(option))
    };
    let is_last = match request.version() {
        Version::HTTP_11 => has("close"),
        Version::HTTP_10 => !has("keep-alive"),
        _ => false,
    };
    is_last && request.body().is_end_stream()
}

/// A response, or the future of one. A hit is ready and allocates no future.
enum PendingResponse {
    Ready(Option<Response<Body>>),
    Pending(Pin<Box<dyn Future<Output = Response<Body>> + Send>>),
}

/// The response to one request.
pub(super) struct ResponseFuture {
    response: PendingResponse,
    guard: Option<ResponseGuard>,
}

impl Future for ResponseFuture {
    type Output = Result<Response<TrackedBody>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let response = match &mut self.response {
            PendingResponse::Ready(response) => {
                response.take().expect("not polled after completion")
            }
            PendingResponse::Pending(future) => ready!(future.as_mut().poll(cx)),
        };
        let guard = self.guard.take();
        Poll::Ready(Ok(response.map(|body| TrackedBody { body, guard })))
    }
}
