//! Requests to the upstream.

use http::header::{ACCEPT_ENCODING, VIA};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version, request, uri};

use crate::http::client::{Client, ForwardingHeaders};
use crate::http::encodings::Encodings;
use crate::http::forwarding::{self, RequestOrigin};
use crate::http::request_id::RequestIds;
use crate::http::shared_headers;
use crate::http::target::Scheme;
use crate::http::tunnel;
use crate::settings::options::{GatewayOptions, HostPolicy};
use crate::settings::server_address::ServerAddress;

/// The head of a client's request, with the results of classification, as it is forwarded.
#[derive(Debug)]
pub(crate) struct ForwardRequest {
    pub(crate) method: Method,
    /// Path and query in the normal form that is in the key, so that the upstream receives exactly the target
    /// of the key.
    pub(crate) target: PathAndQuery,
    pub(crate) version: Version,
    pub(crate) headers: HeaderMap,
    /// Whether it asks for a WebSocket.
    pub(crate) websocket: bool,
    pub(crate) client: Client,
    pub(crate) scheme: Scheme,
    pub(crate) host: HeaderValue,
    pub(crate) request_id: HeaderValue,
}

/// The clients that may receive the response to a forwarded request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Audience<'a> {
    /// Only the client that sent the request. All of its headers are forwarded.
    Client,
    /// Only the client that sent the request, whose headers are forwarded; but the response is a complete page
    /// in the encodings of the class, which tells whether others may share such pages.
    Unshared(Encodings),
    /// All clients. Only the headers that may shape a shared response are forwarded; `keyed`: those that are in
    /// the key. The response is a complete page in the encodings of the class.
    Shared { encodings: Encodings, keyed: &'a [HeaderName] },
}

/// The upstream's address, and how requests name the upstream.
#[derive(Debug)]
pub(crate) struct UpstreamAddress {
    server: ServerAddress,
    host: HeaderValue,
    host_policy: HostPolicy,
    forwarding: ForwardingHeaders,
    /// Tells this gateway from others in `Via`.
    instance: String,
}

impl UpstreamAddress {
    pub(crate) fn new(options: &GatewayOptions) -> Self {
        let server = options.upstream.clone();
        let host = HeaderValue::from_str(server.authority().as_str());
        let host = host.expect("an authority is visible ASCII");
        let (host_policy, forwarding) = (options.host, options.proxies.headers);
        let instance = RequestIds::new().generate();
        let instance = instance.to_str().unwrap_or_default().to_owned();
        Self { server, host, host_policy, forwarding, instance }
    }

    /// Whether a request has passed this gateway.
    pub(super) fn is_in_via(&self, headers: &HeaderMap) -> bool {
        let fields = headers.get_all(VIA).iter().filter_map(|via| via.to_str().ok());
        fields.into_iter().any(|via| via.contains(&self.instance))
    }

    /// The upstream's own host.
    pub(crate) fn host(&self) -> &HeaderValue {
        &self.host
    }

    fn uri(&self, target: PathAndQuery) -> Uri {
        let mut parts = uri::Parts::default();
        parts.scheme = Some(self.server.scheme());
        parts.authority = Some(self.server.authority().clone());
        parts.path_and_query = Some(target);
        Uri::from_parts(parts).expect("scheme, authority and path form a URI")
    }
}

impl ForwardRequest {
    /// The head of the request that goes to `upstream`.
    pub(crate) fn head(
        &self,
        upstream: &UpstreamAddress,
        audience: Audience<'_>,
    ) -> request::Parts {
        let mut headers = match audience {
            Audience::Client | Audience::Unshared(_) => self.headers.clone(),
            Audience::Shared { keyed, .. } => shared_headers::of_load(&self.headers, keyed),
        };
        let host = match upstream.host_policy {
            HostPolicy::Preserve => &self.host,
            HostPolicy::Upstream => &upstream.host,
        };
        let origin = RequestOrigin {
            client: &self.client,
            scheme: self.scheme,
            host: &self.host,
            via: &upstream.instance,
            headers: upstream.forwarding,
        };
        let id = &self.request_id;
        forwarding::rewrite_request_headers(&mut headers, self.version, origin, host, id);
        if let Audience::Unshared(encodings) | Audience::Shared { encodings, .. } = audience {
            forwarding::strip_client_headers(&mut headers);
            headers.insert(ACCEPT_ENCODING, encodings.header());
        }
        if self.websocket {
            tunnel::set_upgrade(&mut headers);
        }
        let mut request = Request::new(());
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = upstream.uri(self.target.clone());
        *request.version_mut() = Version::HTTP_11;
        *request.headers_mut() = headers;
        request.into_parts().0
    }
}
