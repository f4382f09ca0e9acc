//! Requests to the upstream.

use std::net::IpAddr;

use http::header::{ACCEPT_ENCODING, VIA};
use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, HeaderValue, Method, Request, Uri, Version, request, uri};

use crate::http::encodings::Encodings;
use crate::http::forwarding::{self, Client};
use crate::http::request_id::RequestIds;
use crate::http::target::Scheme;
use crate::http::tunnel;
use crate::settings::options::{GatewayOptions, HostPolicy};

/// The head of a client's request, with the results of classification, as it is forwarded.
#[derive(Debug)]
pub(crate) struct ForwardRequest {
    pub(crate) method: Method,
    /// Path and query. For pages, the normal form that is in the key, so that the upstream receives
    /// exactly the target of the key.
    pub(crate) target: PathAndQuery,
    pub(crate) version: Version,
    pub(crate) headers: HeaderMap,
    /// Whether it asks for a WebSocket.
    pub(crate) websocket: bool,
    pub(crate) client: IpAddr,
    pub(crate) scheme: Scheme,
    pub(crate) host: HeaderValue,
    pub(crate) request_id: HeaderValue,
}

/// The clients that may receive the response to a forwarded request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Audience {
    /// Only the client that sent the request. All of its headers are forwarded.
    Client,
    /// All clients. Only the headers that may shape a shared response are forwarded; the response is
    /// a complete page in the encodings of the class.
    Shared(Encodings),
}

/// The upstream's address, and how requests name the upstream.
#[derive(Debug)]
pub(crate) struct UpstreamAddress {
    authority: Authority,
    host: HeaderValue,
    host_policy: HostPolicy,
    trust_forwarded: bool,
    /// Tells this gateway from others in `Via`.
    instance: String,
}

impl UpstreamAddress {
    pub(crate) fn new(authority: Authority, options: &GatewayOptions) -> Self {
        let host =
            HeaderValue::from_str(authority.as_str()).expect("an authority is visible ASCII");
        let (host_policy, trust_forwarded) = (options.host, options.trust_forwarded);
        let instance = RequestIds::new().generate();
        let instance = instance.to_str().unwrap_or_default().to_owned();
        Self { authority, host, host_policy, trust_forwarded, instance }
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
        parts.scheme = Some(uri::Scheme::HTTP);
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = Some(target);
        Uri::from_parts(parts).expect("scheme, authority and path form a URI")
    }
}

impl ForwardRequest {
    /// The head of the request that goes to `upstream`.
    pub(crate) fn head(&self, upstream: &UpstreamAddress, audience: Audience) -> request::Parts {
        let mut headers = self.headers.clone();
        let host = match upstream.host_policy {
            HostPolicy::Preserve => &self.host,
            HostPolicy::Upstream => &upstream.host,
        };
        let client = Client {
            address: self.client,
            scheme: self.scheme,
            host: &self.host,
            trusted: upstream.trust_forwarded,
            via: &upstream.instance,
        };
        let id = &self.request_id;
        forwarding::rewrite_request_headers(&mut headers, self.version, client, host, id);
        if let Audience::Shared(encodings) = audience {
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
