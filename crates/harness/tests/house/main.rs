//! The house rules that a machine can check: dependencies between crates and modules, licences,
//! files, documents, words. `CONTRIBUTING.md` lists them.

mod arrows;
mod asvs;
mod book;
mod circles;
mod documents;
mod files;
mod licences;
mod metadata;
mod promises;
mod words;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::OnceLock,
};

/// Returns the root of the repository.
fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.canonicalize().expect("the harness is two folders below the root")
}

/// Returns the text of a file of the repository.
fn read(path: &str) -> &'static str {
    texts().get(path).unwrap_or_else(|| panic!("{path}: no such text file"))
}

/// Returns the text files of the repository by their path from the root, without build output.
fn texts() -> &'static BTreeMap<String, String> {
    static TEXTS: OnceLock<BTreeMap<String, String>> = OnceLock::new();
    TEXTS.get_or_init(|| {
        let mut texts = BTreeMap::new();
        read_folder(&root(), "", &mut texts);
        texts
    })
}

fn read_folder(folder: &Path, prefix: &str, texts: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).expect("the repository can be read").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let kind = entry.file_type().expect("the repository can be read");
        if name == "target" || name == ".git" {
            continue;
        }
        let path = format!("{prefix}{name}");
        if kind.is_dir() {
            read_folder(&entry.path(), &format!("{path}/"), texts);
        } else if kind.is_file() {
            let bytes = fs::read(entry.path()).expect("the repository can be read");
            if let Ok(text) = String::from_utf8(bytes) {
                texts.insert(path, text);
            }
        }
    }
}

/// Fails with all offenders, one per line.
#[track_caller]
fn assert_none(offenders: &[String], rule: &str) {
    assert!(offenders.is_empty(), "{rule}:\n  {}\n", offenders.join("\n  "));
}
