//! Routes: one policy per path prefix.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use cache::{Mappings, Policy, Rules};
use contract::config::{MAX_DURATION, TableReader};
use contract::{CLASS_WORDS, Class, Contracts, Evidence, PageEvidence, UNPROVEN_WORDS, Unproven};
use thiserror::Error;

use crate::http::body_diff::IgnoredParts;
use crate::http::freshness::MAX_NAME_BYTES;
use crate::settings::upstream_limits::{TimeoutOverrides, Timeouts};

/// The time that a load gets where its route sets no total timeout. The timeouts of its parts end it
/// earlier.
const UNLIMITED: Duration = Duration::from_secs(365 * 24 * 3600);

/// How long the readers of a page that may not be stored do not wait for each other. It counts from the last response.
const UNCACHEABLE_TTL: Duration = Duration::from_secs(120);

/// One `[[edge.route]]`. The defaults are those of pages without a route.
#[derive(Clone, Debug)]
pub struct RouteConfig {
    /// The path prefix, such as `/p/`. The longest matching prefix applies. Default: `/`.
    pub path: String,
    /// The name in `Tidegate-Freshness`, logs and metrics. Default: `page`.
    pub contract: String,
    /// The staleness budget. Default: 60 s.
    pub staleness: Duration,
    /// The rule where the budget can't be proven. Default: read the origin.
    pub unproven: Unproven,
    /// The longest lifetime of a page; limits the lifetime of its response. Default: a day.
    pub max_lifetime: Duration,
    /// How long an expired page may be served while one request renews it. Default: not at all.
    pub stale_while_revalidate: Duration,
    /// The priority class by which requests are shed when the upstream is overloaded: ephemeral first,
    /// critical last. Default: standard.
    pub priority: Class,
    /// The contracts whose values the pages show, and nothing else: the tags that they raise are proof, even
    /// where a contract lists columns. Default: every column of a tag's rows has to count.
    pub shows: Vec<String>,
    /// Regular expressions of the parts of a page that two loads may show differently, such as a form's token;
    /// the auditor of pages ignores them.
    pub audit_ignore: Vec<String>,
    /// False: pages are never stored, even if the response allows it (cart, checkout). Default: true.
    pub store: bool,
    /// The timeouts of exchanges with the upstream. Default: the upstream's.
    pub timeouts: TimeoutOverrides,
}

impl Default for RouteConfig {
    fn default() -> Self {
        Self {
            path: "/".to_owned(),
            contract: "page".to_owned(),
            staleness: Duration::from_secs(60),
            unproven: Unproven::ReadOrigin,
            max_lifetime: Duration::from_secs(24 * 3600),
            stale_while_revalidate: Duration::ZERO,
            priority: Class::Standard,
            shows: Vec::new(),
            audit_ignore: Vec::new(),
            store: true,
            timeouts: TimeoutOverrides::default(),
        }
    }
}

impl RouteConfig {
    fn read(table: &mut TableReader<'_>) -> Option<Self> {
        const PATH: &str = "write the start of the paths that it is for, such as \"/p/\"";
        let default = Self::default();
        let mut duration = |key: &str, default: Duration| {
            table.duration(key, Duration::ZERO..=MAX_DURATION).unwrap_or(default)
        };
        let staleness = duration("staleness", default.staleness);
        let max_lifetime = duration("max_lifetime", default.max_lifetime);
        let stale_while_revalidate =
            duration("stale_while_revalidate", default.stale_while_revalidate);
        let route = Self {
            contract: table.text("contract").map_or(default.contract, str::to_owned),
            staleness,
            unproven: table.choice("unproven", &UNPROVEN_WORDS).unwrap_or(default.unproven),
            max_lifetime,
            stale_while_revalidate,
            priority: table.choice("priority", &CLASS_WORDS).unwrap_or(default.priority),
            shows: texts(table, "shows", "write the names of contracts"),
            audit_ignore: texts(table, "audit_ignore", "write regular expressions"),
            store: table.flag("store").unwrap_or(default.store),
            timeouts: TimeoutOverrides::read(table),
            path: table.required_text_with("path", PATH, |text| Ok(text.to_owned()))?,
        };
        match route.check() {
            Ok(()) => Some(route),
            Err(problem) => {
                table.problem("wrong-value", "", problem, "correct it, or remove the route");
                None
            }
        }
    }

    /// Returns the problem of the path, of the name or of an expression.
    fn check(&self) -> Result<(), String> {
        if !self.path.starts_with('/') || self.path.contains(['?', '#', '%']) {
            let problem = "a path must start with `/` and must not contain `?`, `#` or `%`";
            return Err(problem.to_owned());
        }
        let name = &self.contract;
        if !is_name(name) {
            return Err(format!(
                "contract = {name:?} is not a valid name: a lower-case letter, then lower-case \
                 letters, digits, `_` and `-`, at most {MAX_NAME_BYTES} bytes"
            ));
        }
        IgnoredParts::parse(&self.audit_ignore)
            .map(drop)
            .map_err(|err| format!("audit_ignore: {err}"))
    }
}

