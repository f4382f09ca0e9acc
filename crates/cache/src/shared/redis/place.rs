//! From an address as people write it to what has to be connected to.

use std::time::Duration;

use redis::io::tcp::TcpSettings;
use redis::{
    Client, ClientTlsConfig, ConnectionAddr, ConnectionInfo, IntoConnectionInfo,
    RedisConnectionInfo, TlsCertificates,
};

use super::super::TierError;
use super::options::{RedisOptions, RedisTls};

/// Unsent data is given up after this long, so that a connection into nothing is noticed.
const DEAD_AFTER: Duration = Duration::from_secs(2);
const SENTINEL_PORT: u16 = 26379;

/// Where the primary is, or who knows.
pub(super) enum Place {
    /// One server, which is the primary.
    Server(ConnectionInfo),
    /// Sentinels, which know the primary.
    Sentinels {
        /// What they call it.
        name: String,
        /// Themselves.
        at: Vec<ConnectionInfo>,
        /// The primary, whatever address it has.
        primary: ConnectionInfo,
    },
    /// A cluster.
    Cluster {
        /// Some of its nodes, which know the others.
        seeds: Vec<ConnectionInfo>,
        /// A node, whatever address it has.
        any: ConnectionInfo,
    },
}

impl Place {
    /// Reads the options. Errors never show the URL, which may hold a password.
    pub(super) fn parse(options: &RedisOptions) -> Result<Self, TierError> {
        let Some((scheme, rest)) = options.url.split_once("://") else {
            return unsuitable("its URL does not begin with redis://");
        };
        let (tls, kind) = match scheme {
            "redis" | "valkey" => (false, Kind::Server),
            "rediss" | "valkeys" => (true, Kind::Server),
            "redis+sentinel" => (false, Kind::Sentinels),
            "rediss+sentinel" => (true, Kind::Sentinels),
            "redis+cluster" => (false, Kind::Cluster),
            "rediss+cluster" => (true, Kind::Cluster),
            "unix" | "redis+unix" => return unsuitable("Unix sockets are not supported"),
            _ => return unsuitable("its URL does not begin with redis://"),
        };
        if !tls && options.tls.is_set() {
            return unsuitable(
                "ca, cert and key are for TLS, and its URL asks for none: write rediss://",
            );
        }
        let certificates = Certificates::read(&options.tls)?;
        if kind != Kind::Sentinels && options.sentinel.is_set() {
            return unsuitable(
                "sentinel_user and sentinel_password are for redis+sentinel:// only",
            );
        }
        match kind {
            Kind::Server => {
                let plain = if tls { "rediss" } else { "redis" };
                let info = info(&format!("{plain}://{rest}"))?;
                Ok(Self::Server(certificates.put_in(info)?))
            }
            Kind::Sentinels => sentinels(options, tls, rest, &certificates),
            Kind::Cluster => cluster(tls, rest, &certificates),
        }
    }
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Kind {
    Server,
    Sentinels,
    Cluster,
}

fn cluster(tls: bool, rest: &str, certificates: &Certificates) -> Result<Place, TierError> {
    let scheme = if tls { "rediss" } else { "redis" };
    let (login, rest) = match rest.rsplit_once('@') {
        Some((login, rest)) => (format!("{login}@"), rest),
        None => (String::new(), rest),
    };
    let (hosts, database) = rest.split_once('/').unwrap_or((rest, ""));
    if !matches!(database, "" | "0") {
        return unsuitable(
            "a cluster has no databases, and its URL names one: write \
             redis+cluster://host:port,host:port",
        );
    }
    let mut seeds = Vec::new();
    for host in hosts.split(',') {
        if host.is_empty() {
            return unsuitable("its URL has an empty host among the cluster's nodes");
        }
        seeds.push(certificates.put_in(info(&format!("{scheme}://{login}{host}"))?)?);
    }
    // The host is a stand-in: the nodes say where the others are.
    let any = certificates.put_in(info(&format!("{scheme}://{login}localhost"))?)?;
    Ok(Place::Cluster { seeds, any })
}

fn sentinels(
    options: &RedisOptions,
    tls: bool,
    rest: &str,
    certificates: &Certificates,
) -> Result<Place, TierError> {
    let scheme = if tls { "rediss" } else { "redis" };
    let (login, rest) = match rest.rsplit_once('@') {
        Some((login, rest)) => (format!("{login}@"), rest),
        None => (String::new(), rest),
    };
    let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (name, database) = path.split_once('/').unwrap_or((path, "0"));
    if name.is_empty() {
        return unsuitable(
            "its URL does not say what the sentinels call the primary: write \
             redis+sentinel://host:26379,host:26379/NAME",
        );
    }
    let mut at = Vec::new();
    for host in hosts.split(',') {
        if host.is_empty() {
            return unsuitable("its URL has an empty host among the sentinels");
        }
        let own_port = host.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
        let port = if own_port { String::new() } else { format!(":{SENTINEL_PORT}") };
        let sentinel = info(&format!("{scheme}://{host}{port}"))?;
        let mut login = RedisConnectionInfo::default();
        if let Some(password) = &options.sentinel.password {
            login = login.set_password(password);
        }
        if let Some(user) = &options.sentinel.user {
            login = login.set_username(user);
        }
        at.push(certificates.put_in(sentinel.set_redis_settings(login))?);
    }
    // The host is a stand-in: the sentinels say where the primary is.
    let primary = certificates.put_in(info(&format!("{scheme}://{login}localhost/{database}"))?)?;
    Ok(Place::Sentinels { name: name.to_owned(), at, primary })
}

/// The same server software at another address.
pub(super) fn at(info: &ConnectionInfo, host: String, port: u16) -> ConnectionInfo {
    let addr = match info.addr().clone() {
        ConnectionAddr::TcpTls { insecure, tls_params, .. } => {
            ConnectionAddr::TcpTls { host, port, insecure, tls_params }
        }
        _ => ConnectionAddr::Tcp(host, port),
    };
    info.clone().set_addr(addr)
}

fn info(url: &str) -> Result<ConnectionInfo, TierError> {
    let tcp = TcpSettings::default().set_nodelay(true).set_user_timeout(DEAD_AFTER);
    match url.into_connection_info() {
        Ok(info) => Ok(info.set_tcp_settings(tcp)),
        Err(err) => unsuitable(&format!("its URL can't be read: {}", err.category())),
    }
}

fn unsuitable<T>(what: &str) -> Result<T, TierError> {
    Err(TierError::Unsuitable(what.to_owned()))
}

struct Certificates(TlsCertificates);

impl Certificates {
    fn read(tls: &RedisTls) -> Result<Self, TierError> {
        let client_tls = match (&tls.cert, &tls.key) {
            (Some(cert), Some(key)) => {
                Some(ClientTlsConfig { client_cert: cert.clone(), client_key: key.clone() })
            }
            (None, None) => None,
            _ => return unsuitable("cert and key belong together: give both or none"),
        };
        Ok(Self(TlsCertificates { client_tls, root_cert: tls.ca.clone() }))
    }

