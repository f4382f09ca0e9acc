//! The feed of posted events.

use std::sync::Arc;

use super::candidate::DebeziumCandidate;
use super::options::DebeziumOptions;
use super::parser::parse;
use crate::debezium::{EventInbox, PostedFeed};
use crate::feed::Feed;
use crate::leader_election::LeaderElection;
use crate::mariadb::connection::connect_config;

/// Returns a feed that follows a MariaDB by the events that Debezium posts into the inbox. It connects on the first
/// [`next`](Feed::next). Run [`prepare`](super::prepare()) before.
#[must_use]
pub fn follow(options: DebeziumOptions) -> (Box<dyn Feed>, EventInbox) {
    let config = connect_config(&options.log.url);
    let (inbox, posted) = EventInbox::new(parse, options.metrics.clone());
    let (source, metrics) = (options.log.source.clone(), options.log.metrics.clone());
    let candidate = DebeziumCandidate::new(Arc::new(options), config);
    let election = LeaderElection::new(candidate, source, metrics);
    (Box::new(PostedFeed::new(election, posted)), inbox)
}
