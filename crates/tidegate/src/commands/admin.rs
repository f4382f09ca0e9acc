//! The node that a command asks, and the access token for it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use access::AccessToken;
use anyhow::Context;
use contract::config::{ValueError, parse_listen_address};
use edge::{ServerAddress, TlsFiles};

use crate::exit::Exit;
use crate::http_client::{Refused, Target, read_token};
use crate::terminal::print_error;

/// The variable with the access token.
const TOKEN: &str = "TIDEGATE_TOKEN";

/// The variable with the name of its file.
const TOKEN_FILE: &str = "TIDEGATE_TOKEN_FILE";

/// The node, and the access token for it. The token is no argument: every user of the machine can read the
/// arguments of a process.
#[derive(Debug, clap::Args)]
pub(crate) struct AdminArgs {
    /// The admin address of a running node: an address and a port, or https://host:port.
    #[arg(long = "admin", value_name = "ADDRESS", default_value = "127.0.0.1:9180")]
    pub(super) address: AdminAddress,
    /// For https: a PEM file with the authorities to trust; else those of the system.
    #[arg(long, value_name = "FILE")]
    tls_ca: Option<PathBuf>,
    /// For https: a PEM file with the client certificate.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// For https: a PEM file with its private key.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// A file with the access token; else the variable TIDEGATE_TOKEN or TIDEGATE_TOKEN_FILE.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// The address of a node's admin listener.
#[derive(Clone, Debug)]
pub(super) struct AdminAddress(String);

impl FromStr for AdminAddress {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.parse().is_ok_and(|address: ServerAddress| address.is_tls()) {
            return Ok(Self(text.to_owned()));
        }
        parse_listen_address(text).map(|address| Self(address.to_string()))
    }
}

impl fmt::Display for AdminAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AdminArgs {
    /// Returns the node.
    ///
    /// # Errors
    /// A file of TLS can't be used.
    pub(super) fn target(&self) -> anyhow::Result<Target> {
        let pair = self.tls_cert.clone().zip(self.tls_key.clone());
        let identity = pair.map(|(certificate, key)| tls::Identity { certificate, key });
        let files = TlsFiles { ca: self.tls_ca.clone(), identity, server_name: None };
        Target::new(&self.address.0, &files)
    }

    /// Returns the node and the access token for it. Prints why one of them can't be used.
    pub(super) fn node(&self) -> Result<(Target, Option<AccessToken>), Exit> {
        let token = self.token().map_err(|err| unusable_token(&err))?;
        let target = self.target().map_err(|err| self.failed(&err))?;
        Ok((target, token))
    }

    /// Returns the access token; `None`: none is given.
    ///
    /// # Errors
    /// The text is no token, or its file can't be read. The text is never shown.
    pub(super) fn token(&self) -> anyhow::Result<Option<AccessToken>> {
        if let Some(file) = &self.token_file {
            return read_token(file).map(Some);
        }
        let variable = |name| std::env::var(name).ok().filter(|text| !text.trim().is_empty());
        if let Some(text) = variable(TOKEN) {
            return text.trim().parse().map(Some).context(TOKEN);
        }
        variable(TOKEN_FILE).map(|file| read_token(&PathBuf::from(file))).transpose()
    }

    /// Prints why a node did not answer, or refused.
    pub(super) fn failed(&self, err: &anyhow::Error) -> Exit {
        if let Some(refused) = err.downcast_ref() {
            return self.refused(refused);
        }
        let address = &self.address;
        print_error(format_args!(
            "tidegate: no node answers at {address}: {err:#}; start one with `tidegate serve`, or give its \
             admin address with --admin"
        ));
        Exit::Environment
    }

    /// Prints why a node refused.
    pub(super) fn refused(&self, Refused { status, detail }: &Refused) -> Exit {
        print_error(format_args!("tidegate: {status}: {detail}"));
        match status.as_u16() {
            401 => {
                print_error(format_args!(
                    "tidegate: give the access token in {TOKEN}, or a file with it in {TOKEN_FILE} or \
                     --token-file"
                ));
                Exit::Environment
            }
            403 => Exit::Environment,
            400..500 => Exit::Usage,
            _ => Exit::Bad,
        }
    }
}

/// Prints that the given access token can't be used.
pub(super) fn unusable_token(err: &anyhow::Error) -> Exit {
    print_error(format_args!("tidegate: {err:#}"));
    Exit::Environment
}
