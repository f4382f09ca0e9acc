//! Change events that Debezium posts over HTTP, as far as they are alike for all databases.
//!
//! Debezium Server posts the messages of a connector in order, each after the response to the one before. An
//! [`EventInbox`] accepts the posted bodies; the feed of the database assembles changes from them.

mod encoding;
mod envelope;
mod inbox;
mod metrics;
mod posted_feed;

pub use inbox::{EventInbox, InboxError};
pub use metrics::DebeziumMetrics;

pub(crate) use encoding::{UNAVAILABLE, columns_of, date, decimal, schema_name, schema_of};
pub(crate) use envelope::{Envelope, number, parse_bodies};
pub(crate) use inbox::{Acknowledgements, PostedBody};
pub(crate) use posted_feed::{PostedCandidate, PostedFeed, PostedSession};
