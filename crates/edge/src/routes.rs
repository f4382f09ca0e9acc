//! Which pages may be how stale: one policy per path prefix.

use std::sync::Arc;
use std::time::Duration;

use cache::Policy;
use contract::{Class, Unproven};
use serde::Deserialize;
use thiserror::Error;

use crate::proof::MAX_NAME_BYTES;

const DEFAULT_STALENESS: Duration = Duration::from_secs(60);
const DEFAULT_MAX_LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// One `[[edge.route]]` as written. What is left out is as for pages without a route.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteConfig {
    /// The paths it is for: all that start with this, `/p/`. Of several the longest counts.
    pub path: String,
    /// The name in `Tidegate-Freshness`, logs and metrics; `page` if left out.
    pub contract: Option<String>,
    /// How old a page may be beside the log, `"1s"`, `"500ms"`; `"60s"` if left out.
    pub staleness: Option<String>,
    /// What to do when that can't be proven: `"read-origin"` (if left out), `"serve-stale"` or
    /// `"fail"`.
    pub unproven: Option<String>,
    /// The longest a page is kept, whatever its response allows; `"1day"` if left out.
    pub max_lifetime: Option<String>,
    /// How long an expired page may be served while one request renews it; not at all if left out.
    pub stale_while_revalidate: Option<String>,
    /// Who is shed first when the upstream is short: `"ephemeral"`, `"standard"` (if left out) or
    /// `"critical"`.
    pub priority: Option<String>,
    /// False: never stored, whatever the response says (cart, checkout).
    pub store: Option<bool>,
}

/// A route that can't be.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("edge.route {path:?}: {problem}")]
pub struct RouteError {
    path: String,
    problem: String,
}

/// Checked routes, and what holds for every other page.
#[derive(Clone, Debug)]
pub struct Routes {
    /// The longest prefix first, so that the first match is the one.
    routes: Vec<Route>,
    default: Route,
}

/// What holds for a page.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    prefix: String,
    pub(crate) policy: Arc<Policy>,
    pub(crate) max_lifetime: Duration,
    pub(crate) store: bool,
}

impl Default for Routes {
    fn default() -> Self {
        let default = RouteConfig { path: "/".to_owned(), ..RouteConfig::default() };
        let default = Route::check(&default).expect("the defaults are valid");
        Self { routes: Vec::new(), default }
    }
}

impl Routes {
    /// Checks routes.
    ///
    /// # Errors
    /// [`RouteError`] names the first route that is wrong, and what is wrong with it.
    pub fn new(configs: &[RouteConfig]) -> Result<Self, RouteError> {
        let mut routes = configs.iter().map(Route::check).collect::<Result<Vec<_>, _>>()?;
        routes.sort_by(|a, b| b.prefix.len().cmp(&a.prefix.len()).then(a.prefix.cmp(&b.prefix)));
        if let Some(pair) = routes.windows(2).find(|pair| pair[0].prefix == pair[1].prefix) {
            let path = pair[0].prefix.clone();
            return Err(RouteError { path, problem: "it is there twice".to_owned() });
        }
        Ok(Self { routes, ..Self::default() })
    }

    /// What holds for a path in its normal form.
    pub(crate) fn of(&self, path: &str) -> &Route {
        self.routes.iter().find(|route| path.starts_with(&route.prefix)).unwrap_or(&self.default)
    }
}

