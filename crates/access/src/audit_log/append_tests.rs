//! Appending after crashes, changes and removals, and the check of each.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::*;
use crate::audit_log::verify::{ChainReport, verify_chain};

struct Log {
    folder: tempfile::TempDir,
}

impl Log {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder") }
    }

    /// A log with `records` records.
    fn of(records: usize) -> Self {
        let log = Self::new();
        log.append(records);
        log
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("audit.log")
    }

    /// Appends as a process that has just started.
    fn append(&self, records: usize) {
        let mut appender = Appender::new(&self.path(), u64::MAX);
        for n in 0..records {
            appender.append(&[purge(n)], 1).expect("appended");
        }
    }

    fn lines(&self) -> Vec<String> {
        fs::read_to_string(self.path()).expect("text").lines().map(str::to_owned).collect()
    }

    fn write(&self, lines: &[String]) {
        fs::write(self.path(), lines.join("\n") + "\n").expect("written");
    }

    fn verify(&self) -> ChainReport {
        verify_chain(&self.path(), &[]).expect("readable")
    }

    fn damages(&self) -> Vec<String> {
        self.verify().damages.into_iter().map(|damage| damage.text).collect()
    }
}

fn purge(n: usize) -> Action {
    let detail = json!({ "subjects": [format!("t:product-{n}")] });
    Action { by: "deploy".to_owned(), from: None, name: "purge", detail }
}

#[test]
fn chain_goes_on_over_restarts() {
    let log = Log::of(3);
    log.append(2);
    let report = log.verify();
    assert!(report.is_sound(), "{report:?}");
    assert_eq!((report.records, report.first), (5, Some(1)));
    assert_eq!(report.last.map(|last| last.number), Some(5));
}

#[test]
fn two_processes_append_to_one_chain() {
    let log = Log::new();
    let start = std::sync::Barrier::new(4);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                start.wait();
                log.append(10);
            });
        }
    });
    let report = log.verify();
    assert!(report.is_sound(), "{report:?}");
    assert_eq!(report.records, 40);
}

