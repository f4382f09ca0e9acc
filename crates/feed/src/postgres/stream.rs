//! The replication stream.

use std::time::Duration;

use coherence::Lsn;
use database::postgres::{Address, ConnectConfig};
use pgwire_replication::{PgWireError, ReplicationClient, ReplicationConfig};

use super::options::PostgresOptions;
use crate::error::FeedError;

/// The least interval between two acknowledgements to the server. A server that shuts down waits for
/// the last one.
const STATUS_INTERVAL: Duration = Duration::from_millis(100);

/// Messages read ahead of the consumer.
const READ_AHEAD: usize = 1_024;

/// Columns arrive in the text form of these settings, regardless of the role's own.
const TEXT_FORM: &str = "-c datestyle=ISO -c intervalstyle=postgres -c timezone=UTC \
                         -c bytea_output=hex -c extra_float_digits=1";

/// SQLSTATE: the slot is active for another process.
const OBJECT_IN_USE: &str = "55006";

/// SQLSTATE: no such publication, in the catalogue as it was when the change was made.
const UNDEFINED_OBJECT: &str = "42704";

/// A started stream, and the identity of its server.
pub(super) struct Started {
    pub(super) client: ReplicationClient,
    pub(super) system: u64,
    pub(super) timeline: u32,
}

/// Starts streaming from the slot. Returns `None` if another process holds it.
pub(super) async fn start(
    address: &Address,
    config: &ConnectConfig,
    options: &PostgresOptions,
) -> Result<Option<Started>, FeedError> {
    let replication = ReplicationConfig::new(
        address.host.as_str(),
        config.url.user(),
        config.url.password(),
        config.url.database(),
        options.slot.as_str(),
        options.publication.as_str(),
    )
    .with_port(address.port)
    .with_status_interval(STATUS_INTERVAL)
    .with_buffer_size(READ_AHEAD)
    .with_options(TEXT_FORM)
    .with_application_name("tidegate-feed");
    let mut client = ReplicationClient::connect_gated(replication).await.map_err(stream_error)?;
    let system = client.identify_system().await.map_err(stream_error)?;
    client.start().await.map_err(stream_error)?;
    match client.wait_started().await {
        Ok(()) => {}
        Err(err) if has_state(&err, OBJECT_IN_USE) => return Ok(None),
        Err(err) => return Err(stream_error(err)),
    }
    let id = &system.system_id;
    let malformed = |_| FeedError::Malformed(format!("system identifier {id:?}"));
    Ok(Some(Started { client, system: id.parse().map_err(malformed)?, timeline: system.timeline }))
}

pub(super) fn stream_error(err: PgWireError) -> FeedError {
    FeedError::unavailable("following the log", err)
}

/// Whether the publication did not exist when the change was made.
pub(super) fn lacks_publication(err: &PgWireError) -> bool {
    has_state(err, UNDEFINED_OBJECT)
}

fn has_state(err: &PgWireError, state: &str) -> bool {
    matches!(err, PgWireError::Server(text) if text.contains(&format!("SQLSTATE {state}")))
}

/// Converts to the client's position type.
pub(super) fn client_lsn(position: Lsn) -> pgwire_replication::Lsn {
    pgwire_replication::Lsn::from_u64(position.0)
}
