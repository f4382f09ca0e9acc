//! A replica's report on itself.

use coherence::Lsn;
use database::mariadb::ResultSet;

use super::value::text;
use crate::origin::error::{OriginError, OriginErrorKind};

/// Reports the position up to which the replica has applied its primary's log, by the primary's own names of it.
pub(super) const STATUS: &str = "show all slaves status";

/// Reports whether applications can't write to the replica, how it applies changes, and the last transaction that it
/// applied.
pub(super) const SETTINGS: &str = "select @@global.read_only, @@global.slave_parallel_threads, \
    @@global.slave_skip_errors, @@global.slave_exec_mode, @@global.gtid_slave_pos";

/// Counts the statements by which an administrator lets the replica follow another log.
pub(super) const REDIRECTIONS: &str = "select group_concat(variable_value order by variable_name separator ' ') \
    from information_schema.global_status \
    where variable_name in ('COM_CHANGE_MASTER', 'COM_RESET') or variable_name like 'COM\\_START\\_%SLAVE%'";

/// Filters of a replica: changes of the primary that it leaves out.
const FILTERS: [&str; 10] = [
    "Replicate_Do_DB",
    "Replicate_Ignore_DB",
    "Replicate_Do_Table",
    "Replicate_Ignore_Table",
    "Replicate_Wild_Do_Table",
    "Replicate_Wild_Ignore_Table",
    "Replicate_Ignore_Server_Ids",
    "Replicate_Do_Domain_Ids",
    "Replicate_Ignore_Domain_Ids",
    "Replicate_Rewrite_DB",
];

/// The server that a replica follows.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Upstream {
    host: String,
    port: String,
    server_id: String,
}

/// The state of a replica that applies its primary's log.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct ReplicaStatus {
    pub(super) upstream: Upstream,
    /// The file of the primary's log, and the offset in it.
    pub(super) file: String,
    pub(super) offset: u64,
    /// The same.
    pub(super) applied: Lsn,
}

impl ReplicaStatus {
    /// Parses the result of [`STATUS`].
    ///
    /// # Errors
    /// The server is no replica, does not receive or apply changes ([`Refused`](OriginErrorKind::Refused)), or leaves
    /// some out.
    pub(super) fn parse(result: &ResultSet) -> Result<Self, OriginError> {
        let names: Vec<String> =
            result.columns.iter().map(|column| column.name_str().into_owned()).collect();
        let rows = result.rows.iter().map(|row| {
            let cells = row.iter().map(|cell| text(cell).unwrap_or_default());
            names.iter().cloned().zip(cells).collect()
        });
        Self::of_rows(&rows.collect::<Vec<_>>())
    }

    fn of_rows(rows: &[Vec<(String, String)>]) -> Result<Self, OriginError> {
        let row = match rows {
            [row] => row,
            [] => return refused("it is no replica: it was promoted, or never was one"),
            _ => {
                return Err(OriginError::broken(
                    "it replicates from several servers, whose positions are no order of their changes",
                ));
            }
        };
        let field = |name: &str| {
            let found = row.iter().find(|(other, _)| other.eq_ignore_ascii_case(name));
            found.map_or("", |(_, value)| value.as_str())
        };
        if let Some(filter) = FILTERS.iter().find(|name| !field(name).is_empty()) {
            return Err(OriginError::broken(format!(
                "it leaves out changes of the primary ({filter} = {}); remove the filter",
                field(filter)
            )));
        }
        for (thread, error) in
            [("Slave_IO_Running", "Last_IO_Error"), ("Slave_SQL_Running", "Last_SQL_Error")]
        {
            if field(thread) != "Yes" {
                let (state, error) = (field(thread), field(error));
                return refused(&format!(
                    "it does not follow the primary: {thread} = {state} {error}"
                ));
            }
        }
        let [file, offset] = ["Relay_Master_Log_File", "Exec_Master_Log_Pos"].map(field);
        let parsed = offset.parse().ok().and_then(|at| Some((at, Lsn::in_binlog(file, at)?)));
        let Some((offset, applied)) = parsed else {
            return refused(&format!("it has applied nothing yet: {file:?} {offset:?}"));
        };
        let [host, port, server_id] =
            ["Master_Host", "Master_Port", "Master_Server_Id"].map(|name| field(name).to_owned());
        let upstream = Upstream { host, port, server_id };
        Ok(Self { upstream, file: file.to_owned(), offset, applied })
    }
}

/// Checks the result of [`SETTINGS`] and returns the last transactions that the replica applied.
///
/// # Errors
/// Applications can write to it ([`Refused`](OriginErrorKind::Refused)), or its position does not prove that it shows
/// all changes before.
pub(super) fn check_settings(result: &ResultSet) -> Result<String, OriginError> {
    let cells = result.rows.first().map(|row| row.iter().map(|c| text(c).unwrap_or_default()));
    let cells: Vec<String> = cells.into_iter().flatten().collect();
    let [read_only, threads, skipped, mode, applied] = <[String; 5]>::try_from(cells)
        .map_err(|_| OriginError::broken("it did not report its settings"))?;
    check([&read_only, &threads, &skipped, &mode])?;
    Ok(applied)
}

