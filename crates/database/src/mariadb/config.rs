//! How sessions are opened.

use std::time::Duration;

use mysql_async::{Conn, Opts, OptsBuilder};
use tokio::time::timeout;

use super::error::connect_error;
use super::url::MariaDbUrl;
use super::url_options::driver_options;
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
        let opening = async {
            let mut password = self.url.read_password().await?;
            loop {
                let opts = Opts::from(self.options(password.clone()));
                let err = match Conn::new(opts).await {
                    Ok(conn) => return Ok(conn),
                    Err(err) => connect_error(OPERATION, &self.url, err),
                };
                // It may have been changed between the two.
                let now = match is_login_refused(&err) && self.url.has_password_file() {
                    true => self.url.read_password().await?,
                    false => return Err(err),
                };
                if now == password {
                    return Err(err);
                }
                password = now;
            }
        };
        let opened = timeout(limit, opening).await;
        opened.unwrap_or_else(|_| Err(DatabaseError::timed_out(OPERATION, limit)))
    }

    /// Returns the driver's options with this password. Every connection is opened with these options.
    pub(super) fn options(&self, password: Option<String>) -> OptsBuilder {
        OptsBuilder::from_opts(self.url.opts.clone())
            .pass(password)
            .ssl_opts(self.url.tls.as_deref().map(driver_options))
            .prefer_socket(false)
            .tcp_keepalive(Some(KEEPALIVE))
            .max_allowed_packet(self.max_packet_bytes.or(self.url.opts.max_allowed_packet()))
            .init(self.session.clone())
    }
}

/// Whether the server rejected user or password.
pub(super) fn is_login_refused(err: &DatabaseError) -> bool {
    /// Access denied; of an account with another plugin.
    const ACCESS_DENIED: [u16; 2] = [1045, 1698];
    ACCESS_DENIED.iter().any(|number| err.has_number(*number))
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
        let opts = Opts::from(config.options(Some("p".to_owned())));
        assert_eq!((opts.ip_or_hostname(), opts.tcp_port()), ("h", 3307));
        assert_eq!((opts.user(), opts.pass(), opts.db_name()), (Some("u"), Some("p"), Some("d")));
        assert_eq!((opts.max_allowed_packet(), opts.prefer_socket()), (Some(4096), false));
        assert_eq!(opts.init(), session);
        let feed = ConnectConfig { max_packet_bytes: Some(8192), ..config };
        assert_eq!(Opts::from(feed.options(None)).max_allowed_packet(), Some(8192));
    }
}
