use contract::Unproven;

use super::*;

fn route(path: &str) -> RouteConfig {
    RouteConfig { path: path.to_owned(), ..RouteConfig::default() }
}

fn read(text: &str) -> Result<Routes, String> {
    let table: toml::Table = text.parse().expect("TOML");
    let mut reader = TableReader::new("edge", &table, &["route"]);
    let routes = Routes::read(&mut reader);
    reader.finish(routes).map_err(|problems| problems[0].to_string())
}

#[test]
fn longest_prefix_applies() {
    let price = "[[route]]\npath = \"/p/\"\ncontract = \"product_page\"\nstaleness = \"1s\"\n\
                 unproven = \"serve-stale\"\n";
    let cart = "[[route]]\npath = \"/p/cart\"\nstore = false\n";
    let routes = read(&format!("{price}{cart}")).expect("valid");
    let page = routes.resolve("/p/42");
    assert_eq!(&*page.policy.rules.name, "product_page");
    assert_eq!(page.policy.rules.budget, Duration::from_secs(1));
    assert_eq!(page.policy.rules.unproven, Unproven::ServeStale);
    assert!(!routes.resolve("/p/cart/1").store);
    assert_eq!(&*routes.resolve("/search").policy.rules.name, "page");
}

#[test]
fn strictest_reading_applies() {
    let account = "[[route]]\npath = \"/account\"\nstore = false\n";
    let static_ = "[[route]]\npath = \"/static/\"\n";
    let spaces = "[[route]]\npath = \"/my pages/ü+/\"\nstore = false\n";
    let routes = read(&format!("{account}{static_}{spaces}")).expect("valid");
    let stores = |target: &str| {
        let path = path::normalize_path(target).expect("a normal form");
        routes.resolve(&path).store
    };
    for spelling in [
        "/account/1",
        "//account",
        "/%61ccount",
        "/static/../account",
        "/static/..%2faccount",
        "/static/..%255Caccount",
        "/static/..;/account",
        "/static%2F..%2Faccount",
        "/ACCOUNT",
        "/;v=1/Account",
        "/my%20pages/%C3%BC+/1",
        "/my%20pages/ü%2B/1",
        "/account/..%2Fstatic/app.css",
    ] {
        assert!(!stores(spelling), "{spelling}");
    }
    for other in ["/static/app.css", "/static/a%2Fb", "/resize/https://host/a.jpg", "/p/SKU-1"] {
        assert!(stores(other), "{other}");
    }
    let prompt = "[[route]]\npath = \"/p/\"\nstaleness = \"1s\"\n";
    let routes = read(prompt).expect("valid");
    assert_eq!(routes.resolve("//p/42").policy.rules.budget, Duration::from_secs(1));
}

#[test]
fn invalid_route_rejected() {
    let named = RouteConfig { contract: "a\"b".into(), ..route("/") };
    let ignoring = RouteConfig { audit_ignore: vec!["(".into()], ..route("/") };
    let ambiguous = ["/a//b", "/a/../b", "/.", "/a\\b", "/a;b"].map(route);
    let others = [route("p"), route("/a?b"), named, ignoring];
    for config in others.into_iter().chain(ambiguous) {
        assert!(Routes::new(std::slice::from_ref(&config)).is_err(), "{config:?}");
    }
    let twice = Routes::new(&[route("/a"), route("/a")]).expect_err("twice");
    assert_eq!(twice.to_string(), "edge.route \"/a\": duplicate route");
    for (keys, problem) in [
        ("path = \"p\"", "edge.route[0]: a path must start with `/`"),
        ("path = \"/\"\ncontract = \"A\"", "edge.route[0]: contract = \"A\" is not a valid"),
        ("path = \"/\"\nstaleness = \"soon\"", "edge.route[0].staleness: `soon` is not"),
        ("path = \"/\"\nunproven = \"guess\"", "edge.route[0].unproven: `guess` is not"),
        ("path = \"/\"\npriority = \"vip\"", "edge.route[0].priority: `vip` is not"),
        (
            "path = \"/\"\nkey_headers = [\"Cookie\"]",
            "edge.route[0]: key_headers: \"Cookie\" differs",
        ),
        ("path = \"/\"\nkey_headers = [\"a b\"]", "edge.route[0]: key_headers: \"a b\" is not"),
        ("path = \"/\"\nkey_headers = [\"range\"]", "edge.route[0]: key_headers: \"range\" is not"),
        ("path = \"/\"\nignore_query = [\"a=b\"]", "edge.route[0]: ignore_query: \"a=b\" is not"),
        ("path = \"/\"\n[[route]]\npath = \"/\"", "edge.route: edge.route \"/\": duplicate"),
    ] {
        let err = read(&format!("[[route]]\n{keys}")).expect_err(keys);
        assert!(err.starts_with(problem), "{err}");
    }
}

