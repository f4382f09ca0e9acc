//! Checks of documents: links, the list of decisions, the stated toolchain.

use std::collections::BTreeSet;

use crate::{
    assert_none,
    metadata::{members, text, toolchain},
    read, root, texts,
};

#[test]
fn links_resolve() {
    let mut offenders = Vec::new();
    for (file, text) in texts().iter().filter(|(file, _)| file.ends_with(".md")) {
        let folder = file.rsplit_once('/').map_or("", |(folder, _)| folder);
        for link in links(text) {
            let (path, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = match path {
                "" => file.clone(),
                path => resolve(folder, path),
            };
            if !root().join(&target).exists() {
                offenders.push(format!("{file}: {link}: no such file"));
            } else if !anchor.is_empty() && target.ends_with(".md") && !has_heading(&target, anchor)
            {
                offenders.push(format!("{file}: {link}: no such heading"));
            }
        }
    }
    assert_none(&offenders, "broken links");
}

#[test]
fn links_parsed() {
    let page = "a [b](c.md) ![d](e/f.svg \"g\") <img src=\"h.png\"> [i](https://j) `[k](l)`\n\
                ```\n[m](n)\n```\n[o]: p.md\n[q](#r-s)";
    assert_eq!(links(page), ["c.md", "e/f.svg", "h.png", "p.md", "#r-s"]);
    assert_eq!(slug("`A` table: **what**, isn't it?"), "a-table-what-isnt-it");
    assert_eq!(resolve("docs/adr", "../../README.md"), "README.md");
}

#[test]
fn decisions_listed_and_complete() {
    let index = read("docs/adr/README.md");
    let mut offenders = Vec::new();
    let mut numbers = Vec::new();
    for (file, text) in texts() {
        let Some(name) = file.strip_prefix("docs/adr/").filter(|name| *name != "README.md") else {
            continue;
        };
        if !index.contains(&format!("({name})")) {
            offenders.push(format!("{file}: not listed in docs/adr/README.md"));
        }
        match name.split('-').next().and_then(|number| number.parse::<usize>().ok()) {
            Some(number) => numbers.push(number),
            None => offenders.push(format!("{file}: no number")),
        }
        let sections = ["Context", "Decision", "Cost", "Evidence"];
        let missing =
            sections.iter().filter(|section| !text.contains(&format!("\n## {section}\n")));
        offenders.extend(missing.map(|section| format!("{file}: no section \"{section}\"")));
    }
    assert_none(&offenders, "decisions");
    assert_eq!(
        numbers,
        (1..=numbers.len()).collect::<Vec<_>>(),
        "numbers are consecutive and unique"
    );
}

#[test]
fn rust_version_stated_and_in_use() {
    let stated: BTreeSet<&str> =
        members().into_iter().map(|member| text(member, "rust_version")).collect();
    assert_eq!(stated.len(), 1, "one rust-version for all crates: {stated:?}");
    let stated = stated.first().expect("has one");
    assert!(read("README.md").contains(&format!("Rust {stated}")), "README names Rust {stated}");
    let used = toolchain();
    assert!(
        minor(&used) >= minor(stated),
        "rust-version is {stated}, the toolchain in use is {used}"
    );
    if minor(&used) > minor(stated) {
        println!(
            "Rust {used} is newer than rust-version {stated}; this run does not test the latter"
        );
    }
}

fn minor(version: &str) -> Vec<u32> {
    version.split('.').take(2).map(|part| part.parse().expect("a number")).collect()
}

/// Returns the targets of links and images inside this repository.
pub(crate) fn links(page: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in prose(page) {
        // Inline code holds no links.
        let line: String = line.split('`').step_by(2).collect::<Vec<_>>().join("`");
        for start in ["](", "src=\"", "href=\"", "srcset=\""] {
            for rest in line.split(start).skip(1) {
                let end = rest.find([')', '"', ' ']).unwrap_or(rest.len());
                found.push(rest[..end].to_owned());
            }
        }
        if let Some((name, target)) = line.split_once("]: ")
            && name.starts_with('[')
        {
            found.push(target.trim().to_owned());
        }
    }
    let external = |link: &String| link.contains("://") || link.starts_with("mailto:");
    found.retain(|link| !link.is_empty() && !external(link));
    found
}

/// Returns the lines outside of fenced code.
fn prose(page: &str) -> impl Iterator<Item = &str> {
    let mut fenced = false;
    page.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fence && !fenced
    })
}

pub(crate) fn resolve(folder: &str, path: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

fn has_heading(file: &str, anchor: &str) -> bool {
    let page = read(file);
    prose(page)
        .filter(|line| line.starts_with('#'))
        .any(|line| slug(line.trim_start_matches('#').trim()) == anchor)
}

/// Returns the anchor that common viewers give a heading.
fn slug(heading: &str) -> String {
    heading
        .to_lowercase()
        .chars()
        .filter_map(|c| match c {
            ' ' | '-' => Some('-'),
            c if c.is_alphanumeric() || c == '_' => Some(c),
            _ => None,
        })
        .collect()
}
