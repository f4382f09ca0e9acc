//! Checks a log from its first record to its last.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};

use super::error::AuditLogError;
use super::files::LogFiles;
use super::record::{Anchor, check_line};

/// The longest line that is read: a record of the largest purge request takes a fifth of it.
const LINE_BYTES_MAX: u64 = 4 << 20;

/// The most damages that a report lists.
const DAMAGES_MAX: usize = 100;

/// Evidence against a log.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Damage {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1; `None`: the whole log.
    pub line: Option<u64>,
    /// The finding.
    pub text: String,
}

/// The result of a check.
#[derive(Clone, Debug, Default)]
pub struct ChainReport {
    /// The number of records.
    pub records: u64,
    /// The number of the first record.
    pub first: Option<u64>,
    /// The last record.
    pub last: Option<Anchor>,
    /// Records that a crash had cut and whose remains were named.
    pub repairs: u64,
    /// The findings; none in a sound log.
    pub damages: Vec<Damage>,
    /// The checks that were not possible.
    pub notes: Vec<String>,
}

impl ChainReport {
    /// Returns whether there is no evidence against the log.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.damages.is_empty()
    }
}

/// Checks the log at `path` with its earlier parts beside it. `anchors`: records that were noted elsewhere.
///
/// # Errors
/// A file can't be read, or there is no record at all: the log could not be checked.
pub fn verify_chain(path: &Path, anchors: &[Anchor]) -> Result<ChainReport, AuditLogError> {
    let files = LogFiles::new(path);
    let failed = files.failed();
    // A node may append meanwhile: the check ends where the log ended at its start.
    let (head, len) = {
        // A copy of a log may lie where no lock can be made; nothing is appended to it.
        let _lock = files.lock().ok();
        (files.head(), std::fs::metadata(path).map(|metadata| metadata.len()))
    };
    let mut check = Check::new(anchors);
    match head {
        Ok(Some(head)) => check.expect(head, "the head file"),
        Ok(None) => check.report.notes.push(
            "there is no head file: without --anchor, records that were cut off at the end do not show"
                .to_owned(),
        ),
        Err(err) => check.damage(path, None, err.to_string()),
    }
    let mut parts = files.parts().map_err(&failed)?;
    // Rotation by other programs numbers the newest part 1.
    parts.sort_by_cached_key(|part| first_number(part).unwrap_or(0));
    for part in parts {
        let len = std::fs::metadata(&part).map_err(&failed)?.len();
        check.file(&part, len).map_err(&failed)?;
    }
    match len {
        Ok(len) => check.file(path, len).map_err(&failed)?,
        // Right after a rotation there is none.
        Err(err) if err.kind() == io::ErrorKind::NotFound && check.report.records > 0 => {}
        Err(err) => return Err(failed(err)),
    }
    let report = check.finish(path);
    if report.records == 0 && report.damages.is_empty() {
        return Err(failed(io::Error::other("it has no records")));
    }
    Ok(report)
}

/// Returns the number of a file's first record.
fn first_number(path: &Path) -> Option<u64> {
    let mut line = Vec::new();
    BufReader::new(File::open(path).ok()?.take(LINE_BYTES_MAX))
        .read_until(b'\n', &mut line)
        .ok()?;
    Some(check_line(line.strip_suffix(b"\n")?).ok()?.anchor.number)
}

struct Check {
    report: ChainReport,
    /// The anchors to be met, each with its source.
    expected: Vec<(Anchor, &'static str)>,
    last: Option<Anchor>,
}

impl Check {
    fn new(anchors: &[Anchor]) -> Self {
        let expected = anchors.iter().map(|anchor| (*anchor, "the given anchor")).collect();
        Self { report: ChainReport::default(), expected, last: None }
    }

    fn expect(&mut self, anchor: Anchor, source: &'static str) {
        self.expected.push((anchor, source));
    }

    fn damage(&mut self, file: &Path, line: Option<u64>, text: String) {
        if self.report.damages.len() < DAMAGES_MAX {
            self.report.damages.push(Damage { file: file.to_owned(), line, text });
        }
    }

    fn file(&mut self, path: &Path, len: u64) -> io::Result<()> {
        let mut reader = BufReader::new(File::open(path)?.take(len));
        for number in 1.. {
            let mut line = Vec::new();
            reader.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
            match line.pop() {
                None => break,
                Some(b'\n') => self.line(path, number, &line),
                Some(_) => {
                    let bytes = line.len() + 1;
                    let text = format!(
                        "the last record is cut after {bytes} bytes: a crash, or a change; the node's next \
                         start names it in the log"
                    );
                    self.damage(path, Some(number), text);
                    break;
                }
            }
        }
        Ok(())
    }

    fn line(&mut self, path: &Path, number: u64, line: &[u8]) {
        let record = match check_line(line) {
            Ok(record) => record,
            Err(reason) => return self.damage(path, Some(number), reason),
        };
        match self.last {
            None => self.first(record.previous),
            Some(last) if last != record.previous => {
                let text = match record.anchor.number {
                    next if next == last.number + 1 => format!(
                        "record {next} does not follow the record {} before it: one of them was replaced",
                        last.number
                    ),
                    next => format!("after record {} comes record {next}", last.number),
                };
                self.damage(path, Some(number), text);
            }
            Some(_) => {}
        }
        match record.action.as_str() {
            "log.repaired" => self.report.repairs += 1,
            "log.gap" => {
                let text = format!("records were missing when the node started: {}", record.detail);
                self.damage(path, Some(number), text);
            }
            _ => {}
        }
        self.report.records += 1;
        self.report.first.get_or_insert(record.anchor.number);
        self.meet(path, number, record.anchor);
        self.last = Some(record.anchor);
    }

    /// The first record here: the ones before it can't be checked.
    fn first(&mut self, previous: Anchor) {
        if previous != Anchor::START {
            self.report.notes.push(format!(
                "records 1 to {} are not here: check them where they are kept; the last of them has to be \
                 {previous}",
                previous.number
            ));
            self.meet_before(previous);
        }
    }

    fn meet_before(&mut self, previous: Anchor) {
        self.expected.retain(|(anchor, _)| *anchor != previous);
    }

    fn meet(&mut self, path: &Path, line: u64, found: Anchor) {
        let (same, others): (Vec<_>, Vec<_>) =
            self.expected.drain(..).partition(|(anchor, _)| anchor.number == found.number);
        self.expected = others;
        for (anchor, source) in same.into_iter().filter(|(anchor, _)| *anchor != found) {
            let text =
                format!("record {} is another one than {source} says, {anchor}", found.number);
            self.damage(path, Some(line), text);
        }
    }

    fn finish(mut self, path: &Path) -> ChainReport {
        for (anchor, source) in std::mem::take(&mut self.expected) {
            let text = match self.report.first {
                Some(first) if anchor.number < first => format!(
                    "{source}, {anchor}, lies before the first record here, so it can't be checked"
                ),
                _ => format!("records are missing at the end: {source} is {anchor}"),
            };
            self.damage(path, None, text);
        }
        self.report.last = self.last;
        self.report
    }
}
