//! Routes: one policy per path prefix.

use std::sync::Arc;
use std::time::Duration;

use cache::{Policy, Rules};
use contract::config::{MAX_DURATION, ValueError, parse_choice, parse_duration};
use contract::{CLASS_WORDS, Class, Contracts, Evidence, PageEvidence, UNPROVEN_WORDS, Unproven};
use serde::Deserialize;
use thiserror::Error;

use crate::http::body_diff::IgnoredParts;
use crate::http::freshness::MAX_NAME_BYTES;

const DEFAULT_STALENESS: Duration = Duration::from_secs(60);
const DEFAULT_MAX_LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// One `[[edge.route]]` as configured. Missing keys have the defaults of pages without a route.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteConfig {
    /// The path prefix, such as `/p/`. The longest matching prefix applies.
    pub path: String,
    /// The name in `Tidegate-Freshness`, logs and metrics. Default: `page`.
    pub contract: Option<String>,
    /// The staleness budget, such as `"1s"` or `"500ms"`. Default: `"60s"`.
    pub staleness: Option<String>,
    /// The rule where the budget can't be proven: `"read-origin"` (default), `"serve-stale"` or
    /// `"fail"`.
    pub unproven: Option<String>,
    /// The longest lifetime of a page; limits the lifetime of its response. Default: `"1day"`.
    pub max_lifetime: Option<String>,
    /// How long an expired page may be served while one request renews it. Default: not at all.
    pub stale_while_revalidate: Option<String>,
    /// The priority class by which requests are shed when the upstream is overloaded: `"ephemeral"`
    /// (first), `"standard"` (default) or `"critical"` (last).
    pub priority: Option<String>,
    /// The contracts whose values the pages show, and nothing else: the tags that they raise are proof, even
    /// where a contract lists columns. Default: every column of a tag's rows has to count.
    #[serde(default)]
    pub shows: Vec<String>,
    /// Regular expressions of the parts of a page that two loads may show differently, such as a form's token;
    /// the auditor of pages ignores them.
    #[serde(default)]
    pub audit_ignore: Vec<String>,
    /// False: pages are never stored, even if the response allows it (cart, checkout).
    pub store: Option<bool>,
}

/// A route is invalid.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("edge.route {path:?}: {problem}")]
pub struct RouteError {
    path: String,
    problem: String,
}

/// Validated routes, and the default route for all other pages.
#[derive(Clone, Debug)]
pub struct Routes {
    /// Sorted by length of the prefix, longest first, so that the first match is the longest.
    routes: Vec<Arc<Route>>,
    default: Arc<Route>,
}

/// The rules for the pages under one path prefix.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    prefix: String,
    pub(crate) policy: Arc<Policy>,
    pub(crate) max_lifetime: Duration,
    pub(crate) store: bool,
    shows: Vec<String>,
    /// The evidence of its pages, by their tags.
    pub(crate) evidence: PageEvidence,
    /// The parts that the auditor of pages ignores.
    pub(crate) ignored: IgnoredParts,
}

impl Default for Routes {
    fn default() -> Self {
        let default = RouteConfig { path: "/".to_owned(), ..RouteConfig::default() };
        let default = Route::validate(&default).expect("the defaults are valid");
        Self { routes: Vec::new(), default: Arc::new(default) }
    }
}

impl Routes {
    /// Validates routes.
    ///
    /// # Errors
    /// [`RouteError`] names the first invalid route and the problem.
    pub fn new(configs: &[RouteConfig]) -> Result<Self, RouteError> {
        let mut routes = configs.iter().map(Route::validate).collect::<Result<Vec<_>, _>>()?;
        routes.sort_by(|a, b| b.prefix.len().cmp(&a.prefix.len()).then(a.prefix.cmp(&b.prefix)));
        if let Some(pair) = routes.windows(2).find(|pair| pair[0].prefix == pair[1].prefix) {
            let path = pair[0].prefix.clone();
            return Err(RouteError { path, problem: "duplicate route".to_owned() });
        }
        let routes = routes.into_iter().map(Arc::new).collect();
        Ok(Self { routes, ..Self::default() })
    }

    /// Returns the routes with the evidence that `contracts` give their pages. Without it, all pages are proven
    /// by their age alone.
    #[must_use]
    pub fn with_contracts(&self, contracts: &Contracts) -> Self {
        let prove = |route: &Arc<Route>| {
            let evidence = PageEvidence::new(contracts, &route.shows);
            Arc::new(Route { evidence, ..Route::clone(route) })
        };
        Self { routes: self.routes.iter().map(prove).collect(), default: prove(&self.default) }
    }

    /// Returns the contracts that routes name in `shows`, each with the route's path.
    pub fn shown(&self) -> impl Iterator<Item = (&str, &str)> {
        let routes = self.routes.iter();
        routes.flat_map(|route| route.shows.iter().map(|name| (&*route.prefix, name.as_str())))
    }

    /// The route of a path in its normal form.
    pub(crate) fn resolve(&self, path: &str) -> &Arc<Route> {
        self.routes.iter().find(|route| path.starts_with(&route.prefix)).unwrap_or(&self.default)
    }
}

