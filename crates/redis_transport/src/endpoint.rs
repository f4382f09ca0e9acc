//! Endpoints: the URL of a server, of sentinels or of a cluster, parsed.

use std::path::Path;
use std::time::Duration;

use redis::io::tcp::TcpSettings;
use redis::{
    Client, ClientTlsConfig, ConnectionAddr, ConnectionInfo, IntoConnectionInfo,
    RedisConnectionInfo, TlsCertificates,
};

use crate::credentials::{RedisLogin, RedisTls};
use crate::error::TransportError;
use crate::server::ServerInfo;

/// The time after which unacknowledged data closes a connection, so that a dead peer is noticed.
const USER_TIMEOUT: Duration = Duration::from_secs(2);
const SENTINEL_PORT: u16 = 26379;

/// The address of the primary, or of the servers that know it.
#[derive(Clone)]
pub struct Endpoint(Kind);

#[derive(Clone)]
pub(crate) enum Kind {
    /// The primary.
    Server(ServerInfo),
    /// Sentinels, which know the primary.
    Sentinels {
        /// Their name for the primary.
        name: String,
        sentinels: Vec<ServerInfo>,
        /// Login and TLS of the primary. Its address is a placeholder.
        primary: ServerInfo,
    },
    /// A cluster.
    Cluster {
        /// Some of its nodes, which know the others.
        seeds: Vec<ServerInfo>,
        /// Login and TLS of every node. The address is a placeholder.
        template: ServerInfo,
    },
}

impl Endpoint {
    /// Parses a URL:
    ///
    /// * `redis://[user:password@]host[:port][/database]`: one server;
    /// * `redis+sentinel://[user:password@]host[:port],…/NAME[/database]`: the sentinels of the primary that
    ///   they call `NAME`, with a login of their own in `sentinel`;
    /// * `redis+cluster://[user:password@]host[:port],…`: some nodes of a cluster.
    ///
    /// `rediss` in place of `redis` selects TLS, to sentinels and all nodes too.
    ///
    /// # Errors
    /// [`TransportError::Unsuitable`] names the mistake, without the URL, which may contain a password.
    pub fn parse(
        url: &str,
        tls_files: &RedisTls,
        sentinel: &RedisLogin,
    ) -> Result<Self, TransportError> {
        let Some((scheme, rest)) = url.split_once("://") else {
            return unsuitable("its URL does not begin with redis://");
        };
        let (tls, scheme) = match scheme {
            "redis" | "valkey" => (false, Scheme::Server),
            "rediss" | "valkeys" => (true, Scheme::Server),
            "redis+sentinel" => (false, Scheme::Sentinels),
            "rediss+sentinel" => (true, Scheme::Sentinels),
            "redis+cluster" => (false, Scheme::Cluster),
            "rediss+cluster" => (true, Scheme::Cluster),
            "unix" | "redis+unix" => return unsuitable("Unix sockets are not supported"),
            _ => return unsuitable("its URL does not begin with redis://"),
        };
        if !tls && tls_files.is_set() {
            return unsuitable(
                "ca, cert and key are for TLS, and its URL asks for none: write rediss://",
            );
        }
        let certificates = Certificates::read(tls_files)?;
        if scheme != Scheme::Sentinels && sentinel.is_set() {
            return unsuitable(
                "sentinel_user and sentinel_password are for redis+sentinel:// only",
            );
        }
        let kind = match scheme {
            Scheme::Server => {
                let plain = if tls { "rediss" } else { "redis" };
                let info = info(&format!("{plain}://{rest}"))?;
                Kind::Server(ServerInfo::new(certificates.apply_to(info)?))
            }
            Scheme::Sentinels => sentinels(sentinel, tls, rest, &certificates)?,
            Scheme::Cluster => cluster(tls, rest, &certificates)?,
        };
        Ok(Self(kind))
    }

