//! `[jobs.KIND]`, and the keys of `[sale]` about workers.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use contract::Problem;
use contract::config::{TIME_LIMITS, TableReader, ValueError};

use crate::ledger::JobKind;
use crate::payment::ProviderUrl;
use crate::rules::JobClass;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const DELAYS: std::ops::RangeInclusive<Duration> = Duration::from_millis(100)..=DAY;
const LONG: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(366 * 24 * 60 * 60);

/// The events of orders.
const EVENTS: [(&str, &str); 4] = [
    ("order-placed", "order-placed"),
    ("order-captured", "order-captured"),
    ("order-refunded", "order-refunded"),
    ("order-cancelled", "order-cancelled"),
];

/// The options of a kind of jobs.
#[derive(Clone, Debug)]
pub struct JobOptions {
    /// The priority class.
    pub class: JobClass,
    /// The shop's endpoint; `None`: programs ask for the jobs.
    pub url: Option<ProviderUrl>,
    /// The file with the secret that signs calls.
    pub secret_file: Option<PathBuf>,
    /// The time limit of a call.
    pub timeout: Duration,
    /// The most jobs in a call.
    pub batch: u32,
    /// The attempts of a job.
    pub attempts: u32,
    /// The delay before the second attempt.
    pub retry_delay: Duration,
    /// The longest delay before an attempt.
    pub retry_delay_max: Duration,
    /// The time to live of a job.
    pub ttl: Option<Duration>,
    /// The events of orders that each make a job.
    pub on: Vec<&'static str>,
    /// The interval of a schedule.
    pub every: Option<Duration>,
}

impl Default for JobOptions {
    fn default() -> Self {
        Self {
            class: JobClass::Medium,
            url: None,
            secret_file: None,
            timeout: Duration::from_secs(10),
            batch: 1,
            attempts: 10,
            retry_delay: Duration::from_secs(1),
            retry_delay_max: Duration::from_secs(600),
            ttl: None,
            on: Vec::new(),
            every: None,
        }
    }
}

impl JobOptions {
    /// The keys of the section.
    pub const KEYS: &[&str] = &[
        "class",
        "url",
        "secret_file",
        "timeout",
        "batch",
        "attempts",
        "retry_delay",
        "retry_delay_max",
        "ttl",
        "on",
        "every",
    ];

    /// Reads the section; `folder`: the base of relative file names.
    pub fn read(table: &mut TableReader<'_>, folder: &Path) -> Option<Self> {
        let default = Self::default();
        let classes = JobClass::ALL.map(|class| (class.word(), class));
        let has_url = table.has("url");
        let url = table.text_with("url", str::parse);
        let options = Self {
            class: table.choice("class", &classes).unwrap_or(default.class),
            url,
            secret_file: table.file("secret_file", folder),
            timeout: table.duration("timeout", TIME_LIMITS).unwrap_or(default.timeout),
            batch: table.whole_number("batch", 1..=1_000).unwrap_or(default.batch),
            attempts: table.whole_number("attempts", 1..=1_000).unwrap_or(default.attempts),
            retry_delay: table.duration("retry_delay", DELAYS).unwrap_or(default.retry_delay),
            retry_delay_max: table
                .duration("retry_delay_max", DELAYS)
                .unwrap_or(default.retry_delay_max),
            ttl: table.duration("ttl", LONG),
            on: table.choices("on", &EVENTS),
            every: table.duration("every", LONG),
        };
        for key in ["secret_file", "timeout", "batch"] {
            if !has_url && table.has(key) {
                let help = "it is about calls: add url, or remove it";
                table.problem("wrong-value", key, "has no effect without url", help);
            }
        }
        Some(options)
    }

    /// Returns the kind as the ledger has to know it.
    pub(super) fn kind(&self, name: &str) -> JobKind {
        JobKind {
            name: name.to_owned(),
            class: self.class,
            attempts: self.attempts,
            ttl_ms: self.ttl.map(milliseconds),
            events: self.on.iter().map(|event| (*event).to_owned()).collect(),
        }
    }

    /// Returns the length of a lease of a call, which is extended while the call lasts.
    pub(super) fn lease(&self) -> Duration {
        self.timeout.max(Duration::from_secs(5)) * 2
    }
}

/// Returns the problems of the configured kinds together.
#[must_use]
pub fn check_kinds(kinds: &BTreeMap<String, JobOptions>, has_sale: bool) -> Vec<Problem> {
    let is_name = |name: &str| {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        (1..=64).contains(&name.len()) && name.bytes().all(is_plain)
    };
    let no_name = kinds.keys().filter(|name| !is_name(name)).map(|name| {
        let help = "write 1 to 64 letters, digits, - _ or .";
        ValueError::wrong_value("is no name of a kind of jobs", help).at(format!("jobs.{name}"))
    });
    let no_sale = (!has_sale && !kinds.is_empty()).then(|| {
        let help =
            "add [sale] with url = \"postgres://…\" or \"sqlite:…\": jobs are in its database";
        ValueError::wrong_value("needs [sale]", help).at("jobs")
    });
    no_name.chain(no_sale).collect()
}

/// Returns a time in ms.
pub(super) fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// The most calls of a node at once, for each class.
#[derive(Clone, Copy, Debug)]
pub struct JobWorkers {
    /// For class `high`.
    pub high: u32,
    /// For class `medium`.
    pub medium: u32,
    /// For class `low`.
    pub low: u32,
}

impl Default for JobWorkers {
    fn default() -> Self {
        Self { high: 16, medium: 8, low: 4 }
    }
}

impl JobWorkers {
    /// The keys of the section.
    pub const KEYS: &[&str] = &["high", "medium", "low"];

    /// Reads the section.
    pub(crate) fn read(table: &mut TableReader<'_>) -> Option<Self> {
        let default = Self::default();
        let mut workers = |key, default| table.whole_number(key, 1..=1_000).unwrap_or(default);
        Some(Self {
            high: workers("high", default.high),
            medium: workers("medium", default.medium),
            low: workers("low", default.low),
        })
    }

    pub(super) fn of(&self, class: JobClass) -> usize {
        let count = match class {
            JobClass::High => self.high,
            JobClass::Medium => self.medium,
            JobClass::Low => self.low,
        };
        count as usize
    }
}
