//! Loads: from a standby or the primary, with a lease, then the proof of the loaded value and its fills.

mod fill;
mod loader;
mod origins;
mod outcome;
mod proof_of_load;
mod request;
mod standby;

pub(crate) use self::fill::refresh_from;
pub(crate) use self::loader::{Loader, content_kind};
pub(crate) use self::origins::Origins;
pub(crate) use self::outcome::LoadOutcome;
pub(crate) use self::proof_of_load::age_bound_as_of;
pub(crate) use self::request::{LoadContext, LoadRequest};
pub(crate) use self::standby::highest_class;
