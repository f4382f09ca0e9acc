//! Errors of a node.

use feed::FeedError;
use thiserror::Error;

use crate::config::{Config, ConfigError};

/// Why a node can't start, or stopped.
#[derive(Debug, Error)]
pub(crate) enum NodeError {
    /// The configuration is invalid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The configuration asks for something that does not exist or that contradicts itself.
    #[error("{0}")]
    Unsuitable(String),
    /// The database can't be reached, or an operator has to set it up.
    #[error("[source.{name}] {url}: {error}")]
    Feed {
        /// The source's name.
        name: String,
        /// Its address, without secrets.
        url: String,
        /// The reason.
        error: feed::FeedError,
    },
    /// A contract does not match its database.
    #[error(transparent)]
    Origin(#[from] cache::OriginError),
    /// The shared tier can't be used.
    #[error("[shared] {url}: {error}")]
    Shared {
        /// Its address, without secrets.
        url: String,
        /// The reason.
        error: cache::TierError,
    },
    /// A service can't be called as its contract says.
    #[error(transparent)]
    Service(#[from] edge::ServiceError),
    /// The ledger of the sale can't be used.
    #[error("[sale] {url}: {error}")]
    Sale {
        /// Its address, without secrets.
        url: String,
        /// The reason.
        error: Box<sale::SchemaError>,
    },
    /// The upstream can't be used.
    #[error("[upstream] {0}")]
    Gateway(String),
    /// The upstream does not answer.
    #[error("[upstream] {url}: {error}")]
    Upstream {
        /// Its address.
        url: String,
        /// The reason.
        error: String,
    },
    /// An address is taken or can't be bound.
    #[error("can't listen on {address}: {source}; is another process using it? see [listen]")]
    Listen {
        /// The address.
        address: std::net::SocketAddr,
        /// The reason.
        source: std::io::Error,
    },
    /// The certificates of a listener can't be used.
    #[error("TLS of listen.{listener}: {error}")]
    Tls {
        /// The listener.
        listener: &'static str,
        /// The reason.
        error: ::tls::TlsFailure,
    },
    /// The access tokens can't be used.
    #[error("[access] tokens: {0}")]
    Tokens(#[from] access::TokenFileError),
    /// The audit log can't be written.
    #[error("[access] {0}")]
    AuditLog(#[from] access::AuditLogError),
    /// The access token for other nodes can't be read.
    #[error("[audit] peers_token: {0}")]
    PeersToken(String),
    /// A listener failed.
    #[error("a listener stopped: {0}")]
    Serve(std::io::Error),
}

impl NodeError {
    /// Adds the places in the configuration at which contracts name tables and columns that the database does not
    /// have.
    pub(crate) fn with_lines(mut self, config: &Config) -> Self {
        if let Self::Feed { name, error: FeedError::Setup(setup), .. } = &mut self {
            for issue in &mut setup.issues {
                let Some(subject) = &issue.subject else { continue };
                let places = config.name_lines.of_subject(&config.contracts, name, subject);
                issue.remedy.extend(places.iter().map(|place| format!("-- at {place}")));
            }
        }
        self
    }
}