    /// Returns the endpoint with the password in a file, which is read for each connection.
    ///
    /// # Errors
    /// [`TransportError::Unsuitable`]: the URL has a password, too.
    pub fn with_password_file(self, path: &Path) -> Result<Self, TransportError> {
        let add = |server: ServerInfo| match server.has_password() {
            true => unsuitable("its URL has a password, and password_file names another one"),
            false => Ok(server.with_password_file(path)),
        };
        Ok(Self(match self.0 {
            Kind::Server(server) => Kind::Server(add(server)?),
            Kind::Sentinels { name, sentinels, primary } => {
                Kind::Sentinels { name, sentinels, primary: add(primary)? }
            }
            Kind::Cluster { seeds, template } => {
                let seeds = seeds.into_iter().map(add).collect::<Result<_, _>>()?;
                Kind::Cluster { seeds, template: add(template)? }
            }
        }))
    }

    /// Whether it names a cluster, which divides the keys among its shards.
    #[must_use]
    pub fn is_cluster(&self) -> bool {
        matches!(self.0, Kind::Cluster { .. })
    }

    pub(crate) fn into_kind(self) -> Kind {
        self.0
    }
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Scheme {
    Server,
    Sentinels,
    Cluster,
}

fn cluster(tls: bool, rest: &str, certificates: &Certificates) -> Result<Kind, TransportError> {
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
        seeds.push(ServerInfo::new(
            certificates.apply_to(info(&format!("{scheme}://{login}{host}"))?)?,
        ));
    }
    // The host is a placeholder: the nodes report the addresses of all nodes.
    let template = certificates.apply_to(info(&format!("{scheme}://{login}localhost"))?)?;
    Ok(Kind::Cluster { seeds, template: ServerInfo::new(template) })
}

fn sentinels(
    sentinel: &RedisLogin,
    tls: bool,
    rest: &str,
    certificates: &Certificates,
) -> Result<Kind, TransportError> {
    let scheme = if tls { "rediss" } else { "redis" };
    let (login, rest) = match rest.rsplit_once('@') {
        Some((login, rest)) => (format!("{login}@"), rest),
        None => (String::new(), rest),
    };
    let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (name, database) = path.split_once('/').unwrap_or((path, "0"));
    if name.is_empty() {
        return unsuitable(
            "its URL lacks the name that the sentinels have for the primary: write \
             redis+sentinel://host:26379,host:26379/NAME",
        );
    }
    let mut sentinels = Vec::new();
    for host in hosts.split(',') {
        if host.is_empty() {
            return unsuitable("its URL has an empty host among the sentinels");
        }
        let own_port = host.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
        let port = if own_port { String::new() } else { format!(":{SENTINEL_PORT}") };
        let address = info(&format!("{scheme}://{host}{port}"))?;
        let mut login = RedisConnectionInfo::default();
        if let Some(password) = &sentinel.password {
            login = login.set_password(password);
        }
        if let Some(user) = &sentinel.user {
            login = login.set_username(user);
        }
        let info = certificates.apply_to(address.set_redis_settings(login))?;
        let info = ServerInfo::new(info);
        sentinels.push(match &sentinel.password_file {
            Some(path) => info.with_password_file(path),
            None => info,
        });
    }
    // The host is a placeholder: the sentinels report the address of the primary.
    let primary =
        certificates.apply_to(info(&format!("{scheme}://{login}localhost/{database}"))?)?;
    let primary = ServerInfo::new(primary);
    Ok(Kind::Sentinels { name: name.to_owned(), sentinels, primary })
}

fn info(url: &str) -> Result<ConnectionInfo, TransportError> {
    let tcp = TcpSettings::default().set_nodelay(true).set_user_timeout(USER_TIMEOUT);
    match url.into_connection_info() {
        Ok(info) => Ok(info.set_tcp_settings(tcp)),
        Err(err) => unsuitable(&format!("its URL can't be read: {}", err.category())),
    }
}

fn unsuitable<T>(why: &str) -> Result<T, TransportError> {
    Err(TransportError::Unsuitable(why.to_owned()))
}

struct Certificates(TlsCertificates);

impl Certificates {
    fn read(tls: &RedisTls) -> Result<Self, TransportError> {
        let client_tls = match (&tls.cert, &tls.key) {
            (Some(cert), Some(key)) => {
                Some(ClientTlsConfig { client_cert: cert.clone(), client_key: key.clone() })
            }
            (None, None) => None,
            _ => return unsuitable("cert and key belong together: give both or none"),
        };
        Ok(Self(TlsCertificates { client_tls, root_cert: tls.ca.clone() }))
    }

