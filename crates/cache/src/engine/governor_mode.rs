//! `[governor]`

use contract::config::TableReader;

const MODES: [(&str, GovernorMode); 2] = [("on", GovernorMode::On), ("off", GovernorMode::Off)];

/// Whether contracts may spend their budget on soft-stale entries while their origin is under pressure
/// ([`coherence::governor`]).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum GovernorMode {
    /// Contracts may spend their budgets.
    #[default]
    On,
    /// Every commit removes the entries that it invalidates, under any load of the origin.
    Off,
}

impl GovernorMode {
    /// The keys of `[governor]`.
    pub const KEYS: &[&str] = &["mode"];

    /// Reads `[governor]`.
    pub fn read(table: &mut TableReader<'_>) -> Self {
        table.choice("mode", &MODES).unwrap_or_default()
    }

    pub(super) fn is_on(self) -> bool {
        self == Self::On
    }
}
