//! The sender of a request.

use std::net::IpAddr;
use std::sync::Arc;

use crate::refusal::Refusal;
use crate::rights::{Rights, Role};

/// The sender of a request, as far as it is known.
#[derive(Clone, Debug)]
pub struct Caller {
    name: Option<Arc<str>>,
    from: IpAddr,
    rights: Arc<Rights>,
}

impl Caller {
    /// A sender on a listener that needs neither tokens nor certificates.
    #[must_use]
    pub fn anonymous(from: IpAddr) -> Self {
        Self { name: None, from, rights: Arc::new(Rights::all()) }
    }

    /// The holder of the token `name`, or of the certificate that has this name in the configuration.
    #[must_use]
    pub fn holder(name: Arc<str>, from: IpAddr, rights: Arc<Rights>) -> Self {
        Self { name: Some(name), from, rights }
    }

    /// Returns the name of the token or of the certificate's entry; `anonymous` without one. Neither has that name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.name.as_deref().unwrap_or(Self::ANONYMOUS)
    }

    /// The name of senders that need neither token nor certificate.
    pub const ANONYMOUS: &str = "anonymous";

    /// Returns the address of the connection.
    #[must_use]
    pub fn from(&self) -> IpAddr {
        self.from
    }

    /// Returns whether the caller may read values of a contract.
    #[must_use]
    pub fn may_read(&self, contract: &str) -> bool {
        self.rights.reads.includes(contract)
    }

    /// Returns whether the caller has a role, or a higher one.
    #[must_use]
    pub fn has(&self, role: Role) -> bool {
        self.rights.role >= Some(role)
    }

    /// Requires a role, or a higher one, for `action`.
    ///
    /// # Errors
    /// [`Refusal::Role`].
    pub fn require(&self, role: Role, action: &str) -> Result<(), Refusal> {
        if self.has(role) {
            return Ok(());
        }
        let (caller, action) = (self.name().to_owned(), action.to_owned());
        Err(Refusal::Role { caller, needed: role, action })
    }

    /// Requires the right to read a contract.
    ///
    /// # Errors
    /// [`Refusal::Contract`].
    pub fn require_read(&self, contract: &str) -> Result<(), Refusal> {
        if self.may_read(contract) {
            return Ok(());
        }
        let (caller, contract) = (self.name().to_owned(), contract.to_owned());
        Err(Refusal::Contract { caller, contract })
    }
}
