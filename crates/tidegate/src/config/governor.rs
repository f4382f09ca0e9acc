//! `[governor]`

use serde::Deserialize;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct GovernorSection {
    pub(super) mode: GovernorMode,
}

/// `[governor] mode`
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum GovernorMode {
    /// Contracts may spend their budgets while their origin is under pressure.
    #[default]
    On,
    /// Every commit invalidates at once, whatever the origin's load.
    Off,
}
