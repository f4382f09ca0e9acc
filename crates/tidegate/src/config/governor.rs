//! `[governor]`

use contract::config::TableReader;

pub(super) const KEYS: &[&str] = &["mode"];

const MODES: [(&str, GovernorMode); 2] = [("on", GovernorMode::On), ("off", GovernorMode::Off)];

/// `[governor] mode`
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum GovernorMode {
    /// Contracts may spend their budgets while their origin is under pressure.
    #[default]
    On,
    /// Every commit invalidates at once, under any load of the origin.
    Off,
}

impl GovernorMode {
    pub(super) fn read(table: &mut TableReader<'_>) -> Self {
        table.choice("mode", &MODES).unwrap_or_default()
    }
}