fn texts(table: &mut TableReader<'_>, key: &str, help: &str) -> Vec<String> {
    table.list(key, help, |text| Ok::<_, Infallible>(text.to_owned()))
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
    overrides: TimeoutOverrides,
    /// The timeouts of exchanges with the upstream.
    pub(crate) timeouts: Timeouts,
    shows: Vec<String>,
    /// The evidence of its pages, by their tags.
    pub(crate) evidence: PageEvidence,
    /// The parts that the auditor of pages ignores.
    pub(crate) ignored: IgnoredParts,
}

impl Default for Routes {
    fn default() -> Self {
        let default = Route::new(&RouteConfig::default());
        Self { routes: Vec::new(), default: Arc::new(default) }
    }
}

impl Routes {
    /// The keys of an `[[edge.route]]`.
    pub const ROUTE_KEYS: &[&str] = &[
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
        "timeout",
        "between_bytes_timeout",
        "total_timeout",
    ];

    /// Reads the routes of `[edge]`. `None` only after a problem was recorded.
    pub fn read(table: &mut TableReader<'_>) -> Option<Self> {
        let routes = table.tables("route", Self::ROUTE_KEYS, RouteConfig::read);
        // Each of them is valid, so only two together can be invalid.
        Self::new(&routes)
            .map_err(|err| table.problem("duplicate", "route", err.to_string(), "remove one"))
            .ok()
    }

    /// Validates routes.
    ///
    /// # Errors
    /// [`RouteError`] names the first invalid route and the problem.
    pub fn new(configs: &[RouteConfig]) -> Result<Self, RouteError> {
        for config in configs {
            let invalid = |problem| RouteError { path: config.path.clone(), problem };
            config.check().map_err(invalid)?;
        }
        let mut routes: Vec<Route> = configs.iter().map(Route::new).collect();
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
            let mappings = Mappings::ByTags(Arc::new(evidence.clone()));
            let rules = Rules { mappings, ..route.policy.rules.clone() };
            let policy = Arc::new(route.policy.with_rules(rules));
            Arc::new(Route { evidence, policy, ..Route::clone(route) })
        };
        Self { routes: self.routes.iter().map(prove).collect(), default: prove(&self.default) }
    }

    /// Returns the routes with the timeouts of the upstream where they set none. `queue_timeout`: the time that
    /// a load may wait for a place.
    pub(crate) fn with_timeouts(&self, timeouts: Timeouts, queue_timeout: Duration) -> Self {
        let limit = |route: &Arc<Route>| {
            let timeouts = route.overrides.or(timeouts);
            let load = timeouts.total.unwrap_or(UNLIMITED);
            let rules = Rules {
                load_timeout: Some(load),
                wait_timeout: Some(load.saturating_add(queue_timeout)),
                ..route.policy.rules.clone()
            };
            let policy = Arc::new(route.policy.with_rules(rules));
            Arc::new(Route { policy, timeouts, ..Route::clone(route) })
        };
        Self { routes: self.routes.iter().map(limit).collect(), default: limit(&self.default) }
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
    /// The path prefix.
    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// `config`: checked.
    fn new(config: &RouteConfig) -> Self {
        let max_lifetime = config.max_lifetime;
        let mut rules = Rules::new(config.contract.as_str(), config.staleness);
        rules.unproven = config.unproven;
        rules.priority = config.priority;
        rules.pool = config.priority;
        rules.stale_while_revalidate = config.stale_while_revalidate;
        rules.ttl = max_lifetime;
        // Its readers load it one by one meanwhile, and the first of them that gets a page to store ends it.
        rules.uncacheable_ttl = UNCACHEABLE_TTL;
        // `edge.max_page_size` limits bodies.
        rules.max_bytes = u64::MAX;
        Self {
            prefix: config.path.clone(),
            policy: Arc::new(Policy::new(rules)),
            max_lifetime,
            store: config.store && !max_lifetime.is_zero(),
            overrides: config.timeouts,
            timeouts: config.timeouts.or(Timeouts::default()),
            shows: config.shows.clone(),
            evidence: PageEvidence::default(),
            ignored: IgnoredParts::parse(&config.audit_ignore).expect("checked with the route"),
        }
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
    fn invalid_route_rejected() {
        let named = RouteConfig { contract: "a\"b".into(), ..route("/") };
        let ignoring = RouteConfig { audit_ignore: vec!["(".into()], ..route("/") };
        for config in [route("p"), route("/a?b"), named, ignoring] {
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
        let routes =
            read(&format!("{reports}{quick}")).expect("valid").with_timeouts(upstream, second);
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
}
