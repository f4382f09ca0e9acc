//! Presets: the defaults of common kinds of data.

use std::time::Duration;

use serde::Serialize;

use crate::model::contract::{Class, Sensitivity, Tiers, Unproven};

/// A preset: the defaults of a contract.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Preset {
    /// The name in `preset = "…"`.
    pub name: &'static str,
    /// The purpose, for the reference page.
    pub doc: &'static str,
    /// The budget; `None`: the contract must set it.
    pub staleness: Option<Duration>,
    /// The action when an answer can't be proven to be within the budget.
    pub unproven: Unproven,
    /// The tiers that may store entries.
    pub tiers: Tiers,
    /// Whether each use restarts the TTL.
    pub sliding: bool,
    /// Whether values never change.
    pub immutable: bool,
    /// The priority class and memory pool.
    pub priority: Class,
    /// The sensitivity of the data.
    pub sensitivity: Sensitivity,
    /// The fields that a contract must not change.
    pub strictness: Strictness,
}

/// The fields that a preset fixes; the linter reports contracts that change them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strictness {
    /// None: every field may be overridden.
    Open,
    /// No tier may store entries.
    NeverCached,
    /// Never in-process, and `unproven = "fail"`.
    FailClosed,
}

const fn secs(seconds: u64) -> Option<Duration> {
    Some(Duration::from_secs(seconds))
}

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

const BASE: Preset = Preset {
    name: "",
    doc: "",
    staleness: None,
    unproven: Unproven::ReadOrigin,
    tiers: Tiers::ALL,
    sliding: false,
    immutable: false,
    priority: Class::Standard,
    sensitivity: Sensitivity::Public,
    strictness: Strictness::Open,
};

const NEVER_CACHED: Preset = Preset {
    staleness: secs(0),
    tiers: Tiers::NONE,
    priority: Class::Critical,
    strictness: Strictness::NeverCached,
    ..BASE
};

const FAIL_CLOSED: Preset = Preset {
    unproven: Unproven::Fail,
    tiers: Tiers::SHARED,
    priority: Class::Critical,
    strictness: Strictness::FailClosed,
    ..BASE
};

const SERVE_STALE: Preset = Preset { unproven: Unproven::ServeStale, ..BASE };

static PRESETS: &[Preset] = &[
    Preset {
        name: "inventory",
        doc: "Stock that orders are checked against: never cached.",
        ..NEVER_CACHED
    },
    Preset {
        name: "payment-status",
        doc: "The status of payments: never cached.",
        sensitivity: Sensitivity::Financial,
        ..NEVER_CACHED
    },
    Preset {
        name: "price",
        doc: "30 s; an unproven answer is read from the origin.",
        staleness: secs(30),
        priority: Class::Critical,
        ..BASE
    },
    Preset {
        name: "description",
        doc: "5 min; an unproven answer is served stale.",
        staleness: secs(5 * MINUTE),
        ..SERVE_STALE
    },
    Preset {
        name: "catalogue",
        doc: "5 min; an unproven answer is served stale.",
        staleness: secs(5 * MINUTE),
        ..SERVE_STALE
    },
    Preset {
        name: "session",
        doc: "24 h from the last use; an unproven answer is refused.",
        staleness: secs(DAY),
        unproven: Unproven::Fail,
        sliding: true,
        priority: Class::Critical,
        sensitivity: Sensitivity::Personal,
        ..BASE
    },
    Preset {
        name: "permissions",
        doc: "Permissions: never in-process; an unproven answer is refused. Set the budget yourself.",
        sensitivity: Sensitivity::Auth,
        ..FAIL_CLOSED
    },
    Preset {
        name: "auth",
        doc: "Credentials and logins: never in-process; an unproven answer is refused. Set the budget yourself.",
        sensitivity: Sensitivity::Auth,
        ..FAIL_CLOSED
    },
    Preset {
        name: "financial",
        doc: "Balances and invoices: never in-process; an unproven answer is refused. Set the budget yourself.",
        sensitivity: Sensitivity::Financial,
        ..FAIL_CLOSED
    },
    Preset {
        name: "preferences",
        doc: "1 h; an unproven answer is served stale.",
        staleness: secs(HOUR),
        sensitivity: Sensitivity::Personal,
        ..SERVE_STALE
    },
    Preset {
        name: "recommendations",
        doc: "5 min; an unproven answer is served stale; shed first.",
        staleness: secs(5 * MINUTE),
        priority: Class::Ephemeral,
        ..SERVE_STALE
    },
    Preset {
        name: "engagement",
        doc: "Likes, views and other counts: 30 s; an unproven answer is served stale.",
        staleness: secs(30),
        priority: Class::Ephemeral,
        ..SERVE_STALE
    },
    Preset {
        name: "absence",
        doc: "Data that is mostly absent: 1 min, cached for 2.",
        staleness: secs(MINUTE),
        ..BASE
    },
    Preset {
        name: "static",
        doc: "Files named by their content: 1 year, immutable.",
        staleness: secs(365 * DAY),
        immutable: true,
        ..SERVE_STALE
    },
];

/// Returns all presets.
pub fn presets() -> &'static [Preset] {
    PRESETS
}

/// Returns the defaults of a contract without a preset.
pub(crate) fn no_preset() -> &'static Preset {
    &BASE
}