#[test]
fn route_overrides_timeouts_of_upstream() {
    let reports = "[[route]]\npath = \"/reports/\"\ntimeout = \"5min\"\n";
    let quick = "[[route]]\npath = \"/quick/\"\ntotal_timeout = \"0s\"\n";
    let second = Duration::from_secs(1);
    let upstream = Timeouts { first_byte: second, between_bytes: second, total: Some(second) };
    let routes = read(&format!("{reports}{quick}")).expect("valid").with_timeouts(upstream, second);
    let of = |path: &str| routes.resolve(path).timeouts;
    let minutes = Duration::from_secs(300);
    assert_eq!(of("/reports/1"), Timeouts { first_byte: minutes, ..upstream });
    assert_eq!(of("/quick/1"), Timeouts { total: None, ..upstream });
    assert_eq!(of("/"), upstream);
    let rules = &routes.resolve("/").policy.rules;
    assert_eq!((rules.load_timeout, rules.wait_timeout), (Some(second), Some(2 * second)));
    assert_eq!(routes.resolve("/quick/1").policy.rules.load_timeout, Some(UNLIMITED));
}

#[test]
fn route_limits_page_lifetime() {
    let route = RouteConfig { max_lifetime: Duration::from_secs(30), ..route("/") };
    let routes = Routes::new(&[route]).expect("valid");
    let ttl = |lifetime, age: Option<u64>| {
        let age = age.map(Duration::from_secs);
        routes.resolve("/").ttl(Duration::from_secs(lifetime), age).as_secs()
    };
    assert_eq!(ttl(20, None), 20);
    assert_eq!(ttl(40, None), 30);
    assert_eq!(ttl(40, Some(0)), 30);
    assert_eq!(ttl(40, Some(45)), 15, "the rest of the budget of a minute");
    assert_eq!(ttl(40, Some(61)), 0);
}

/// A new option of a route has to be added here, and to be set by a key.
#[test]
fn every_option_of_a_route_has_a_key() {
    let text = "path = \"/p/\"\ncontract = \"product\"\nstaleness = \"1s\"\nunproven = \"fail\"\n\
                max_lifetime = \"1s\"\nstale_while_revalidate = \"1s\"\npriority = \"critical\"\n\
                shows = [\"a\"]\naudit_ignore = [\"a\"]\nstore = false\ntimeout = \"1s\"\n\
                between_bytes_timeout = \"1s\"\ntotal_timeout = \"1s\"\nkey_headers = [\"a\"]\n\
                ignore_query = [\"a\"]\nsort_query = true";
    let table: toml::Table = text.parse().expect("TOML");
    let mut reader = TableReader::new("edge.route[0]", &table, RouteConfig::KEYS);
    let route = RouteConfig::read(&mut reader);
    let route = reader.finish(route).expect("valid");
    let default = RouteConfig::default();
    let RouteConfig {
        path,
        contract,
        staleness,
        unproven,
        max_lifetime,
        stale_while_revalidate,
        priority,
        shows,
        audit_ignore,
        store,
        timeouts,
        key_headers,
        ignore_query,
        sort_query,
    } = route;
    assert!(path != default.path && contract != default.contract);
    assert!(staleness != default.staleness && unproven != default.unproven);
    assert!(max_lifetime != default.max_lifetime && priority != default.priority);
    assert!(stale_while_revalidate != default.stale_while_revalidate && store != default.store);
    assert!(shows != default.shows && audit_ignore != default.audit_ignore);
    assert!(key_headers != default.key_headers && ignore_query != default.ignore_query);
    assert_ne!(sort_query, default.sort_query);
    let second = Some(Duration::from_secs(1));
    let expected = TimeoutOverrides { first_byte: second, between_bytes: second, total: second };
    assert_eq!(timeouts, expected);
}