    /// Puts them into an address that asks for TLS.
    fn put_in(&self, info: ConnectionInfo) -> Result<ConnectionInfo, TierError> {
        if !matches!(info.addr(), ConnectionAddr::TcpTls { .. }) {
            return Ok(info);
        }
        match Client::build_with_tls(info, self.0.clone()) {
            Ok(client) => Ok(client.get_connection_info().clone()),
            Err(err) => unsuitable(&format!("ca, cert or key can't be used: {err}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(url: &str) -> String {
        match Place::parse(&RedisOptions::new(url)) {
            Err(err) => err.to_string(),
            Ok(_) => panic!("{url} was taken"),
        }
    }

    #[test]
    fn a_server_with_and_without_tls() {
        for (url, shown) in [
            ("redis://u:p@h:1/3", "h:1"),
            ("redis://h", "h:6379"),
            ("rediss://h:2", "h:2"),
            ("valkeys://h:2", "h:2"),
        ] {
            let Ok(Place::Server(info)) = Place::parse(&RedisOptions::new(url)) else {
                panic!("{url}");
            };
            assert_eq!(info.addr().to_string(), shown);
            let tls = matches!(info.addr(), ConnectionAddr::TcpTls { .. });
            assert_eq!(tls, url.starts_with("rediss") || url.starts_with("valkeys"));
        }
    }

    #[test]
    fn sentinels_have_a_login_of_their_own() {
        let mut options = RedisOptions::new("redis+sentinel://u:p%40@a:1,[::1]:2,c/shop/3");
        options.sentinel.password = Some("s".into());
        let Ok(Place::Sentinels { name, at: sentinels, primary }) = Place::parse(&options) else {
            panic!("not taken");
        };
        let shown: Vec<_> = sentinels.iter().map(|info| info.addr().to_string()).collect();
        assert_eq!(
            (name.as_str(), shown),
            ("shop", vec!["a:1".into(), "::1:2".into(), "c:26379".into()])
        );
        assert!(sentinels.iter().all(|info| info.redis_settings().password() == Some("s")));
        let login = primary.redis_settings();
        assert_eq!((login.username(), login.password(), login.db()), (Some("u"), Some("p@"), 3));
        assert_eq!(at(&primary, "x".into(), 9).addr().to_string(), "x:9");
    }

    #[test]
    fn a_clusters_nodes_have_one_login() {
        let options = RedisOptions::new("redis+cluster://u:p%40@a:1,[::1]:2,c");
        let Ok(Place::Cluster { seeds, any }) = Place::parse(&options) else {
            panic!("not taken");
        };
        let shown: Vec<_> = seeds.iter().map(|info| info.addr().to_string()).collect();
        assert_eq!(shown, ["a:1", "::1:2", "c:6379"]);
        for info in seeds.iter().chain([&any]) {
            let login = info.redis_settings();
            assert_eq!((login.username(), login.password()), (Some("u"), Some("p@")));
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (url, what) in [
            ("redis+sentinel://h:1", "NAME"),
            ("redis+sentinel://h:1,/m", "empty host"),
            ("redis+cluster://h:1,", "empty host"),
            ("redis+cluster://h:1/3", "no databases"),
            ("unix:///x", "Unix"),
            ("http://h", "redis://"),
            ("h:6379", "redis://"),
        ] {
            assert!(refused(url).contains(what), "{}", refused(url));
        }
        let tls = RedisTls { ca: Some(b"x".to_vec()), ..RedisTls::default() };
        let options = RedisOptions { tls: tls.clone(), ..RedisOptions::new("redis://h") };
        assert!(Place::parse(&options).is_err_and(|err| err.to_string().contains("rediss://")));
        let cert = RedisTls { cert: Some(b"x".to_vec()), ..tls };
        let options = RedisOptions { tls: cert, ..RedisOptions::new("rediss://h") };
        assert!(
            Place::parse(&options).is_err_and(|err| err.to_string().contains("belong together"))
        );
    }

    #[test]
    fn no_password_is_shown() {
        for url in ["redis://u:secret@h:1/x", "redis+cluster://u:secret@h:1/x", "u:secret@h"] {
            assert!(!refused(url).contains("secret"));
        }
    }
}
