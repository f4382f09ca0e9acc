//! A server with its login, and opening a connection to it.

use std::path::Path;
use std::sync::Arc;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, ErrorKind, RedisError,
    RedisResult,
};

/// More is no password: another file was named.
const MAX_PASSWORD_BYTES: usize = 64 << 10;

/// Codes of errors by which a server refuses a login: wrong, or missing.
const LOGIN_REFUSED: [&str; 2] = ["WRONGPASS", "NOAUTH"];

/// The address, login and TLS of a server. The password may be in a file, which is read for each connection.
#[derive(Clone)]
pub(crate) struct ServerInfo {
    info: ConnectionInfo,
    password_file: Option<Arc<Path>>,
}

impl ServerInfo {
    pub(crate) fn new(info: ConnectionInfo) -> Self {
        Self { info, password_file: None }
    }

    pub(crate) fn with_password_file(self, path: &Path) -> Self {
        Self { password_file: Some(path.into()), ..self }
    }

    pub(crate) fn addr(&self) -> &ConnectionAddr {
        self.info.addr()
    }

    pub(crate) fn has_password(&self) -> bool {
        self.info.redis_settings().password().is_some()
    }

    pub(crate) fn user(&self) -> &str {
        self.info.redis_settings().username().unwrap_or("default")
    }

    #[cfg(test)]
    pub(crate) fn login(&self) -> &redis::RedisConnectionInfo {
        self.info.redis_settings()
    }

    /// Returns the server at another address, with this login and TLS.
    pub(crate) fn at(&self, host: String, port: u16) -> Self {
        let addr = match self.info.addr().clone() {
            ConnectionAddr::TcpTls { insecure, tls_params, .. } => {
                ConnectionAddr::TcpTls { host, port, insecure, tls_params }
            }
            _ => ConnectionAddr::Tcp(host, port),
        };
        let (info, password_file) = (self.info.clone().set_addr(addr), self.password_file.clone());
        Self { info, password_file }
    }

    /// Opens a connection.
    pub(crate) async fn open(
        &self,
        config: &AsyncConnectionConfig,
    ) -> RedisResult<MultiplexedConnection> {
        let info = match &self.password_file {
            None => self.info.clone(),
            Some(path) => {
                let login = self.info.redis_settings().clone().set_password(read(path).await?);
                self.info.clone().set_redis_settings(login)
            }
        };
        let client = Client::open(info.clone())?;
        match client.get_multiplexed_async_connection_with_config(config).await {
            Err(err) if err.kind() == ErrorKind::AuthenticationFailed => {
                Err(explain(info, config).await.unwrap_or(err))
            }
            opened => opened,
        }
    }
}

/// Whether the server refused the login.
pub(crate) fn is_login_refused(err: &RedisError) -> bool {
    let no_password = || {
        let detail = err.detail().unwrap_or_default();
        err.code() == Some("ERR") && detail.contains("AUTH")
    };
    err.code().is_some_and(|code| LOGIN_REFUSED.contains(&code)) || no_password()
}

/// Returns the server's own error for a login: the driver replaces each by one of its own, also one that says that
/// the server is too busy.
async fn explain(info: ConnectionInfo, config: &AsyncConnectionConfig) -> Option<RedisError> {
    let login = info.redis_settings().clone();
    let anonymous = info.set_redis_settings(redis::RedisConnectionInfo::default());
    let client = Client::open(anonymous).ok()?;
    let mut connection = match client.get_multiplexed_async_connection_with_config(config).await {
        Ok(connection) => connection,
        Err(err) => return Some(err),
    };
    let mut auth = redis::cmd("AUTH");
    login.username().iter().for_each(|user| {
        auth.arg(*user);
    });
    auth.arg(login.password().unwrap_or_default());
    auth.exec_async(&mut connection).await.err()
}

/// Reads the password in a file: its content without line breaks at the end.
async fn read(path: &Path) -> RedisResult<String> {
    let failed = |problem: String| {
        let problem = format!("password_file = {}: {problem}", path.display());
        RedisError::from((ErrorKind::InvalidClientConfig, "no password", problem))
    };
    let content = tokio::fs::read(path).await.map_err(|err| failed(err.to_string()))?;
    if content.len() > MAX_PASSWORD_BYTES {
        return Err(failed("it is too large for a password".to_owned()));
    }
    let content = String::from_utf8(content).map_err(|_| failed("it is not UTF-8".to_owned()))?;
    match content.trim_end_matches(['\n', '\r']) {
        "" => Err(failed("it is empty".to_owned())),
        password => Ok(password.to_owned()),
    }
}