    /// Adds them to an address with TLS.
    fn apply_to(&self, info: ConnectionInfo) -> Result<ConnectionInfo, TransportError> {
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

    fn parse(url: &str) -> Result<Endpoint, TransportError> {
        Endpoint::parse(url, &RedisTls::default(), &RedisLogin::default())
    }

    fn refusal(url: &str) -> String {
        parse(url).err().expect(url).to_string()
    }

    #[test]
    fn server_url_selects_tls() {
        for (url, shown) in [
            ("redis://u:p@h:1/3", "h:1"),
            ("redis://h", "h:6379"),
            ("rediss://h:2", "h:2"),
            ("valkeys://h:2", "h:2"),
        ] {
            let Ok(Endpoint(Kind::Server(info))) = parse(url) else { panic!("{url}") };
            assert_eq!(info.addr().to_string(), shown);
            let tls = matches!(info.addr(), ConnectionAddr::TcpTls { .. });
            assert_eq!(tls, url.starts_with("rediss") || url.starts_with("valkeys"));
        }
    }

    #[test]
    fn sentinels_have_their_own_login() {
        let url = "redis+sentinel://u:p%40@a:1,[::1]:2,c/shop/3";
        let login = RedisLogin { password: Some("s".into()), ..RedisLogin::default() };
        let endpoint = Endpoint::parse(url, &RedisTls::default(), &login).expect("accepted");
        let Kind::Sentinels { name, sentinels, primary } = endpoint.into_kind() else {
            panic!("no sentinels");
        };
        let shown: Vec<_> = sentinels.iter().map(|info| info.addr().to_string()).collect();
        assert_eq!(
            (name.as_str(), shown),
            ("shop", vec!["a:1".into(), "::1:2".into(), "c:26379".into()])
        );
        assert!(sentinels.iter().all(|info| info.login().password() == Some("s")));
        let login = primary.login();
        assert_eq!((login.username(), login.password(), login.db()), (Some("u"), Some("p@"), 3));
        assert_eq!(primary.at("x".into(), 9).addr().to_string(), "x:9");
    }

    #[test]
    fn cluster_nodes_share_one_login() {
        let endpoint = parse("redis+cluster://u:p%40@a:1,[::1]:2,c").expect("accepted");
        assert!(endpoint.is_cluster());
        let Kind::Cluster { seeds, template } = endpoint.into_kind() else {
            panic!("no cluster");
        };
        let shown: Vec<_> = seeds.iter().map(|info| info.addr().to_string()).collect();
        assert_eq!(shown, ["a:1", "::1:2", "c:6379"]);
        for info in seeds.iter().chain([&template]) {
            let login = info.login();
            assert_eq!((login.username(), login.password()), (Some("u"), Some("p@")));
        }
    }

    #[test]
    fn refusal_names_the_mistake() {
        for (url, what) in [
            ("redis+sentinel://h:1", "NAME"),
            ("redis+sentinel://h:1,/m", "empty host"),
            ("redis+cluster://h:1,", "empty host"),
            ("redis+cluster://h:1/3", "no databases"),
            ("unix:///x", "Unix"),
            ("http://h", "redis://"),
            ("h:6379", "redis://"),
        ] {
            assert!(refusal(url).contains(what), "{}", refusal(url));
        }
        let refusal = |url: &str, tls: &RedisTls| {
            Endpoint::parse(url, tls, &RedisLogin::default()).err().expect(url).to_string()
        };
        let tls = RedisTls { ca: Some(b"x".to_vec()), ..RedisTls::default() };
        assert!(refusal("redis://h", &tls).contains("rediss://"));
        let cert = RedisTls { cert: Some(b"x".to_vec()), ..tls };
        assert!(refusal("rediss://h", &cert).contains("belong together"));
    }

    #[test]
    fn passwords_not_shown() {
        for url in ["redis://u:secret@h:1/x", "redis+cluster://u:secret@h:1/x", "u:secret@h"] {
            assert!(!refusal(url).contains("secret"));
        }
    }
}
