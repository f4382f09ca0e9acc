//! The address of a server of HTTP.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use http::uri::{self, Authority, PathAndQuery, Uri};

use crate::http::target::Scheme;

/// The longest name of a socket of Unix, in bytes.
const SOCKET_BYTES_MAX: usize = 107;

/// The address of a server of HTTP: `http://host[:port]`, `https://host[:port]` or `unix:/path`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ServerAddress {
    scheme: Scheme,
    authority: Authority,
    socket: Option<PathBuf>,
}

impl ServerAddress {
    /// Creates the address of a socket of Unix. Requests to it name the host `localhost`.
    ///
    /// # Errors
    /// The problem.
    pub fn unix(path: &str) -> Result<Self, String> {
        if !path.starts_with('/') {
            return Err("the path of a socket must be absolute".to_owned());
        }
        if path.len() > SOCKET_BYTES_MAX || path.contains('\0') {
            return Err(format!("the path of a socket has at most {SOCKET_BYTES_MAX} bytes"));
        }
        let authority = Authority::from_static("localhost");
        Ok(Self { scheme: Scheme::Http, authority, socket: Some(path.into()) })
    }

    /// Creates the address of a host and a port.
    #[must_use]
    pub fn host(scheme: Scheme, authority: Authority) -> Self {
        Self { scheme, authority, socket: None }
    }

    /// Returns whether connections are encrypted.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.socket.is_none() && self.scheme == Scheme::Https
    }

    /// The scheme of requests.
    pub(crate) fn scheme(&self) -> http::uri::Scheme {
        match self.scheme {
            Scheme::Http => http::uri::Scheme::HTTP,
            Scheme::Https => http::uri::Scheme::HTTPS,
        }
    }

    /// Host and port, as requests name them.
    #[must_use]
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// The address as a URI.
    pub(crate) fn uri(&self) -> Uri {
        let mut parts = uri::Parts::default();
        parts.scheme = Some(self.scheme());
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = Some(PathAndQuery::from_static("/"));
        Uri::from_parts(parts).expect("scheme, authority and path form a URI")
    }

    /// The socket of Unix, if the address is one.
    pub(crate) fn socket(&self) -> Option<&Path> {
        self.socket.as_deref()
    }

    /// The name that the server's certificate has to be for; `None`: connections are not encrypted.
    pub(crate) fn tls_name(&self) -> Option<&str> {
        let host = self.authority.host();
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        self.is_tls().then_some(host)
    }
}

impl FromStr for ServerAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(path) = text.strip_prefix("unix:") {
            return Self::unix(path.strip_prefix("//").unwrap_or(path));
        }
        let url = Uri::from_str(text).map_err(|err| err.to_string())?;
        let scheme = match url.scheme_str() {
            Some("http") => Scheme::Http,
            Some("https") => Scheme::Https,
            _ => return Err("is not an address of HTTP".to_owned()),
        };
        let authority = url.authority().ok_or("is not an address of HTTP")?;
        if authority.as_str().contains('@') {
            return Err("has a user, who is not sent to the server".to_owned());
        }
        if !matches!(url.path(), "" | "/") || url.query().is_some() {
            return Err("has a path".to_owned());
        }
        Ok(Self::host(scheme, authority.clone()))
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.socket {
            Some(path) => write!(f, "unix:{}", path.display()),
            None => write!(f, "{}://{}", self.scheme.as_str(), self.authority),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_read() {
        for (text, shown, name) in [
            ("http://a:1", "http://a:1", None),
            ("https://shop.internal/", "https://shop.internal", Some("shop.internal")),
            ("https://[::1]:8443", "https://[::1]:8443", Some("::1")),
            ("unix:/run/app.sock", "unix:/run/app.sock", None),
            ("unix:///run/app.sock", "unix:/run/app.sock", None),
        ] {
            let address: ServerAddress = text.parse().expect(text);
            assert_eq!((address.to_string().as_str(), address.tls_name()), (shown, name));
        }
        for (text, problem) in [
            ("a:1", "address of HTTP"),
            ("ftp://a", "address of HTTP"),
            ("http://u:p@a", "has a user"),
            ("https://a/b", "has a path"),
            ("unix:run/app.sock", "must be absolute"),
            ("unix:", "must be absolute"),
        ] {
            let err = text.parse::<ServerAddress>().expect_err(text);
            assert!(err.contains(problem), "{text}: {err}");
        }
    }
}
