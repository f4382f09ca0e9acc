//! The load: plans, the open loop that sends them, the HTTP client and the counters.

mod capacity;
pub(crate) mod client;
pub(crate) mod open_loop;
pub mod plan;
pub(crate) mod tally;
mod warm;
mod writer;

pub use capacity::measure_capacity;
pub use tally::Hits;
pub use warm::warm;
pub use writer::Writer;
