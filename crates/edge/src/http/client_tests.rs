use http::HeaderValue;

use super::*;

fn described(kind: ForwardingHeaders, fields: &[(&'static str, &str)]) -> Described {
    let headers: HeaderMap = fields
        .iter()
        .map(|(name, value)| {
            let value = HeaderValue::from_bytes(value.as_bytes()).expect("a value");
            (HeaderName::from_static(name), value)
        })
        .collect();
    let trusted: Vec<Network> =
        ["10.0.0.0/8", "2001:db8::/32"].map(|network| network.parse().expect("a network")).into();
    describe(&headers, kind, [10, 0, 0, 1].into(), |peer| any_contains(&trusted, peer))
}

fn by_x_forwarded(clients: &str) -> String {
    x_forwarded_for(
        &described(ForwardingHeaders::XForwarded, &[("x-forwarded-for", clients)]).client,
    )
}

#[test]
fn last_untrusted_address_is_client() {
    for (clients, expected) in [
        ("203.0.113.9", "203.0.113.9, 10.0.0.1"),
        ("1.2.3.4, 203.0.113.9", "203.0.113.9, 10.0.0.1"),
        ("1.2.3.4, 203.0.113.9, 10.0.0.7", "203.0.113.9, 10.0.0.7, 10.0.0.1"),
        ("1.2.3.4, 10.9.9.9, 203.0.113.9", "203.0.113.9, 10.0.0.1"),
        ("10.0.0.9, 10.0.0.7", "10.0.0.9, 10.0.0.7, 10.0.0.1"),
        ("203.0.113.9:4711", "203.0.113.9, 10.0.0.1"),
        ("[2001:db9::1]:443", "2001:db9::1, 10.0.0.1"),
        ("2001:db9::1", "2001:db9::1, 10.0.0.1"),
        ("::ffff:203.0.113.9", "203.0.113.9, 10.0.0.1"),
    ] {
        assert_eq!(by_x_forwarded(clients), expected, "{clients}");
    }
}

#[test]
fn unknown_hop_ends_search() {
    for clients in
        ["", "unknown", "1.2.3.4, unknown", "1.2.3.4, _hidden", "1.2.3.4,", "1.2.3.4, \u{fc}"]
    {
        assert_eq!(by_x_forwarded(clients), "10.0.0.1", "{clients}");
    }
    assert_eq!(by_x_forwarded("1.2.3.4, unknown, 10.0.0.7"), "10.0.0.7, 10.0.0.1");
}

#[test]
fn fields_of_one_name_are_one_list() {
    let fields = [("x-forwarded-for", "1.2.3.4"), ("x-forwarded-for", "203.0.113.9, 10.0.0.7")];
    let described = described(ForwardingHeaders::XForwarded, &fields);
    assert_eq!(x_forwarded_for(&described.client), "203.0.113.9, 10.0.0.7, 10.0.0.1");
}

#[test]
fn scheme_and_host_are_those_of_the_clients_hop() {
    let of = |clients: &'static str, schemes: &'static str, hosts: &'static str| {
        let fields = [
            ("x-forwarded-for", clients),
            ("x-forwarded-proto", schemes),
            ("x-forwarded-host", hosts),
        ];
        let described = described(ForwardingHeaders::XForwarded, &fields);
        (described.scheme, described.host.unwrap_or_default())
    };
    let (http, https) = (Some(Scheme::Http), Some(Scheme::Https));
    assert_eq!(of("203.0.113.9", "https", "shop"), (https, "shop".into()));
    assert_eq!(of("203.0.113.9", "HTTPS", "a, shop"), (https, "shop".into()), "the client's text");
    assert_eq!(of("203.0.113.9", "https, http", ""), (http, String::new()));
    assert_eq!(of("203.0.113.9, 10.0.0.7", "https, http", "shop, lb"), (https, "shop".into()));
    assert_eq!(of("203.0.113.9, 10.0.0.7", "https", "shop"), (https, "shop".into()));
    assert_eq!(of("203.0.113.9", "gopher", "shop"), (None, "shop".into()));
}

#[test]
fn forwarded_elements_read() {
    let of = |value: &str| {
        let described = described(ForwardingHeaders::Forwarded, &[("forwarded", value)]);
        (x_forwarded_for(&described.client), described.scheme, described.host)
    };
    let https = Some(Scheme::Https);
    assert_eq!(
        of("for=1.2.3.4;host=evil, For=\"203.0.113.9:80\";Proto=https;host=\"shop\""),
        ("203.0.113.9, 10.0.0.1".into(), https, Some("shop".into()))
    );
    assert_eq!(
        of("for=\"[2001:db9::1]\";proto=https, for=10.0.0.7;by=_lb"),
        ("2001:db9::1, 10.0.0.7, 10.0.0.1".into(), https, None)
    );
    assert_eq!(of("for=_hidden;proto=https"), ("10.0.0.1".into(), https, None));
    for malformed in ["for=\"203.0.113.9", "203.0.113.9", "for=1.2.3.4, nonsense", ""] {
        assert_eq!(of(malformed), ("10.0.0.1".into(), None, None), "{malformed}");
    }
    let two = [("forwarded", "for=\"1.2.3.4"), ("forwarded", "for=203.0.113.9")];
    let described = described(ForwardingHeaders::Forwarded, &two);
    assert_eq!(x_forwarded_for(&described.client), "203.0.113.9, 10.0.0.1");
}

#[test]
fn other_kind_of_headers_ignored() {
    let both = [("forwarded", "for=1.2.3.4;proto=https"), ("x-forwarded-for", "203.0.113.9")];
    let client = described(ForwardingHeaders::XForwarded, &both);
    assert_eq!(
        (x_forwarded_for(&client.client), client.scheme),
        ("203.0.113.9, 10.0.0.1".into(), None)
    );
    let client = described(ForwardingHeaders::Forwarded, &both);
    assert_eq!(x_forwarded_for(&client.client), "1.2.3.4, 10.0.0.1");
}

#[test]
fn forwarded_value_is_parsed_back() {
    let client =
        Client { address: "2001:db9::1".parse().expect("v6"), proxies: vec![[10, 0, 0, 7].into()] };
    let value = forwarded_value(&client, Scheme::Https, "shop.example:8443");
    assert_eq!(value, "for=\"[2001:db9::1]\";proto=https;host=\"shop.example:8443\", for=10.0.0.7");
    let described = described(ForwardingHeaders::Forwarded, &[("forwarded", &value)]);
    assert_eq!(x_forwarded_for(&described.client), "2001:db9::1, 10.0.0.7, 10.0.0.1");
    assert_eq!(described.host.as_deref(), Some("shop.example:8443"));
}
