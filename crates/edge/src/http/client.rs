//! The client of a request, as trusted proxies describe it.

use std::net::{IpAddr, SocketAddr};

use http::header::{FORWARDED, HeaderMap, HeaderName};

use super::network::Network;
use super::target::Scheme;

pub(crate) const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub(crate) const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
pub(crate) const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The headers in which trusted proxies describe the client. Only these are read: a proxy that sets one kind
/// passes on the text that a client writes into the other.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum ForwardingHeaders {
    /// `X-Forwarded-For`, `X-Forwarded-Proto`, and `X-Forwarded-Host` where it is trusted.
    #[default]
    XForwarded,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// The peer of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    /// The client's address, or that of the nearest proxy that speaks HTTP.
    pub(crate) address: IpAddr,
    /// The scheme of requests that no proxy describes.
    pub(crate) scheme: Scheme,
}

/// The client of a request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Client {
    pub(crate) address: IpAddr,
    /// The trusted proxies between it and the gateway, the nearest last.
    pub(crate) proxies: Vec<IpAddr>,
}

/// A request's origin, as trusted proxies describe it.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Described {
    pub(crate) client: Client,
    pub(crate) scheme: Option<Scheme>,
    /// The host of the client's request. Not checked.
    pub(crate) host: Option<String>,
}

/// A proxy's description of the request that it received.
#[derive(Debug, Default)]
struct Hop {
    /// `None`: not an address.
    client: Option<IpAddr>,
    scheme: Option<Scheme>,
    host: Option<String>,
}

impl Client {
    /// The client of a connection without a proxy.
    pub(crate) fn direct(address: IpAddr) -> Self {
        Self { address: address.to_canonical(), proxies: Vec::new() }
    }
}

/// Describes the client of a request that the trusted proxy `peer` has sent.
///
/// Each proxy adds the address of its own peer at the end, so the addresses are read from the end. The first
/// one that is not a trusted proxy's is the client's: all before it is the client's own text. A text that is no
/// address ends the search: the proxy that sent it is the last one known.
pub(crate) fn describe(
    headers: &HeaderMap,
    kind: ForwardingHeaders,
    peer: IpAddr,
    is_trusted: impl Fn(IpAddr) -> bool,
) -> Described {
    let hops = match kind {
        ForwardingHeaders::XForwarded => x_forwarded(headers),
        ForwardingHeaders::Forwarded => forwarded(headers),
    };
    let mut client = Client::direct(peer);
    let (mut scheme, mut host) = (None, None);
    for hop in hops.into_iter().rev() {
        // The proxy nearest to the client has its words; a proxy that says nothing leaves those of the next.
        scheme = hop.scheme.or(scheme);
        host = hop.host.or(host);
        let Some(before) = hop.client else { break };
        client.proxies.insert(0, client.address);
        client.address = before;
        if !is_trusted(before) {
            break;
        }
    }
    Described { client, scheme, host }
}

/// The hops by `X-Forwarded-*`, the nearest last. A proxy adds to each list, or replaces it: the lists are
/// aligned at their ends.
fn x_forwarded(headers: &HeaderMap) -> Vec<Hop> {
    let list = |name: &HeaderName| -> Vec<String> {
        let fields = headers.get_all(name).iter().map(|field| field.to_str().unwrap_or("?"));
        fields.flat_map(|field| field.split(',')).map(|member| member.trim().to_owned()).collect()
    };
    let clients = list(&X_FORWARDED_FOR);
    let (mut schemes, mut hosts) = (list(&X_FORWARDED_PROTO), list(&X_FORWARDED_HOST));
    let mut hops: Vec<Hop> = Vec::new();
    for at in (0..clients.len().max(1)).rev() {
        let client = clients.get(at).and_then(|text| address(text));
        let scheme = schemes.pop().and_then(|text| scheme(&text));
        let host = hosts.pop().filter(|host| !host.is_empty());
        hops.push(Hop { client, scheme, host });
    }
    hops.reverse();
    hops
}

/// The hops by `Forwarded`, the nearest last.
fn forwarded(headers: &HeaderMap) -> Vec<Hop> {
    let mut hops = Vec::new();
    for field in headers.get_all(FORWARDED) {
        // Nothing before a malformed field can be attributed.
        match field.to_str().ok().and_then(forwarded_field) {
            Some(more) => hops.extend(more),
            None => hops = vec![Hop::default()],
        }
    }
    hops
}

/// The elements of one field: `for=192.0.2.60;proto=http, for="[2001:db8::17]:4711"`.
fn forwarded_field(field: &str) -> Option<Vec<Hop>> {
    let mut hops = Vec::new();
    for element in split_unquoted(field, ',')? {
        let mut hop = Hop::default();
        for pair in split_unquoted(element, ';')?.into_iter().filter(|pair| !pair.trim().is_empty())
        {
            let (name, value) = pair.split_once('=')?;
            let value = unquoted(value.trim());
            match name.trim().to_ascii_lowercase().as_str() {
                "for" => hop.client = address(&value),
                "proto" => hop.scheme = scheme(&value),
                "host" => hop.host = Some(value),
                _ => {}
            }
        }
        hops.push(hop);
    }
    Some(hops)
}

/// Splits a text at a separator outside quotes. `None`: a quote is not closed.
fn split_unquoted(text: &str, separator: char) -> Option<Vec<&str>> {
    let (mut parts, mut start, mut quoted, mut escaped) = (Vec::new(), 0, false, false);
    for (at, character) in text.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ if character == separator && !quoted => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    (!quoted).then_some(parts)
}

fn unquoted(value: &str) -> String {
    let Some(inner) = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')) else {
        return value.to_owned();
    };
    let mut text = String::new();
    let mut characters = inner.chars();
    while let Some(character) = characters.next() {
        text.extend(if character == '\\' { characters.next() } else { Some(character) });
    }
    text
}

/// Parses an address, with or without a port: `192.0.2.7:443`, `[2001:db8::1]:443`, `2001:db8::1`.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let plain = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let address = plain.unwrap_or(text).parse::<IpAddr>();
    let address = address.or_else(|_| text.parse().map(|address: SocketAddr| address.ip()));
    address.ok().map(|address| address.to_canonical())
}

fn scheme(text: &str) -> Option<Scheme> {
    match text.to_ascii_lowercase().as_str() {
        "https" | "wss" => Some(Scheme::Https),
        "http" | "ws" => Some(Scheme::Http),
        _ => None,
    }
}

/// The value of `X-Forwarded-For` for the upstream: the client and the proxies, without the client's own text.
pub(crate) fn x_forwarded_for(client: &Client) -> String {
    let proxies = client.proxies.iter();
    let hops = std::iter::once(&client.address).chain(proxies).map(ToString::to_string);
    hops.collect::<Vec<_>>().join(", ")
}

/// The value of `Forwarded` for the upstream. `host`: valid in a header.
pub(crate) fn forwarded_value(client: &Client, scheme: Scheme, host: &str) -> String {
    let node = |address: &IpAddr| match address {
        IpAddr::V4(address) => format!("for={address}"),
        IpAddr::V6(address) => format!("for=\"[{address}]\""),
    };
    let first = format!("{};proto={};host=\"{host}\"", node(&client.address), scheme.as_str());
    let hops = std::iter::once(first).chain(client.proxies.iter().map(node));
    hops.collect::<Vec<_>>().join(", ")
}

/// Whether one of the networks contains an address.
pub(crate) fn any_contains(networks: &[Network], address: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(address))
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;
