use http::{HeaderName, HeaderValue};

use super::*;

const NOON: &str = "Sun, 06 Nov 1994 12:00:00 GMT";
const ONE_MINUTE_PAST: &str = "Sun, 06 Nov 1994 12:01:00 GMT";

fn evaluated(
    status: u16,
    cookies: bool,
    fields: &[(&'static str, &str)],
) -> Result<Storable, NotStored> {
    let headers = fields
        .iter()
        .map(|(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_bytes(value.as_bytes()).expect("value"),
            )
        })
        .collect();
    let keyed = [HeaderName::from_static("x-currency")];
    let context = RequestContext { keyed: &keyed, cookies, now_s: 784_123_200, max_tags: 3 };
    evaluate(StatusCode::from_u16(status).expect("a status"), &headers, context)
}

fn lifetime(fields: &[(&'static str, &str)]) -> Result<u64, NotStored> {
    evaluated(200, false, fields).map(|storable| storable.lifetime.as_secs())
}

#[test]
fn caching_rules_table() {
    let cc = "cache-control";
    let cdn = "cdn-cache-control";
    type Row<'a> = (&'a [(&'static str, &'a str)], Result<u64, NotStored>);
    let table: &[Row<'_>] = &[
        (&[], Err(NotStored::NotFresh)),
        (&[("last-modified", NOON)], Err(NotStored::NotFresh)),
        (&[(cc, "public")], Err(NotStored::NotFresh)),
        (&[(cc, "max-age=60")], Ok(60)),
        (&[(cc, "public, max-age=60, s-maxage=10")], Ok(10)),
        (&[(cc, "max-age=60, s-maxage=x")], Err(NotStored::NotFresh)),
        (&[(cc, "max-age=0")], Err(NotStored::NotFresh)),
        (&[(cc, "max-age=60"), ("age", "20")], Ok(40)),
        (&[(cc, "max-age=60"), ("age", "60")], Err(NotStored::NotFresh)),
        (&[(cc, "max-age=60"), ("age", "20, 0")], Ok(40)),
        (&[(cc, "max-age=60"), ("age", "0"), ("age", "20")], Ok(40)),
        (&[(cc, "max-age=60"), ("age", "0, old")], Err(NotStored::NotFresh)),
        (&[(cc, "max-age=60"), ("age", "0, 0")], Ok(60)),
        (&[(cc, "max-age=60"), ("age", "old")], Err(NotStored::NotFresh)),
        (&[(cc, "max-age=60, private")], Err(NotStored::Private)),
        (&[(cc, "max-age=60"), (cc, "no-store")], Err(NotStored::NoStore)),
        (&[(cc, "max-age=60, no-cache")], Err(NotStored::NoCache)),
        (&[(cc, "max-age=60"), ("set-cookie", "sid=1")], Err(NotStored::SetCookie)),
        (&[(cdn, "max-age=5"), (cc, "no-store")], Ok(5)),
        (&[(cdn, "no-store"), (cc, "max-age=60")], Err(NotStored::NoStore)),
        (&[(cdn, "Broken!"), (cc, "max-age=60")], Ok(60)),
        (&[(cdn, "max-age=\"10000\""), (cc, "no-store")], Err(NotStored::NoStore)),
        (&[(cdn, "max-age=1.5"), (cc, "max-age=60")], Ok(60)),
        (&[(cdn, "max-age=5"), ("set-cookie", "sid=1")], Err(NotStored::SetCookie)),
        (&[("date", NOON), ("expires", ONE_MINUTE_PAST)], Ok(60)),
        (&[("expires", ONE_MINUTE_PAST)], Ok(60)),
        (&[("date", ONE_MINUTE_PAST), ("expires", NOON)], Err(NotStored::NotFresh)),
        (&[("expires", "0")], Err(NotStored::NotFresh)),
        (&[("expires", ONE_MINUTE_PAST), (cc, "max-age=7")], Ok(7)),
        (&[(cc, "max-age=60"), ("vary", "Accept-Encoding")], Ok(60)),
        (&[(cc, "max-age=60"), ("vary", "accept-encoding, Cookie")], Err(NotStored::Vary)),
        (&[(cc, "max-age=60"), ("vary", "*")], Err(NotStored::Vary)),
        (&[(cc, "max-age=60"), ("vary", "User-Agent")], Err(NotStored::Vary)),
    ];
    for (fields, expected) in table {
        assert_eq!(&lifetime(fields), expected, "{fields:?}");
    }
}

#[test]
fn only_cacheable_statuses_stored() {
    let fresh = [("cache-control", "s-maxage=60")];
    for status in [200, 301, 308, 404, 410] {
        assert!(evaluated(status, false, &fresh).is_ok(), "{status}");
    }
    for status in [201, 204, 206, 302, 304, 307, 401, 403, 429, 500, 503] {
        assert_eq!(evaluated(status, false, &fresh), Err(NotStored::Status), "{status}");
    }
}

#[test]
fn cookie_request_needs_shared_response() {
    assert_eq!(evaluated(200, true, &[("cache-control", "max-age=60")]), Err(NotStored::Cookie));
    for (name, value) in [
        ("cache-control", "public, max-age=60"),
        ("cache-control", "s-maxage=60"),
        ("cdn-cache-control", "max-age=60"),
    ] {
        let storable = evaluated(200, true, &[(name, value)]).expect("shared");
        assert!(storable.shared);
    }
    let anonymous = evaluated(200, false, &[("cache-control", "max-age=60")]).expect("storable");
    assert!(!anonymous.shared, "stored, but not for requests with cookies");
}

#[test]
fn surrogate_key_tagged_or_rejected() {
    let tagged = |tags: &'static str| {
        evaluated(200, false, &[("cache-control", "max-age=60"), ("surrogate-key", tags)]).map(
            |storable| storable.tags.iter().map(|tag| tag.as_str().to_owned()).collect::<Vec<_>>(),
        )
    };
    assert_eq!(
        tagged("product-42  category-7 product-42"),
        Ok(vec!["product-42".into(), "category-7".into()])
    );
    assert_eq!(tagged(""), Ok(vec![]));
    assert_eq!(tagged("a b c d"), Err(NotStored::Tags), "more than the limit");
    assert_eq!(tagged("caf\u{e9}"), Err(NotStored::Tags));
}
