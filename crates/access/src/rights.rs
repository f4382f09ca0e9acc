//! Roles, and the rights of a token.

use std::collections::BTreeSet;
use std::fmt;

/// The requests of the admin listener that a token permits. Each role includes the ones before it.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Role {
    /// Read metrics, status, audits and invalidations.
    Viewer,
    /// Send purge requests for keys, tags, wildcards and contracts.
    Operator,
    /// Purge everything.
    Admin,
}

impl Role {
    /// All roles, with their names.
    pub const NAMES: [(&str, Self); 3] =
        [("viewer", Self::Viewer), ("operator", Self::Operator), ("admin", Self::Admin)];

    /// Returns its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

/// The contracts whose values a token may read on the data API.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Reads {
    /// All contracts.
    All,
    /// These contracts.
    Only(BTreeSet<String>),
}

impl Reads {
    /// The word for all contracts in a list of contracts.
    pub const ALL: &str = "*";

    /// Returns the contracts of a list of names, in which `*` stands for all of them.
    #[must_use]
    pub fn of_names(names: impl IntoIterator<Item = String>) -> Self {
        let names: BTreeSet<String> = names.into_iter().collect();
        if names.contains(Self::ALL) { Self::All } else { Self::Only(names) }
    }

    /// Returns whether it allows nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Only(names) if names.is_empty())
    }

    /// Returns whether it includes the contract of that name.
    #[must_use]
    pub fn includes(&self, contract: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(names) => names.contains(contract),
        }
    }

    /// Returns the names, or `*`.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        match self {
            Self::All => vec![Self::ALL],
            Self::Only(names) => names.iter().map(String::as_str).collect(),
        }
    }
}

/// The rights of a caller.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Rights {
    /// The role on the admin listener; `None`: no access to it, apart from health and causal tokens.
    pub role: Option<Role>,
    /// The contracts on the data API.
    pub reads: Reads,
}

impl Rights {
    /// Everything, for callers of a listener that needs no tokens.
    #[must_use]
    pub fn all() -> Self {
        Self { role: Some(Role::Admin), reads: Reads::All }
    }
}

impl fmt::Display for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let role = self.role.map(Role::as_str);
        let reads = (!self.reads.is_empty()).then(|| self.reads.names().join(", "));
        match (role, reads) {
            (Some(role), None) => f.write_str(role),
            (Some(role), Some(reads)) => write!(f, "{role}, reads {reads}"),
            (None, Some(reads)) => write!(f, "reads {reads}"),
            (None, None) => f.write_str("nothing"),
        }
    }
}
