//! Logins and certificates. Their secrets are never printed.

use std::fmt;
use std::path::PathBuf;

/// A user and a password.
#[derive(Clone, Default)]
pub struct RedisLogin {
    /// `None`: the default user.
    pub user: Option<String>,
    /// `None`: no login, or the password is in a file.
    pub password: Option<String>,
    /// The file with the password, which is read for each connection.
    pub password_file: Option<PathBuf>,
}

/// Certificates, each the content of a PEM file.
#[derive(Clone, Default)]
pub struct RedisTls {
    /// The authority that signs the server's certificate. `None`: the authorities that this system trusts.
    pub ca: Option<Vec<u8>>,
    /// The client's certificate. Requires `key`.
    pub cert: Option<Vec<u8>>,
    /// The private key of `cert`.
    pub key: Option<Vec<u8>>,
}

impl RedisLogin {
    pub(crate) fn is_set(&self) -> bool {
        self.user.is_some() || self.password.is_some() || self.password_file.is_some()
    }
}

impl RedisTls {
    pub(crate) fn is_set(&self) -> bool {
        self.ca.is_some() || self.cert.is_some() || self.key.is_some()
    }
}

impl fmt::Debug for RedisLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let password = self.password.as_ref().map(|_| "***");
        f.debug_struct("RedisLogin")
            .field("user", &self.user)
            .field("password", &password)
            .field("password_file", &self.password_file)
            .finish()
    }
}

impl fmt::Debug for RedisTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let set = |part: &Option<Vec<u8>>| part.as_ref().map(|_| "***");
        f.debug_struct("RedisTls")
            .field("ca", &set(&self.ca))
            .field("cert", &set(&self.cert))
            .field("key", &set(&self.key))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_not_printed() {
        let login = RedisLogin {
            user: Some("u".into()),
            password: Some("secret".into()),
            password_file: None,
        };
        let tls = RedisTls { key: Some(b"secret".to_vec()), ..RedisTls::default() };
        let shown = format!("{login:?} {tls:?}");
        assert!(!shown.contains("secret") && !shown.contains("115"), "{shown}");
    }
}
