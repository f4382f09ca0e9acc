//! `[edge]`

use std::convert::Infallible;
use std::time::Duration;

use contract::config::{MAX_DURATION, TableReader, format_duration};
use contract::{CLASS_WORDS, UNPROVEN_WORDS};
use edge::{RouteConfig, Routes};

pub(super) const KEYS: &[&str] = &["route"];

pub(super) const ROUTE_KEYS: &[&str] = &[
    "path",
    "contract",
    "staleness",
    "unproven",
    "max_lifetime",
    "stale_while_revalidate",
    "priority",
    "shows",
    "audit_ignore",
    "store",
];

/// Reads the rules for pages.
pub(super) fn read(table: &mut TableReader<'_>) -> Option<Routes> {
    let routes = table.tables("route", ROUTE_KEYS, read_route);
    // Each of them is valid, so only two together can be invalid.
    Routes::new(&routes)
        .map_err(|err| table.problem("duplicate", "route", err.to_string(), "remove one"))
        .ok()
}

fn read_route(table: &mut TableReader<'_>) -> Option<RouteConfig> {
    const PATH: &str = "write the start of the paths that it is for, such as \"/p/\"";
    let mut duration =
        |key: &str| table.duration(key, Duration::ZERO..=MAX_DURATION).map(format_duration);
    let staleness = duration("staleness");
    let max_lifetime = duration("max_lifetime");
    let stale_while_revalidate = duration("stale_while_revalidate");
    let route = RouteConfig {
        contract: table.text("contract").map(str::to_owned),
        staleness,
        unproven: table.choice("unproven", &same_words(UNPROVEN_WORDS)).map(str::to_owned),
        max_lifetime,
        stale_while_revalidate,
        priority: table.choice("priority", &same_words(CLASS_WORDS)).map(str::to_owned),
        shows: table.list("shows", "write the names of contracts", |text| {
            Ok::<_, Infallible>(text.to_owned())
        }),
        audit_ignore: table.list("audit_ignore", "write regular expressions", |text| {
            Ok::<_, Infallible>(text.to_owned())
        }),
        store: table.flag("store"),
        path: table.required_text_with("path", PATH, |text| Ok(text.to_owned()))?,
    };
    match Routes::new(std::slice::from_ref(&route)) {
        Ok(_) => Some(route),
        Err(err) => {
            let text = err.to_string();
            // The problem's own path names the route.
            let message = text.strip_prefix(&format!("edge.route {:?}: ", route.path));
            let help = "correct it, or remove the route";
            table.problem("wrong-value", "", message.unwrap_or(&text), help);
            None
        }
    }
}

/// Pairs each word of `words` with itself: the gateway parses it.
fn same_words<T, const N: usize>(
    words: [(&'static str, T); N],
) -> [(&'static str, &'static str); N] {
    words.map(|(word, _)| (word, word))
}
