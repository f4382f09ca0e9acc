//! The cookies of a request in one field.

use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};

/// Joins the `Cookie` fields of a request. HTTP/2 clients send one for each cookie, and a server of HTTP/1.1 reads
/// one of them only (RFC 9113 §8.2.3).
pub(crate) fn join(headers: &mut HeaderMap) {
    let mut fields = headers.get_all(COOKIE).iter();
    let (Some(_), Some(_)) = (fields.next(), fields.next()) else { return };
    let fields: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    let joined = HeaderValue::from_bytes(&fields.join(&b"; "[..]));
    headers.insert(COOKIE, joined.expect("parts of header values form a header value"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_become_one() {
        let mut headers = HeaderMap::new();
        for field in [&b"a=1"[..], b"b=\xe9", b"c=3; d=4"] {
            headers.append(COOKIE, HeaderValue::from_bytes(field).expect("a value"));
        }
        join(&mut headers);
        let joined: Vec<&[u8]> =
            headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
        assert_eq!(joined, [b"a=1; b=\xe9; c=3; d=4"]);
        join(&mut headers);
        assert_eq!(headers.get_all(COOKIE).iter().count(), 1);
        join(&mut HeaderMap::new());
    }
}
