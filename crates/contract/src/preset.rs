//! Budgets that most shops start from.

use std::time::Duration;

use serde::Serialize;

use crate::contract::{Class, Sensitivity, Tiers, Unproven};

/// A preset: what a contract has where it does not say otherwise.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Preset {
    /// Its name in `preset = "…"`.
    pub name: &'static str,
    /// What it is for, for the reference.
    pub doc: &'static str,
    /// The budget; `None` where the contract has to say.
    pub staleness: Option<Duration>,
    /// What to do without proof.
    pub unproven: Unproven,
    /// Where entries may live.
    pub tiers: Tiers,
    /// Whether each use starts the lifetime anew.
    pub sliding: bool,
    /// Whether values never change.
    pub immutable: bool,
    /// Priority and pool.
    pub priority: Class,
    /// How sensitive the data is.
    pub sensitivity: Sensitivity,
    /// Which of a contract's fields may not be changed without losing what the preset stands for.
    pub strictness: Strictness,
}

/// What a preset insists on; the linter holds contracts to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strictness {
    /// Nothing: every field may be overridden.
    Open,
    /// Not in any tier.
    NeverCached,
    /// Not in-process, and without proof no answer.
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
    Preset { name: "inventory", doc: "Stock that is sold from: never cached.", ..NEVER_CACHED },
    Preset {
        name: "payment-status",
        doc: "Whether a payment went through: never cached.",
        sensitivity: Sensitivity::Financial,
        ..NEVER_CACHED
    },
    Preset {
        name: "price",
        doc: "30 s, read the origin without proof.",
        staleness: secs(30),
        priority: Class::Critical,
        ..BASE
    },
    Preset {
        name: "description",
        doc: "5 min, serve stale without proof.",
        staleness: secs(5 * MINUTE),
        ..SERVE_STALE
    },
    Preset {
        name: "catalogue",
        doc: "5 min, serve stale without proof.",
        staleness: secs(5 * MINUTE),
        ..SERVE_STALE
    },
    Preset {
        name: "session",
        doc: "24 h from the last use, fail without proof.",
        staleness: secs(DAY),
        unproven: Unproven::Fail,
        sliding: true,
        priority: Class::Critical,
        sensitivity: Sensitivity::Personal,
        ..BASE
    },
    Preset {
        name: "permissions",
        doc: "Who may do what: never in-process, fail without proof. The budget is yours to set.",
        sensitivity: Sensitivity::Auth,
        ..FAIL_CLOSED
    },
    Preset {
        name: "auth",
        doc: "Credentials and logins: never in-process, fail without proof. The budget is yours to set.",
        sensitivity: Sensitivity::Auth,
        ..FAIL_CLOSED
    },
    Preset {
        name: "financial",
        doc: "Balances and invoices: never in-process, fail without proof. The budget is yours to set.",
        sensitivity: Sensitivity::Financial,
        ..FAIL_CLOSED
    },
    Preset {
        name: "preferences",
        doc: "1 h, serve stale without proof.",
        staleness: secs(HOUR),
        sensitivity: Sensitivity::Personal,
        ..SERVE_STALE
    },
    Preset {
        name: "recommendations",
        doc: "5 min, serve stale without proof, first to be shed.",
        staleness: secs(5 * MINUTE),
        priority: Class::Ephemeral,
        ..SERVE_STALE
    },
    Preset {
        name: "engagement",
        doc: "Likes, views and other counts: 30 s, serve stale without proof.",
        staleness: secs(30),
        priority: Class::Ephemeral,
        ..SERVE_STALE
    },
    Preset {
        name: "absence",
        doc: "Answers that are mostly \"not there\": 1 min, remembered for 2.",
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

/// All presets.
pub fn presets() -> &'static [Preset] {
    PRESETS
}

/// What a contract without a preset starts from.
pub(crate) fn none() -> &'static Preset {
    &BASE
}
