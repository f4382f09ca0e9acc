//! How sessions are opened.

use std::time::Duration;

use mysql_async::{Conn, Opts, OptsBuilder};
use tokio::time::timeout;

use super::error::driver_error;
use super::url::MariaDbUrl;
use crate::error::DatabaseError;

/// The interval of probes that find a cut wire.
const KEEPALIVE: Duration = Duration::from_secs(10);

/// Makes every transaction of the session read from one snapshot and write nothing.
pub const READ_ONLY: &str = "set session transaction isolation level repeatable read, read only";

/// A URL, and the parameters of the sessions that are opened with it.
#[derive(Clone)]
pub struct ConnectConfig {
    /// The address. Its options apply too.
    pub url: MariaDbUrl,
    /// Statements that each session runs first, in any order.
    pub session: Vec<String>,
    /// The largest packet that a session accepts, in bytes. `None`: the server's own limit.
    pub max_packet_bytes: Option<usize>,
}

impl ConnectConfig {
    /// Opens a connection of the driver. `limit` is the time limit.
    ///
    /// # Errors
    /// The server was not reached in time, or refused.
    pub async fn open(&self, limit: Duration) -> Result<Conn, DatabaseError> {
        const OPERATION: &str = "connecting";
        match timeout(limit, Conn::new(Opts::from(self.options()))).await {
            Ok(conn) => conn.map_err(|err| driver_error(OPERATION, err)),
            Err(_) => Err(DatabaseError::timed_out(OPERATION, limit)),
        }
    }

    /// Every connection is opened with these options, so that a policy for TLS has one place.
    pub(super) fn options(&self) -> OptsBuilder {
        OptsBuilder::from_opts(self.url.opts.clone())
            .prefer_socket(false)
            .tcp_keepalive(Some(KEEPALIVE))
            .max_allowed_packet(self.max_packet_bytes.or(self.url.opts.max_allowed_packet()))
            .init(self.session.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn url_options_apply() {
        let text = "mysql://u:p@h:3307/d?max_allowed_packet=4096";
        let url: MariaDbUrl = text.parse().expect("a url");
        let session = vec!["set names utf8mb4".to_owned(), READ_ONLY.to_owned()];
        let config = ConnectConfig { url, session: session.clone(), max_packet_bytes: None };
        let opts = Opts::from(config.options());
        assert_eq!((opts.ip_or_hostname(), opts.tcp_port()), ("h", 3307));
        assert_eq!((opts.user(), opts.pass(), opts.db_name()), (Some("u"), Some("p"), Some("d")));
        assert_eq!((opts.max_allowed_packet(), opts.prefer_socket()), (Some(4096), false));
        assert_eq!(opts.init(), session);
        let feed = ConnectConfig { max_packet_bytes: Some(8192), ..config };
        assert_eq!(Opts::from(feed.options()).max_allowed_packet(), Some(8192));
    }
}
