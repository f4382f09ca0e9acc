//! Checks of the server's version and settings, and of the role's rights.

use database::quoting::identifier;

use super::catalog::ServerInfo;
use super::check::Check;
use crate::error::SetupIssue;

/// The first version whose `pgoutput` passes on logical messages.
pub(super) const MIN_VERSION: i32 = 140_000;

impl Check {
    pub(super) fn server(&mut self, server: &ServerInfo) {
        if server.version < MIN_VERSION {
            self.unsupported_version(server.version);
        }
        self.open_transactions(server.version);
        if server.wal_level != "logical" {
            let description = format!(
                "`wal_level` is `{}`: the log does not contain row changes.",
                server.wal_level
            );
            let remedy = ["alter system set wal_level = 'logical';", "-- then restart PostgreSQL"];
            self.issue(description, remedy.map(str::to_owned));
        }
        if !server.may_replicate {
            let description = format!("The role `{}` may not follow the log.", server.role);
            self.issue(
                description,
                [format!("alter role {} replication;", identifier(&server.role))],
            );
        }
        if server.max_wal_senders == 0 {
            let description = "`max_wal_senders` is 0: the log can't be followed.";
            let remedy = ["alter system set max_wal_senders = 10;", "-- then restart PostgreSQL"];
            self.issue(description, remedy.map(str::to_owned));
        }
        if server.max_slot_wal_keep_size < 0 {
            let description = "`max_slot_wal_keep_size` is unlimited: while no node follows the log, the log that \
                        the slot keeps can fill the database's disk.";
            let remedy = [
                "alter system set max_slot_wal_keep_size = '10GB'; -- as much as the disk allows",
                "select pg_reload_conf();",
            ];
            self.warnings.push(SetupIssue::new(description, remedy.map(str::to_owned)));
        }
    }

    /// Warns of a server that leaves out changes of transactions that were open while a publication was altered.
    fn open_transactions(&mut self, version: i32) {
        let Some(fixed) = version_with_open_transactions(version) else { return };
        let (major, minor) = (version / 10_000, version % 10_000);
        let description = format!(
            "PostgreSQL {major}.{minor} may leave out changes of transactions that are open while the publication \
             or a table is altered."
        );
        let remedy = format!("-- upgrade to {major}.{fixed} or later");
        self.warnings.push(SetupIssue::new(description, [remedy]));
    }

    pub(super) fn unsupported_version(&mut self, version: i32) {
        let description = format!("PostgreSQL {} is not supported.", version / 10_000);
        self.issue(description, ["-- PostgreSQL 14 or later is needed".to_owned()]);
    }

    pub(super) fn free_slot(&mut self, server: &ServerInfo) {
        if server.slots_left > 0 {
            return;
        }
        let description = "All of `max_replication_slots` are in use, and one more is needed.";
        let remedy = [
            "select slot_name, active from pg_replication_slots; -- is one of them unused?",
            "alter system set max_replication_slots = 20; -- or more than now",
            "-- then restart PostgreSQL",
        ];
        self.issue(description, remedy.map(str::to_owned));
    }
}

/// Returns the minor version that distributes the invalidations of catalogue changes to open transactions, if
/// `version` is older.
fn version_with_open_transactions(version: i32) -> Option<i32> {
    let fixed = match version / 10_000 {
        14 => 18,
        15 => 13,
        16 => 9,
        17 => 5,
        _ => return None,
    };
    (version % 10_000 < fixed).then_some(fixed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_minor_versions_are_known() {
        for (version, fixed) in
            [(150_012, Some(13)), (150_013, None), (170_000, Some(5)), (180_000, None)]
        {
            assert_eq!(version_with_open_transactions(version), fixed, "{version}");
        }
    }
}