#[test]
fn cut_record_is_named_and_repaired() {
    let log = Log::of(2);
    let mut file = OpenOptions::new().append(true).open(log.path()).expect("opened");
    file.write_all(br#"{"number":3,"previous":"ab"#).expect("written");
    assert!(log.damages()[0].contains("cut after 26 bytes"), "{:?}", log.damages());
    log.append(1);
    let report = log.verify();
    assert!(report.is_sound(), "{report:?}");
    assert_eq!((report.records, report.repairs), (4, 1));
    let repair: Value = serde_json::from_str(&log.lines()[2]).expect("JSON");
    assert_eq!(repair["action"], "log.repaired");
    assert_eq!(repair["detail"]["bytes"], 26);
    assert_eq!(repair["detail"]["text"], r#"{"number":3,"previous":"ab"#);
}

#[test]
fn zeros_after_a_power_failure_are_a_cut_record() {
    let log = Log::of(2);
    let len = fs::metadata(log.path()).expect("there").len();
    OpenOptions::new()
        .write(true)
        .open(log.path())
        .expect("opened")
        .set_len(len + 300)
        .expect("longer");
    log.append(1);
    let report = log.verify();
    assert!(report.is_sound(), "{report:?}");
    assert_eq!((report.records, report.repairs), (4, 1));
}

#[test]
fn changed_removed_and_swapped_records_show() {
    let changed = Log::of(4);
    let mut lines = changed.lines();
    lines[1] = lines[1].replace("product-1", "product-9");
    changed.write(&lines);
    assert!(changed.damages()[0].contains("does not match its hash"), "{:?}", changed.damages());

    let removed = Log::of(4);
    let mut lines = removed.lines();
    lines.remove(1);
    removed.write(&lines);
    assert_eq!(removed.damages(), ["after record 1 comes record 3"]);

    let swapped = Log::of(4);
    let mut lines = swapped.lines();
    lines.swap(1, 2);
    swapped.write(&lines);
    assert!(!swapped.damages().is_empty());
}

#[test]
fn records_cut_off_at_the_end_show_for_ever() {
    let log = Log::of(5);
    log.write(&log.lines()[..3]);
    assert!(log.damages()[0].contains("missing at the end"), "{:?}", log.damages());
    log.append(1);
    let damages = log.damages();
    assert!(
        damages.iter().any(|text| text.contains("after record 3 comes record 6")),
        "{damages:?}"
    );
    assert!(
        damages.iter().any(|text| text.contains("missing when the node started")),
        "{damages:?}"
    );
    log.append(2);
    assert!(!log.verify().is_sound(), "later records do not hide it");
}

#[test]
fn anchor_shows_a_chain_made_anew() {
    let log = Log::of(3);
    let anchor = log.verify().last.expect("records");
    for file in ["audit.log", "audit.log.head"] {
        fs::remove_file(log.folder.path().join(file)).expect("removed");
    }
    let mut appender = Appender::new(&log.path(), u64::MAX);
    for n in 10..14 {
        appender.append(&[purge(n)], 1).expect("appended");
    }
    assert!(log.verify().is_sound(), "without an anchor nothing shows it");
    let report = verify_chain(&log.path(), &[anchor]).expect("readable");
    assert!(report.damages[0].text.contains("is another one than the given anchor"), "{report:?}");
}

#[test]
fn damaged_end_is_not_continued() {
    let log = Log::of(3);
    let mut lines = log.lines();
    lines[2] = lines[2].replace("deploy", "intruder");
    log.write(&lines);
    let err = Appender::new(&log.path(), u64::MAX).append(&[purge(9)], 1).expect_err("damaged");
    assert!(err.to_string().contains("keep the file as evidence"), "{err}");
    fs::rename(log.path(), log.folder.path().join("evidence.log")).expect("moved");
    log.append(1);
    let report = log.verify();
    assert_eq!(report.first, Some(4), "the chain goes on: {report:?}");
    assert!(report.notes.iter().any(|note| note.contains("records 1 to 3 are not here")));
}

#[test]
fn parts_are_one_chain() {
    let log = Log::new();
    let mut appender = Appender::new(&log.path(), 1_000);
    for n in 0..20 {
        appender.append(&[purge(n)], 1).expect("appended");
    }
    let report = log.verify();
    assert!(report.is_sound(), "{report:?}");
    assert_eq!((report.records, report.first), (20, Some(1)));
    let mut parts = LogFiles::new(&log.path()).parts().expect("listed");
    parts.sort();
    assert!(parts.len() > 2, "{parts:?}");
    fs::remove_file(&parts[1]).expect("removed");
    assert!(log.damages()[0].contains("comes record"), "{:?}", log.damages());
}

#[test]
fn log_moved_away_while_in_use_goes_on() {
    let log = Log::new();
    let mut appender = Appender::new(&log.path(), u64::MAX);
    appender.append(&[purge(1)], 1).expect("appended");
    let part = |n| log.folder.path().join(format!("audit.log.{n}"));
    fs::rename(log.path(), part(1)).expect("moved");
    appender.append(&[purge(2)], 1).expect("appended");
    fs::rename(part(1), part(2)).expect("moved");
    fs::rename(log.path(), part(1)).expect("moved");
    appender.append(&[purge(3)], 1).expect("appended");
    let report = log.verify();
    assert!(report.is_sound(), "{report:?}");
    assert_eq!(report.records, 3, "names as `logrotate` gives them are parts");
}

#[test]
fn log_removed_while_in_use_goes_on_and_shows() {
    let log = Log::new();
    let mut appender = Appender::new(&log.path(), u64::MAX);
    appender.append(&[purge(1)], 1).expect("appended");
    fs::remove_file(log.path()).expect("removed");
    appender.append(&[purge(2)], 1).expect("appended");
    let report = log.verify();
    assert_eq!((report.records, report.first), (1, Some(2)), "{report:?}");
    assert!(report.notes[0].contains("records 1 to 1 are not here"), "{report:?}");
}

#[test]
fn running_node_remembers_its_head() {
    let log = Log::new();
    let mut appender = Appender::new(&log.path(), u64::MAX);
    for n in 0..3 {
        appender.append(&[purge(n)], 1).expect("appended");
    }
    log.write(&log.lines()[..1]);
    fs::remove_file(log.folder.path().join("audit.log.head")).expect("removed");
    appender.append(&[purge(3)], 1).expect("appended");
    let damages = log.damages();
    assert!(damages.iter().any(|text| text.contains("record 1 comes record 4")), "{damages:?}");
}

/// A command that root runs leaves the file to the node's user. Only root can give files away.
#[test]
fn new_log_belongs_to_the_owner_of_its_folder() {
    let log = Log::new();
    let owner = 65_534;
    if std::os::unix::fs::chown(log.folder.path(), Some(owner), None).is_err() {
        return;
    }
    log.append(1);
    for file in ["audit.log", "audit.log.head", "audit.log.lock"] {
        let metadata = fs::metadata(log.folder.path().join(file)).expect("there");
        assert_eq!(metadata.uid(), owner, "{file}");
    }
}

#[test]
fn failed_write_leaves_no_gap() {
    let log = Log::of(1);
    let mut appender = Appender::new(&log.path(), u64::MAX);
    appender.append(&[purge(1)], 1).expect("appended");
    fs::remove_file(log.folder.path().join("audit.log.head")).expect("removed");
    fs::create_dir(log.folder.path().join("audit.log.head")).expect("a folder");
    appender.append(&[purge(2)], 1).expect_err("the head can't be written");
    fs::remove_dir(log.folder.path().join("audit.log.head")).expect("removed");
    appender.append(&[purge(3)], 1).expect("appended");
    let report = log.verify();
    assert!(report.is_sound(), "{report:?}");
}