impl Route {
    fn validate(config: &RouteConfig) -> Result<Self, RouteError> {
        let invalid = |problem: String| RouteError { path: config.path.clone(), problem };
        if !config.path.starts_with('/') || config.path.contains(['?', '#', '%']) {
            return Err(invalid(
                "a path must start with `/` and must not contain `?`, `#` or `%`".to_owned(),
            ));
        }
        let wrong = |key: &str, err: ValueError| invalid(err.at(key).to_string());
        let duration = |key: &str, text: &Option<String>, default: Duration| match text {
            None => Ok(default),
            Some(text) => {
                parse_duration(text, Duration::ZERO..=MAX_DURATION).map_err(|err| wrong(key, err))
            }
        };
        let name = config.contract.as_deref().unwrap_or("page");
        if !is_name(name) {
            return Err(invalid(format!(
                "contract = {name:?} is not a valid name: a lower-case letter, then lower-case \
                 letters, digits, `_` and `-`, at most {MAX_NAME_BYTES} bytes"
            )));
        }
        let budget = duration("staleness", &config.staleness, DEFAULT_STALENESS)?;
        let mut rules = Rules::new(name, budget);
        rules.unproven = match config.unproven.as_deref() {
            None => Unproven::ReadOrigin,
            Some(text) => {
                parse_choice(text, &UNPROVEN_WORDS).map_err(|err| wrong("unproven", err))?
            }
        };
        rules.priority = match config.priority.as_deref() {
            None => Class::Standard,
            Some(text) => parse_choice(text, &CLASS_WORDS).map_err(|err| wrong("priority", err))?,
        };
        rules.pool = rules.priority;
        rules.stale_while_revalidate =
            duration("stale_while_revalidate", &config.stale_while_revalidate, Duration::ZERO)?;
        let max_lifetime = duration("max_lifetime", &config.max_lifetime, DEFAULT_MAX_LIFETIME)?;
        rules.ttl = max_lifetime;
        // `max_object_bytes` limits bodies.
        rules.max_bytes = u64::MAX;
        Ok(Self {
            prefix: config.path.clone(),
            policy: Arc::new(Policy::new(rules)),
            max_lifetime,
            store: config.store.unwrap_or(true) && !max_lifetime.is_zero(),
            shows: config.shows.clone(),
            evidence: PageEvidence::default(),
            ignored: IgnoredParts::parse(&config.audit_ignore)
                .map_err(|err| invalid(format!("audit_ignore: {err}")))?,
        })
    }

    /// The evidence of a page that was stored under the rules with the digest `proven_by`. Rules that have
    /// changed since prove nothing about it.
    pub(crate) fn evidence_under(&self, proven_by: Option<u64>) -> Evidence {
        match proven_by {
            Some(rules) if rules == self.evidence.digest() => Evidence::Log,
            _ => Evidence::Age,
        }
    }

    /// The TTL of an entry whose response is fresh for `lifetime`. The engine's jitter only shortens it.
    /// `age`: the age of a response that its age alone proves; such a page ends with the budget.
    pub(crate) fn ttl(&self, lifetime: Duration, age: Option<Duration>) -> Duration {
        let by_budget = age.map(|age| self.policy.rules.budget.saturating_sub(age));
        lifetime.min(self.max_lifetime).min(by_budget.unwrap_or(Duration::MAX))
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
    fn longest_prefix_applies() {
        let price = RouteConfig {
            contract: Some("product_page".into()),
            staleness: Some("1s".into()),
            unproven: Some("serve-stale".into()),
            ..route("/p/")
        };
        let cart = RouteConfig { store: Some(false), ..route("/p/cart") };
        let routes = Routes::new(&[price, cart]).expect("valid");
        let page = routes.resolve("/p/42");
        assert_eq!(&*page.policy.rules.name, "product_page");
        assert_eq!(page.policy.rules.budget, Duration::from_secs(1));
        assert_eq!(page.policy.rules.unproven, Unproven::ServeStale);
        assert!(!routes.resolve("/p/cart/1").store);
        assert_eq!(&*routes.resolve("/search").policy.rules.name, "page");
    }

    #[test]
    fn invalid_route_rejected() {
        let invalid = [
            route("p"),
            route("/a?b"),
            RouteConfig { staleness: Some("soon".into()), ..route("/") },
            RouteConfig { unproven: Some("guess".into()), ..route("/") },
            RouteConfig { priority: Some("vip".into()), ..route("/") },
            RouteConfig { contract: Some("a\"b".into()), ..route("/") },
            RouteConfig { audit_ignore: vec!["(".into()], ..route("/") },
        ];
        for config in invalid {
            assert!(Routes::new(std::slice::from_ref(&config)).is_err(), "{config:?}");
        }
        let twice = Routes::new(&[route("/a"), route("/a")]).expect_err("twice");
        assert_eq!(twice.to_string(), "edge.route \"/a\": duplicate route");
    }

    #[test]
    fn route_limits_page_lifetime() {
        let route = RouteConfig { max_lifetime: Some("30s".into()), ..route("/") };
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
}
