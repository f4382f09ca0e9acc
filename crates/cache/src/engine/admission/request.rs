//! Requests for admission, and how the places of an origin are shared among them.

use contract::Class;

use crate::origin::Party;

/// A request for admission.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct AdmissionRequest {
    /// The priority class: the order in which requests wait and are shed.
    pub class: Class,
    /// The kind of request.
    pub lane: Lane,
    /// The party that it is made for; `None`: no party, and no limit of one applies.
    pub party: Option<Party>,
}

/// The kind of a request to an origin.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Lane {
    /// A load, whose result other readers may share.
    Load,
    /// A request for its own caller only, such as a write. Loads leave places for it
    /// ([`Shares::loads`]).
    Pass,
}

/// The shares of a concurrency limit, 0 to 1. At least one place belongs to each.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shares {
    /// The share that [loads](Lane::Load) may use together. The rest is left to other requests, so that
    /// these never wait for loads.
    pub loads: f64,
    /// The share that one party may use, of the places and of the queue.
    pub party: f64,
}

impl Default for Shares {
    /// Loads and each party may use everything.
    fn default() -> Self {
        Self { loads: 1.0, party: 1.0 }
    }
}

impl From<Class> for AdmissionRequest {
    /// A request for its own caller, of no party.
    fn from(class: Class) -> Self {
        Self { class, lane: Lane::Pass, party: None }
    }
}
