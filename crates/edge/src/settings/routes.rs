//! Routes: one policy per path prefix.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cache::{Engine, ForeignProof, Mappings, Policy, Rules};
use contract::config::TableReader;
use contract::{Contracts, Evidence, PageEvidence, TextForms};
use http::HeaderName;
use thiserror::Error;

use crate::http::body_diff::IgnoredParts;
use crate::http::path;
use crate::http::query::QueryRules;
use crate::page_cache::other_logs::OtherLogs;
use crate::settings::route_config::RouteConfig;
use crate::settings::upstream_limits::{TimeoutOverrides, Timeouts};

/// The time that a load gets where its route sets no total timeout. The timeouts of its parts end it
/// earlier.
const UNLIMITED: Duration = Duration::from_secs(365 * 24 * 3600);

/// How long the readers of a page that may not be stored do not wait for each other. It counts from the last response.
const UNCACHEABLE_TTL: Duration = Duration::from_secs(120);

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
    /// In its normal form.
    prefix: String,
    /// Unescaped, as [readings](path::readings) of paths are.
    plain_prefix: String,
    pub(crate) policy: Arc<Policy>,
    pub(crate) max_lifetime: Duration,
    pub(crate) store: bool,
    /// The request headers that are part of its pages' keys, sorted.
    pub(crate) key_headers: Arc<[HeaderName]>,
    /// The parts of queries that select its pages.
    pub(crate) query: QueryRules,
    overrides: TimeoutOverrides,
    /// The timeouts of exchanges with the upstream.
    pub(crate) timeouts: Timeouts,
    shows: Vec<String>,
    /// The evidence of its pages, by their tags.
    pub(crate) evidence: PageEvidence,
    /// The proof of its pages by the logs of other sources than the main one; `None`: these raise no tags.
    pub(crate) other_logs: Option<Arc<OtherLogs>>,
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
    /// Reads the routes of `[edge]`. `None` only after a problem was recorded.
    pub fn read(table: &mut TableReader<'_>) -> Option<Self> {
        let routes = table.tables("route", RouteConfig::KEYS, RouteConfig::read);
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
    /// by their age alone. `forms`: those of the columns that tags are made of.
    #[must_use]
    pub fn with_contracts(&self, contracts: &Contracts, forms: &TextForms) -> Self {
        self.with_sources(contracts, forms, &BTreeMap::new())
    }

    /// As [`with_contracts`](Self::with_contracts), where `contracts` have several sources. `others`: the engines of
    /// all of them but the main one, whose engine stores the pages.
    #[must_use]
    pub fn with_sources(
        &self,
        contracts: &Contracts,
        forms: &TextForms,
        others: &BTreeMap<String, Engine>,
    ) -> Self {
        let prove = |route: &Arc<Route>| {
            let evidence = PageEvidence::new(contracts, &route.shows, forms);
            let own = evidence.without_sources(|name| others.contains_key(name));
            let mappings = Mappings::ByTags(Arc::new(own));
            let rules = &route.policy.rules;
            let other_logs =
                OtherLogs::new(&evidence, others, rules.pool, rules.stale_while_revalidate);
            let other_logs = other_logs.map(Arc::new);
            let foreign = other_logs.clone().map(|logs| logs as Arc<dyn ForeignProof>);
            let rules = Rules { mappings, foreign, ..rules.clone() };
            let policy = Arc::new(route.policy.with_rules(rules));
            Arc::new(Route { evidence, other_logs, policy, ..Route::clone(route) })
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

    /// The route of a path in its normal form: that of the longest prefix. Where an application may read the
    /// path in another way, in other letter cases too, the strictest of all readings' routes applies, so that
    /// no spelling of a path is less safe than another.
    pub(crate) fn resolve(&self, path: &str) -> &Arc<Route> {
        let written = self.routes.iter().find(|route| path.starts_with(&route.prefix));
        let written = written.unwrap_or(&self.default);
        if self.routes.is_empty() {
            return written;
        }
        let other_case = self.matching(path, |route| &route.prefix);
        let readings = path::readings(path);
        let others = readings.iter().map(|path| self.matching(path, |route| &route.plain_prefix));
        std::iter::once(other_case).chain(others).flatten().fold(written, Route::stricter)
    }

    /// The route of the longest prefix of a path in any letter case.
    fn matching(&self, path: &str, prefix: impl Fn(&Route) -> &String) -> Option<&Arc<Route>> {
        self.routes.iter().find(|route| {
            let prefix = prefix(route).as_bytes();
            let start = path.as_bytes().get(..prefix.len());
            start.is_some_and(|start| start.eq_ignore_ascii_case(prefix))
        })
    }
}

impl Route {
    /// The route that stores less and for a shorter time; `one` of two that are the same in this.
    fn stricter<'r>(one: &'r Arc<Self>, other: &'r Arc<Self>) -> &'r Arc<Self> {
        let storage = |route: &Self| (route.store, route.policy.rules.budget, route.max_lifetime);
        if storage(other) < storage(one) { other } else { one }
    }

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
        let prefix =
            path::normalize_path(&config.path).expect("checked with the route").into_owned();
        let names = config.key_headers.iter().map(|name| HeaderName::from_bytes(name.as_bytes()));
        let mut key_headers: Vec<HeaderName> =
            names.map(|name| name.expect("checked with the route")).collect();
        key_headers.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        key_headers.dedup();
        Self {
            key_headers: key_headers.into(),
            query: QueryRules::parse(&config.ignore_query, config.sort_query)
                .expect("checked with the route"),
            plain_prefix: path::decoded(&prefix).into_owned(),
            prefix,
            policy: Arc::new(Policy::new(rules)),
            max_lifetime,
            store: config.store && !max_lifetime.is_zero(),
            overrides: config.timeouts,
            timeouts: config.timeouts.or(Timeouts::default()),
            shows: config.shows.clone(),
            evidence: PageEvidence::default(),
            other_logs: None,
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

#[cfg(test)]
#[path = "routes_tests.rs"]
mod tests;
