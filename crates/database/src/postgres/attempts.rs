//! The attempts to log in to one host: encrypted and not, and with a password that was changed meanwhile.

use super::encryption::Way;
use super::stream::Stream;
use super::url::PostgresUrl;
use crate::error::{DatabaseError, Failure};

/// SQLSTATE: wrong password.
const INVALID_PASSWORD: &str = "28P01";

/// SQLSTATE: the server accepts no login like this one: with or without TLS, of this user.
const INVALID_AUTHORIZATION: &str = "28000";

/// The attempts to log in to one host.
pub(super) struct Attempts<'a> {
    url: &'a PostgresUrl,
    at: usize,
    /// The ways that were not tried in vain; the first one is tried next.
    ways: &'static [Way],
    /// The password of the last attempt.
    password: Option<Vec<u8>>,
    has_read_again: bool,
}

impl<'a> Attempts<'a> {
    pub(super) fn new(url: &'a PostgresUrl, at: usize) -> Self {
        let is_local = url.hosts()[at].is_folder();
        let ways = if is_local { &[Way::Plain] } else { url.encryption.mode.ways() };
        Self { url, at, ways, password: None, has_read_again: false }
    }

    /// Opens a stream, and reads the password.
    pub(super) async fn open(&mut self) -> Result<Stream, DatabaseError> {
        self.password = self.url.read_password().await?;
        loop {
            let opened = Stream::open(self.url, self.at, self.ways[0]).await;
            // TLS that can't be used counts as not offered, as in libpq.
            let is_misconfigured =
                |err: &DatabaseError| matches!(err.failure, Failure::Misconfigured { .. });
            let tls_failed = opened.as_ref().is_err_and(is_misconfigured);
            if !(tls_failed && self.ways[0] == Way::TlsIfOffered && self.advance()) {
                return opened;
            }
        }
    }

    /// Returns the password of the attempt.
    pub(super) fn password(&self) -> Option<&[u8]> {
        self.password.as_deref()
    }

    /// Returns whether another attempt may succeed where the last one failed.
    pub(super) async fn can_retry(&mut self, err: &DatabaseError) -> bool {
        let is_authorization = err.has_state(INVALID_AUTHORIZATION);
        if (is_authorization || err.has_state(INVALID_PASSWORD)) && !self.has_read_again {
            self.has_read_again = true;
            let now = self.url.read_password().await;
            if now.is_ok_and(|now| now != self.password) {
                return true;
            }
        }
        is_authorization && self.advance()
    }

    fn advance(&mut self) -> bool {
        let has_more = self.ways.len() > 1;
        if has_more {
            self.ways = &self.ways[1..];
        }
        has_more
    }
}
