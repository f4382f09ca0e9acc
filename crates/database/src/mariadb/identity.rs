//! The identity of the server behind a connection.

use crate::error::DatabaseError;

/// An SQL expression for the time when the server started, which is constant while it runs, and for the
/// installation and the database in it.
const IDENTITY_SQL: &str = "concat((select unix_timestamp() - variable_value \
     from information_schema.global_status where variable_name = 'UPTIME'), ' ', \
    concat_ws(' ', @@datadir, @@log_bin_basename, @@server_id, \
    (select variable_value from information_schema.global_variables \
     where variable_name = 'SERVER_UID'), database()))";

/// The user variable in which a session of a pool keeps the identity of its server. A session that a proxy has put in
/// its place has none.
pub(super) const VARIABLE: &str = "@tidegate_server";

/// The identity of a running server, and of a database in it. It does not change while a connection is open.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ServerIdentity {
    /// The server's installation, and the database.
    pub instance: String,
    /// When the server was started, in its own format.
    pub started: String,
}

/// The primary that the newest of several connections leads to. Clones share it.
pub type CurrentServer = crate::current_server::CurrentServer<ServerIdentity>;

impl ServerIdentity {
    /// Returns the statement by which a session keeps its server's identity.
    pub(super) fn remember_sql() -> String {
        format!("set {VARIABLE} = {IDENTITY_SQL}")
    }

    /// Returns the statement that identifies the server.
    pub(super) fn select_sql() -> String {
        format!("select {IDENTITY_SQL}")
    }

    /// Parses the value of [`select_sql`](Self::select_sql), or the one that the session keeps.
    ///
    /// # Errors
    /// The session has none: it is not the one that was opened.
    pub(super) fn parse(
        operation: &'static str,
        text: Option<&str>,
    ) -> Result<Self, DatabaseError> {
        let parts = text.and_then(|text| text.split_once(' '));
        let (started, instance) = parts.ok_or_else(|| {
            let problem = "another session of the server has answered: a proxy between shares \
                           sessions among its clients. Name the server itself in the url, or have the proxy \
                           keep each client's session";
            DatabaseError::unexpected(operation, problem)
        })?;
        Ok(Self { instance: instance.to_owned(), started: started.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn session_without_identity_refused() {
        let parse = |text| ServerIdentity::parse("loading", text);
        let server = parse(Some("1732 /var/lib/mysql/ binlog 1 shop")).expect("an identity");
        assert_eq!(
            (&*server.started, &*server.instance),
            ("1732", "/var/lib/mysql/ binlog 1 shop")
        );
        for text in [None, Some(""), Some("1732")] {
            let err = parse(text).expect_err("no identity").to_string();
            assert!(err.contains("proxy"), "{err}");
        }
    }
}