impl Route {
    fn check(config: &RouteConfig) -> Result<Self, RouteError> {
        let wrong = |problem: String| RouteError { path: config.path.clone(), problem };
        if !config.path.starts_with('/') || config.path.contains(['?', '#', '%']) {
            return Err(wrong("a path starts with `/` and has no `?`, `#` or `%`".to_owned()));
        }
        let duration = |name: &str, text: &Option<String>, default: Duration| match text {
            None => Ok(default),
            Some(text) => humantime::parse_duration(text)
                .map_err(|err| wrong(format!("{name} = {text:?} is no duration: {err}"))),
        };
        let name = config.contract.as_deref().unwrap_or("page");
        if !is_name(name) {
            return Err(wrong(format!(
                "contract = {name:?} is no name: a lower-case letter, then lower-case letters, \
                 digits, `_` and `-`, at most {MAX_NAME_BYTES}"
            )));
        }
        let mut policy =
            Policy::new(name, duration("staleness", &config.staleness, DEFAULT_STALENESS)?);
        policy.unproven = match config.unproven.as_deref() {
            None | Some("read-origin") => Unproven::ReadOrigin,
            Some("serve-stale") => Unproven::ServeStale,
            Some("fail") => Unproven::Fail,
            Some(other) => {
                return Err(wrong(format!(
                    "unproven = {other:?} is none of read-origin, serve-stale, fail"
                )));
            }
        };
        policy.priority = match config.priority.as_deref() {
            None | Some("standard") => Class::Standard,
            Some("ephemeral") => Class::Ephemeral,
            Some("critical") => Class::Critical,
            Some(other) => {
                return Err(wrong(format!(
                    "priority = {other:?} is none of ephemeral, standard, critical"
                )));
            }
        };
        policy.pool = policy.priority;
        policy.stale_while_revalidate =
            duration("stale_while_revalidate", &config.stale_while_revalidate, Duration::ZERO)?;
        let max_lifetime = duration("max_lifetime", &config.max_lifetime, DEFAULT_MAX_LIFETIME)?;
        policy.ttl = max_lifetime;
        // The gateway's own limit on bodies is the one that counts.
        policy.max_bytes = u64::MAX;
        Ok(Self {
            prefix: config.path.clone(),
            policy: Arc::new(policy),
            max_lifetime,
            store: config.store.unwrap_or(true) && !max_lifetime.is_zero(),
        })
    }

    /// The life of an entry that may be fresh for `lifetime`. The engine spreads it, downwards only.
    pub(crate) fn ttl(&self, lifetime: Duration) -> Duration {
        lifetime.min(self.max_lifetime)
    }
}

fn is_name(name: &str) -> bool {
    name.len() <= MAX_NAME_BYTES
        && name.as_bytes().first().is_some_and(u8::is_ascii_lowercase)
        && name.bytes().all(|byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-')
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(path: &str) -> RouteConfig {
        RouteConfig { path: path.to_owned(), ..RouteConfig::default() }
    }

    #[test]
    fn the_longest_prefix_counts() {
        let price = RouteConfig {
            contract: Some("product_page".into()),
            staleness: Some("1s".into()),
            unproven: Some("serve-stale".into()),
            ..route("/p/")
        };
        let cart = RouteConfig { store: Some(false), ..route("/p/cart") };
        let routes = Routes::new(&[price, cart]).expect("valid");
        let page = routes.of("/p/42");
        assert_eq!(&*page.policy.name, "product_page");
        assert_eq!(page.policy.budget, Duration::from_secs(1));
        assert_eq!(page.policy.unproven, Unproven::ServeStale);
        assert!(!routes.of("/p/cart/1").store);
        assert_eq!(&*routes.of("/search").policy.name, "page");
    }

    #[test]
    fn mistakes_are_named() {
        let wrong = [
            route("p"),
            route("/a?b"),
            RouteConfig { staleness: Some("soon".into()), ..route("/") },
            RouteConfig { unproven: Some("guess".into()), ..route("/") },
            RouteConfig { priority: Some("vip".into()), ..route("/") },
            RouteConfig { contract: Some("a\"b".into()), ..route("/") },
        ];
        for config in wrong {
            assert!(Routes::new(std::slice::from_ref(&config)).is_err(), "{config:?}");
        }
        let twice = Routes::new(&[route("/a"), route("/a")]).expect_err("twice");
        assert_eq!(twice.to_string(), "edge.route \"/a\": it is there twice");
    }

    #[test]
    fn a_page_lives_as_long_as_response_and_route_allow() {
        let route = RouteConfig { max_lifetime: Some("30s".into()), ..route("/") };
        let routes = Routes::new(&[route]).expect("valid");
        assert_eq!(routes.of("/").ttl(Duration::from_secs(20)), Duration::from_secs(20));
        assert_eq!(routes.of("/").ttl(Duration::from_secs(40)), Duration::from_secs(30));
    }
}
