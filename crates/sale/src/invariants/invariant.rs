//! The form of an invariant.

/// An invariant: its name, the repair of a violation, and the query for violations.
pub(super) struct Invariant {
    pub(super) name: &'static str,
    pub(super) repair: &'static str,
    pub(super) query: &'static str,
}
