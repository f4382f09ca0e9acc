//! The section `[edge]`.

use contract::config::TableReader;

use super::client_limits::ClientLimits;
use super::connections::ConnectionLimits;
use super::options::GatewayOptions;
use super::page_limits::PageLimits;
use super::proxies::Proxies;
use super::routes::Routes;

/// The settings of `[edge]`.
#[derive(Clone, Debug, Default)]
pub struct EdgeSection {
    /// The rules for pages, by path prefix.
    pub routes: Routes,
    /// The limits of clients.
    pub clients: ClientLimits,
    /// The limits of stored pages.
    pub pages: PageLimits,
    /// The proxies in front of the gateway, and the served hosts.
    pub proxies: Proxies,
    /// The limits of client connections.
    pub connections: ConnectionLimits,
}

impl EdgeSection {
    /// The keys of `[edge]`.
    pub const KEYS: &[&str] = &{
        let [a, b, c, d, e, f, g, h] = ClientLimits::KEYS;
        let [i, j] = PageLimits::KEYS;
        let [k, l, m, n, o, p] = Proxies::KEYS;
        let [q, r, s] = ConnectionLimits::KEYS;
        ["route", a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s]
    };

    /// Reads `[edge]`. `None` only after a problem was recorded.
    pub fn read(table: &mut TableReader<'_>) -> Option<Self> {
        let clients = ClientLimits::read(table);
        let pages = PageLimits::read(table);
        let proxies = Proxies::read(table);
        let connections = ConnectionLimits::read(table);
        Some(Self { routes: Routes::read(table)?, clients, pages, proxies, connections })
    }

    /// Returns the options with these settings.
    #[must_use]
    pub fn apply(self, options: GatewayOptions) -> GatewayOptions {
        let Self { routes, clients, pages, proxies, connections } = self;
        connections.apply(GatewayOptions { routes, clients, pages, proxies, ..options })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn read(text: &str) -> Result<EdgeSection, String> {
        let table: toml::Table = text.parse().expect("TOML");
        let mut reader = TableReader::new("edge", &table, EdgeSection::KEYS);
        let section = EdgeSection::read(&mut reader);
        reader.finish(section).map_err(|problems| problems[0].to_string())
    }

    #[test]
    fn every_client_limit_is_read() {
        let section = read(
            "client_timeout = \"5s\"\nclient_min_rate = \"2KiB\"\nresponses = 10\n\
             responses_per_client = 3\nuploads = 8\nuploads_per_client = 2\nupload_buffer = \"1KiB\"\n\
             websocket_timeout = \"30s\"",
        );
        let clients = section.expect("valid").clients;
        assert_eq!((clients.timeout, clients.min_rate), (Duration::from_secs(5), 2_048));
        assert_eq!((clients.responses.total, clients.responses.per_client), (10, 3));
        assert_eq!((clients.uploads.total, clients.uploads.per_client), (8, 2));
        assert_eq!(clients.upload_buffer, 1_024);
        assert_eq!(clients.websocket_timeout, Duration::from_secs(30));
    }

    #[test]
    fn every_page_limit_is_read() {
        let section = read("max_page_size = \"8MiB\"\nmax_tags = 7").expect("valid");
        assert_eq!(section.pages, PageLimits { max_bytes: 8 << 20, max_tags: 7 });
    }

    #[test]
    fn invalid_client_limit_rejected() {
        for (text, problem) in [
            ("uploads = 0", "edge.uploads: 0 is out of range"),
            ("client_timeout = \"0s\"", "edge.client_timeout: "),
            ("respones = 1", "edge.respones: is not a known key; did you mean `responses`?"),
        ] {
            let err = read(text).expect_err(text);
            assert!(err.starts_with(problem), "{err}");
        }
    }
}
