//! The plain listener beside an encrypted gateway: it sends clients to https, and answers the checks of a certificate
//! authority (RFC 8555, section 8.3).

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderValue, LOCATION, RETRY_AFTER};
use http::uri::Authority;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::service::service_fn;
use listen::{Acceptor, Challenges, TlsListener};

/// The beginning of the paths of checks.
const CHALLENGE_PATH: &str = "/.well-known/acme-challenge/";

/// The port of https that URLs leave out.
const HTTPS_PORT: u16 = 443;

/// The time after which a client may come again while there is no certificate.
const RETRY_AFTER_S: HeaderValue = HeaderValue::from_static("30");

/// The gateway to which clients are sent.
#[derive(Clone, Debug)]
pub struct RedirectTarget {
    /// The port of the gateway, as clients reach it.
    pub port: u16,
    /// The TLS of the gateway.
    pub tls: Arc<TlsListener>,
    /// The answers to the checks of a certificate authority, where certificates are issued by one.
    pub challenges: Option<Arc<dyn Challenges>>,
}

/// Redirects the requests of all connections of `acceptor` until `shutdown` resolves.
pub async fn serve_redirects(
    acceptor: Acceptor,
    target: RedirectTarget,
    shutdown: impl Future<Output = ()> + Send,
) {
    let target = Arc::new(target);
    let service = service_fn(move |request: Request<access::Body>| {
        let target = Arc::clone(&target);
        async move { Ok::<_, Infallible>(target.respond(&request).await) }
    });
    access::serve(acceptor, service, shutdown).await;
}

impl RedirectTarget {
    async fn respond<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        let token = request.uri().path().strip_prefix(CHALLENGE_PATH);
        if let (Some(token), Some(challenges)) = (token, &self.challenges)
            && matches!(*request.method(), Method::GET | Method::HEAD)
        {
            match challenges.token(token).await {
                Ok(Some(answer)) => return text(StatusCode::OK, answer),
                // Another client of ACME, behind the gateway, may have the answer.
                Ok(None) => {}
                Err(err) => {
                    tracing::warn!(error = %err, "the answer to a certificate authority can't be read");
                    return unavailable("the answer can't be read");
                }
            }
        }
        if !self.tls.has_certificate() {
            return unavailable("there is no certificate yet");
        }
        match location(request, self.port) {
            Some(location) => {
                let mut response = text(StatusCode::PERMANENT_REDIRECT, "use https".to_owned());
                response.headers_mut().insert(LOCATION, location);
                response
            }
            None => text(
                StatusCode::BAD_REQUEST,
                "the host of the request is missing or malformed".to_owned(),
            ),
        }
    }
}

/// Returns the address of the same page by https. `None`: the request names no host, or a malformed one.
fn location<B>(request: &Request<B>, port: u16) -> Option<HeaderValue> {
    let mut hosts = request.headers().get_all(HOST).into_iter();
    let authority: Authority = match (request.uri().authority(), hosts.next(), hosts.next()) {
        (_, _, Some(_)) => return None,
        (Some(authority), _, _) => authority.clone(),
        (None, Some(host), None) => host.to_str().ok()?.parse().ok()?,
        (None, None, None) => return None,
    };
    let host = authority.host();
    if host.is_empty() || authority.as_str().contains('@') {
        return None;
    }
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    // `OPTIONS *` is for no page.
    let path = if path.starts_with('/') { path } else { "/" };
    let location = match port {
        HTTPS_PORT => format!("https://{host}{path}"),
        port => format!("https://{host}:{port}{path}"),
    };
    location.parse().ok()
}

fn unavailable(reason: &str) -> Response<Full<Bytes>> {
    let mut response = text(StatusCode::SERVICE_UNAVAILABLE, reason.to_owned());
    response.headers_mut().insert(RETRY_AFTER, RETRY_AFTER_S);
    response
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(uri: &str, hosts: &[&str], port: u16) -> Option<String> {
        let mut request = Request::get(uri);
        for host in hosts {
            request = request.header(HOST, *host);
        }
        let location = location(&request.body(()).expect("a request"), port)?;
        Some(location.to_str().expect("text").to_owned())
    }

    #[test]
    fn same_page_by_https() {
        for (uri, host, port, expected) in [
            ("/a?b=%2f", "shop.example", 443, "https://shop.example/a?b=%2f"),
            ("/", "shop.example:80", 443, "https://shop.example/"),
            ("/", "shop.example:8080", 8443, "https://shop.example:8443/"),
            ("//evil.example/", "shop.example", 443, "https://shop.example//evil.example/"),
            ("/", "[::1]:80", 443, "https://[::1]/"),
            ("http://other.example/x", "shop.example", 443, "https://other.example/x"),
            ("*", "shop.example", 443, "https://shop.example/"),
        ] {
            assert_eq!(to(uri, &[host], port).as_deref(), Some(expected), "{uri} {host}");
        }
    }

    #[test]
    fn request_without_one_host_refused() {
        for hosts in [&[][..], &["a.example", "b.example"], &["u@a.example"], &["a b"], &[""]] {
            assert_eq!(to("/", hosts, 443), None, "{hosts:?}");
        }
    }
}
