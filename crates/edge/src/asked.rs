//! What a client asked for, as far as it is needed after the first look.

use std::net::IpAddr;

use http::header::ACCEPT_ENCODING;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Request, Version, request};

use crate::forward::{self, Client};
use crate::key::{Encodings, Scheme};
use crate::options::HostPolicy;
use crate::upstream::Upstream;

/// A request's head, and what was worked out of it.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) method: Method,
    /// Path and query: for pages in the normal form that is in the key, so that the upstream is
    /// asked exactly what the key says.
    pub(crate) target: PathAndQuery,
    pub(crate) version: Version,
    pub(crate) headers: HeaderMap,
    pub(crate) client: IpAddr,
    pub(crate) scheme: Scheme,
    pub(crate) host: HeaderValue,
    pub(crate) request_id: HeaderValue,
}

/// What of the client's own a request to the upstream carries.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Name {
    /// Everything: the answer is for this client only.
    Own,
    /// What may shape an answer for all: a whole page in the encodings of the class.
    Everybody(Encodings),
}

impl Asked {
    /// The head of a request to the upstream.
    pub(crate) fn for_upstream(
        &self,
        name: Name,
        upstream: &Upstream,
        policy: HostPolicy,
        trusted: bool,
    ) -> request::Parts {
        let mut headers = self.headers.clone();
        let host = match policy {
            HostPolicy::Preserve => &self.host,
            HostPolicy::Upstream => upstream.host(),
        };
        let client =
            Client { address: self.client, scheme: self.scheme, host: &self.host, trusted };
        forward::to_upstream(&mut headers, self.version, client, host, &self.request_id);
        if let Name::Everybody(encodings) = name {
            forward::impersonal(&mut headers);
            headers.insert(ACCEPT_ENCODING, encodings.header());
        }
        let mut request = Request::new(());
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = upstream.uri(self.target.clone());
        *request.headers_mut() = headers;
        request.into_parts().0
    }
}
