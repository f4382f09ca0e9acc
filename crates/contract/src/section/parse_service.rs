//! Parser of `value = { http = "…", … }`.

use std::time::Duration;

use crate::config::TableReader;
use crate::model::service::{Service, ServiceHeader, ServiceUrl};

/// Reads a service from its table.
pub(super) fn read(value: &mut TableReader<'_>) -> Option<Service> {
    const URL: &str = "write the address of one value, such as \"http://pricing:8080/prices/{id}\"";
    const HEADER: &str =
        "write \"Name: value\", or \"Name: $VARIABLE\" for the content of an environment variable";
    let url = value.required("http", "malformed-url", URL, ServiceUrl::parse);
    let timeout = value.duration("timeout", Duration::from_nanos(1)..=Duration::from_secs(60));
    let connections = value.whole_number("connections", 1..=1024).unwrap_or(32);
    let mut types = value.list("types", "write it as \"text/html\"", parse_media_type);
    if types.is_empty() {
        types.push("application/json".to_owned());
    }
    Some(Service {
        timeout: timeout.unwrap_or(Duration::from_secs(2)),
        connections: connections as usize,
        types,
        max_body_bytes: value.size("max_body", 1..=u64::MAX).unwrap_or(4 << 20),
        headers: value.list("headers", HEADER, ServiceHeader::parse),
        url: url?,
    })
}

fn parse_media_type(text: &str) -> Result<String, &'static str> {
    let known = |c: u8| c.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&c);
    let part = |part: &str| !part.is_empty() && part.bytes().all(known);
    match text.split_once('/') {
        Some((kind, sub)) if part(kind) && part(sub) => Ok(text.to_ascii_lowercase()),
        _ => Err("it is not a media type without parameters"),
    }
}
