//! The identity of the database behind a connection, and of the one that an address leads to now.
//!
//! An address may come to lead to another server: a virtual address moves, a name is changed, a standby is promoted.
//! Connections that are open stay with the old server, which may still run. So all connections that have to see one
//! database share a [`CurrentServer`]: the newest connection decides, and older ones to another server are replaced.

use std::sync::Arc;

use parking_lot::Mutex;

/// An SQL expression for the identity of the connected database; fails on a standby.
pub const IDENTITY_SQL: &str = "concat_ws(' ', (select system_identifier from pg_control_system()), \
     (select oid from pg_database where datname = current_database()), \
     ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::bigint, \
     extract(epoch from pg_postmaster_start_time()))";

/// The identity of a database on a primary. It does not change while a connection is open.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DatabaseIdentity {
    /// The system and the database in it, see [`database_id`].
    pub system: u64,
    /// The timeline that the server writes.
    pub timeline: u32,
    /// When the server was started, in its own format.
    pub started: String,
}

impl DatabaseIdentity {
    /// Parses the value of [`IDENTITY_SQL`].
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(' ');
        let (system, oid) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let (timeline, started) = (parts.next()?.parse().ok()?, parts.next()?.to_owned());
        let system = database_id(system, oid);
        parts.next().is_none().then_some(Self { system, timeline, started })
    }
}

/// Returns the identity of the database with this OID in the system with this identifier. Standbys and files that
/// were copied have the same; two databases of one server do not.
#[must_use]
pub fn database_id(system_identifier: u64, oid: u32) -> u64 {
    // An odd factor, so that no two databases of a system have the same.
    system_identifier ^ u64::from(oid).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// The server that the newest of several connections leads to. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct CurrentServer(Arc<Mutex<Option<DatabaseIdentity>>>);

impl CurrentServer {
    /// Records a connection that has just been opened.
    pub(super) fn opened(&self, identity: &DatabaseIdentity) {
        let mut current = self.0.lock();
        if current.as_ref() != Some(identity) {
            *current = Some(identity.clone());
        }
    }

    /// Returns whether a connection leads to the server that the newest one leads to.
    #[must_use]
    pub fn is_current(&self, identity: &DatabaseIdentity) -> bool {
        self.0.lock().as_ref().is_none_or(|current| current == identity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn databases_of_one_system_differ() {
        let parse = |text: &str| DatabaseIdentity::parse(text).expect(text);
        let shop = parse("7301234567890 16384 1 1732.5");
        assert_eq!((shop.timeline, &*shop.started), (1, "1732.5"));
        assert_ne!(shop.system, parse("7301234567890 16385 1 1732.5").system);
        assert_ne!(shop.system, parse("7301234567891 16384 1 1732.5").system);
        assert_eq!(shop.system, parse("7301234567890 16384 2 1800.5").system);
        for text in ["", "1 2 3", "1 2 3 4 5", "-1 2 3 4"] {
            assert_eq!(DatabaseIdentity::parse(text), None, "{text}");
        }
    }

    #[test]
    fn newest_connection_decides() {
        let server = CurrentServer::default();
        let old = DatabaseIdentity { system: 1, timeline: 1, started: "1".into() };
        let new = DatabaseIdentity { timeline: 2, ..old.clone() };
        assert!(server.is_current(&old), "nothing is known yet");
        server.opened(&old);
        server.clone().opened(&new);
        assert!(!server.is_current(&old) && server.is_current(&new));
    }
}
