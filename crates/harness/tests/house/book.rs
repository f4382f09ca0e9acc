//! Checks of the book: its summary has every page once, and its sources have no broken link.

use std::collections::BTreeMap;
use std::process::Command;

use crate::documents::{links, resolve};
use crate::{assert_none, read, root, texts};

/// Folders whose index lists their pages, in the repository and in the book.
const INDEXED: [&str; 2] = ["docs/adr/", "docs/runbooks/"];

#[test]
fn every_page_listed_once() {
    let mut listed: BTreeMap<String, usize> = BTreeMap::new();
    for link in links(read("docs/SUMMARY.md")) {
        *listed.entry(resolve("docs", &link)).or_default() += 1;
    }
    let mut offenders: Vec<String> = Vec::new();
    for (page, _) in texts().iter().filter(|(file, _)| is_page(file)) {
        let times = listed.remove(page).unwrap_or_default();
        if times != 1 {
            offenders.push(format!("{page}: {times} times in docs/SUMMARY.md"));
        }
    }
    // Pages outside of docs, and the indexes.
    listed.retain(|page, times| *times != 1 || !texts().contains_key(page));
    offenders.extend(listed.keys().map(|page| format!("{page}: no such page, or listed twice")));
    assert_none(&offenders, "pages of the book");
}

fn is_page(file: &str) -> bool {
    file.starts_with("docs/")
        && file.ends_with(".md")
        && file != "docs/SUMMARY.md"
        && !INDEXED.iter().any(|folder| file.starts_with(folder))
}

#[test]
fn sources_of_book_have_no_broken_links() {
    let folder = tempfile::tempdir().expect("a folder");
    let written =
        Command::new("python3").arg(root().join(".ci/book.py")).arg(folder.path()).output();
    let Ok(written) = written else {
        println!("not run: python3 is not installed");
        return;
    };
    assert!(written.status.success(), "{written:?}");
    let source = folder.path().join("src");
    let summary = std::fs::read_to_string(source.join("SUMMARY.md")).expect("a summary");
    let pages = links(&summary);
    let decisions = texts().keys().filter(|file| file.starts_with("docs/adr/0")).count();
    assert!(pages.len() > decisions + 40, "{} pages", pages.len());
    let mut offenders = Vec::new();
    for page in &pages {
        let folder = page.rsplit_once('/').map_or("", |(folder, _)| folder);
        let text = std::fs::read_to_string(source.join(page))
            .unwrap_or_else(|err| panic!("{page}: {err}"));
        for link in links(&text) {
            let path = link.split('#').next().unwrap_or_default();
            let target = resolve(folder, path);
            if !path.is_empty() && !source.join(&target).is_file() {
                offenders.push(format!("{page}: {link}"));
            }
            // A page that is linked and not listed would not be built.
            if target.ends_with(".md") && !pages.contains(&target) {
                offenders.push(format!("{page}: {link} is no page of the book"));
            }
        }
    }
    assert_none(&offenders, "links of the book");
}