fn check([read_only, threads, skipped, mode]: [&str; 4]) -> Result<(), OriginError> {
    if matches!(read_only, "0" | "OFF") {
        return refused(
            "it takes writes of its own (`read_only` is off): it was promoted, or may differ",
        );
    }
    let broken = |why: String| Err(OriginError::broken(why));
    if threads != "0" {
        return broken(format!(
            "it applies transactions in parallel, possibly not in their order: \
             stop slave; set global slave_parallel_threads = 0; start slave; -- is {threads}"
        ));
    }
    if !skipped.eq_ignore_ascii_case("OFF") {
        return broken(format!("it leaves out changes that fail (slave_skip_errors = {skipped})"));
    }
    if !mode.eq_ignore_ascii_case("STRICT") {
        return broken(format!("it leaves out changes that fail (slave_exec_mode = {mode})"));
    }
    Ok(())
}

/// Whether a replica that has applied `applied` is exactly where the primary's log has `logged`. Both are lists of the
/// last transaction of each domain, such as `0-1-42,7-2-9`.
pub(super) fn is_same_transaction(applied: &str, logged: &str) -> bool {
    let list = |text: &str| -> Vec<String> {
        text.split(',').map(|id| id.trim().to_owned()).filter(|id| !id.is_empty()).collect()
    };
    let (applied, logged) = (list(applied), list(logged));
    !logged.is_empty() && logged.iter().all(|id| applied.contains(id))
}

pub(super) fn refused<T>(why: &str) -> Result<T, OriginError> {
    Err(OriginError { kind: OriginErrorKind::Refused, message: why.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: [(&str, &str); 8] = [
        ("Master_Host", "db"),
        ("Master_Port", "3306"),
        ("Master_Server_Id", "1"),
        ("Relay_Master_Log_File", "binlog.000042"),
        ("Exec_Master_Log_Pos", "400"),
        ("Slave_IO_Running", "Yes"),
        ("Slave_SQL_Running", "Yes"),
        ("Replicate_Do_DB", ""),
    ];

    fn of(changed: &[(&str, &str)]) -> Result<ReplicaStatus, OriginError> {
        let value = |name: &str, value: &str| {
            let changed = changed.iter().find(|(other, _)| *other == name);
            (name.to_owned(), changed.map_or(value, |(_, value)| value).to_owned())
        };
        ReplicaStatus::of_rows(&[ROW.iter().map(|(name, text)| value(name, text)).collect()])
    }

    #[test]
    fn position_is_that_of_primary() {
        let status = of(&[]).expect("a replica");
        assert_eq!(status.applied, Lsn(42 << 32 | 400));
        assert_ne!(status.upstream, of(&[("Master_Server_Id", "2")]).expect("one").upstream);
    }

    #[test]
    fn replica_that_may_lack_changes_refused() {
        for (name, value, says) in [
            ("Slave_IO_Running", "Connecting", "Slave_IO_Running"),
            ("Slave_SQL_Running", "No", "Slave_SQL_Running"),
            ("Replicate_Do_DB", "shop", "Replicate_Do_DB = shop"),
            ("Relay_Master_Log_File", "", "nothing yet"),
            ("Exec_Master_Log_Pos", "x", "nothing yet"),
        ] {
            let err = of(&[(name, value)]).expect_err(name);
            assert!(err.message.contains(says), "{err}");
        }
        assert!(ReplicaStatus::of_rows(&[]).is_err());
        let row: Vec<_> = ROW.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        assert!(ReplicaStatus::of_rows(&[row.clone(), row]).is_err());
        assert!(check(["1", "0", "OFF", "STRICT"]).is_ok());
        for settings in [
            ["0", "0", "OFF", "STRICT"],
            ["1", "4", "OFF", "STRICT"],
            ["1", "0", "1062", "STRICT"],
            ["1", "0", "OFF", "IDEMPOTENT"],
        ] {
            assert!(check(settings).is_err(), "{settings:?}");
        }
    }

    #[test]
    fn other_transaction_at_same_position_found() {
        for (applied, logged, same) in [
            ("0-1-42", "0-1-42", true),
            ("3-9-1,0-1-42", "0-1-42", true),
            ("0-1-42, 7-2-9", "7-2-9,0-1-42", true),
            ("0-1-42", "0-1-41", false),
            ("0-1-42", "0-2-42", false),
            ("0-1-42", "0-1-42,7-2-9", false),
            ("0-1-42", "", false),
            ("", "0-1-1", false),
        ] {
            assert_eq!(is_same_transaction(applied, logged), same, "{applied} {logged}");
        }
    }
}
