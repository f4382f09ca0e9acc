//! One `[[edge.route]]`, as it is configured.

use std::convert::Infallible;
use std::time::Duration;

use contract::config::{MAX_DURATION, TableReader};
use contract::{CLASS_WORDS, Class, UNPROVEN_WORDS, Unproven};
use http::HeaderName;

use crate::http::body_diff::IgnoredParts;
use crate::http::freshness::MAX_NAME_BYTES;
use crate::http::query::QueryRules;
use crate::http::shared_headers;
use crate::settings::upstream_limits::TimeoutOverrides;

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
    /// Request headers that select between variants of a page: they are sent with loads, and are part of the
    /// page's key. Default: none.
    pub key_headers: Vec<String>,
    /// Query parameters that select no page, such as `utm_*`: they are neither in its key nor sent with it.
    /// Default: none.
    pub ignore_query: Vec<String>,
    /// Whether the order of query parameters selects no page; they are sent in the order of their names.
    /// Default: it does.
    pub sort_query: bool,
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
            key_headers: Vec::new(),
            ignore_query: Vec::new(),
            sort_query: false,
        }
    }
}

impl RouteConfig {
    /// The keys of an `[[edge.route]]`.
    pub const KEYS: &[&str] = &[
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
        "key_headers",
        "ignore_query",
        "sort_query",
    ];

    pub(super) fn read(table: &mut TableReader<'_>) -> Option<Self> {
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
            key_headers: texts(table, "key_headers", "write names of request headers"),
            ignore_query: texts(table, "ignore_query", "write names of query parameters"),
            sort_query: table.flag("sort_query").unwrap_or(default.sort_query),
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
    pub(super) fn check(&self) -> Result<(), String> {
        if !self.path.starts_with('/') || self.path.contains(['?', '#', '%']) {
            let problem = "a path must start with `/` and must not contain `?`, `#` or `%`";
            return Err(problem.to_owned());
        }
        if !is_plain(&self.path) {
            let problem = "a path must not contain `\\`, `;`, `//`, `/./` or `/../`: requests are matched \
                           without them";
            return Err(problem.to_owned());
        }
        let name = &self.contract;
        if !is_name(name) {
            return Err(format!(
                "contract = {name:?} is not a valid name: a lower-case letter, then lower-case \
                 letters, digits, `_` and `-`, at most {MAX_NAME_BYTES} bytes"
            ));
        }
        for name in &self.key_headers {
            let parsed = HeaderName::from_bytes(name.as_bytes());
            let problem = match &parsed {
                Ok(name) => shared_headers::key_problem(name),
                Err(_) => Some("is not the name of a header"),
            };
            if let Some(problem) = problem {
                return Err(format!("key_headers: {name:?} {problem}"));
            }
        }
        QueryRules::parse(&self.ignore_query, self.sort_query)
            .map_err(|err| format!("ignore_query: {err}"))?;
        IgnoredParts::parse(&self.audit_ignore)
            .map(drop)
            .map_err(|err| format!("audit_ignore: {err}"))
    }
}

/// Whether a path has one reading only, so that requests for it match in any spelling.
fn is_plain(path: &str) -> bool {
    let is_dots = |segment| matches!(segment, "." | "..");
    !path.contains(['\\', ';']) && !path.contains("//") && !path.split('/').any(is_dots)
}

fn texts(table: &mut TableReader<'_>, key: &str, help: &str) -> Vec<String> {
    table.list(key, help, |text| Ok::<_, Infallible>(text.to_owned()))
}

fn is_name(name: &str) -> bool {
    name.len() <= MAX_NAME_BYTES
        && name.as_bytes().first().is_some_and(u8::is_ascii_lowercase)
        && name.bytes().all(|byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-')
        })
}
