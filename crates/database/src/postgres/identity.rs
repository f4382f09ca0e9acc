//! The identity of the database behind a connection.

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

/// The primary that the newest of several connections leads to. Clones share it.
pub type CurrentServer = crate::current_server::CurrentServer<DatabaseIdentity>;

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
}
