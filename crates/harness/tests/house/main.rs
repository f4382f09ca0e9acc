//! The house rules that a machine can check: which crate may use which, licences, files, documents.
//! `CONTRIBUTING.md` tells them to people.

mod arrows;
mod documents;
mod files;
mod licences;
mod metadata;
mod promises;

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The root of the repository.
fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.canonicalize().expect("the harness is two folders below the root")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|err| panic!("{path}: {err}"))
}

/// The files of the repository by their path from the root, without what is built or fetched.
fn files() -> Vec<String> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).expect("the repository can be read").flatten() {
            let name = entry.file_name();
            let kind = entry.file_type().expect("the repository can be read");
            if kind.is_dir() && name != "target" && name != ".git" {
                walk(&entry.path(), found);
            } else if kind.is_file() {
                found.push(entry.path());
            }
        }
    }
    let root = root();
    let mut found = Vec::new();
    walk(&root, &mut found);
    let from_root = |path: &PathBuf| {
        path.strip_prefix(&root).expect("found below the root").to_string_lossy().into_owned()
    };
    let mut files: Vec<String> = found.iter().map(from_root).collect();
    files.sort();
    files
}

/// Fails with all offenders at once, one a line.
#[track_caller]
fn assert_none(offenders: &[String], rule: &str) {
    assert!(offenders.is_empty(), "{rule}:\n  {}\n", offenders.join("\n  "));
}
