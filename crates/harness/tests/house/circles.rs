//! Modules of a crate depend on each other one way.
//!
//! The arrows between the files of a crate are read from their text: `use` declarations, and paths
//! that begin with `crate`, `self`, `super`, a child module or an imported name. An arrow leads to
//! the file that defines the item, also when the path names a module that re-exports it. A parent
//! that declares (`mod x;`) or re-exports (`pub use x::…`) does not use its child, unless it also
//! mentions the name elsewhere. Tests are left out.
//!
//! Not seen: methods of a type whose name a file does not mention, and paths in strings and macros.

mod modules;
mod tokens;
mod uses;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use self::modules::{Arrow, Modules, Sources};
use crate::{assert_none, texts};

/// Crates with circles that are tolerated, with the files that these may hold and the reason.
const TOLERATED: &[(&str, &[&str], &str)] = &[];

#[test]
fn modules_depend_one_way() {
    let mut offenders = Vec::new();
    for root in roots() {
        let arrows = Modules::read(&root, texts()).arrows();
        for circle in circles(&arrows) {
            if !is_tolerated(&circle) {
                offenders.push(described(&circle, &arrows));
            }
        }
    }
    assert_none(&offenders, "circles between the files of a crate");
}

/// The root files of all crates: libraries and programs.
fn roots() -> Vec<String> {
    let is_root = |file: &&String| {
        let path = file.strip_prefix("crates/").or(file.strip_prefix("examples/"));
        let inside = path.and_then(|path| path.split_once('/')).map(|(_, inside)| inside);
        inside.is_some_and(|inside| {
            ["src/lib.rs", "src/main.rs"].contains(&inside)
                || inside.strip_prefix("src/bin/").is_some_and(|name| !name.contains('/'))
        })
    };
    texts().keys().filter(is_root).cloned().collect()
}

fn is_tolerated(circle: &BTreeSet<&str>) -> bool {
    TOLERATED.iter().any(|(krate, allowed, _)| {
        circle.iter().all(|file| {
            let inside = file.strip_prefix(&format!("crates/{krate}/src/"));
            inside.is_some_and(|inside| allowed.contains(&inside))
        })
    })
}

/// The sets of files that reach each other, largest first.
fn circles(arrows: &BTreeSet<Arrow>) -> Vec<BTreeSet<&str>> {
    let mut targets: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for arrow in arrows {
        targets.entry(&arrow.from).or_default().insert(&arrow.to);
    }
    let reach: BTreeMap<&str, BTreeSet<&str>> =
        targets.keys().map(|file| (*file, reached(file, &targets))).collect();
    let mut found = BTreeSet::new();
    for (file, targets) in &reach {
        let mutual = |other: &&str| reach.get(other).is_some_and(|back| back.contains(file));
        let circle: BTreeSet<&str> = targets.iter().copied().filter(mutual).collect();
        if !circle.is_empty() {
            found.insert(circle);
        }
    }
    let mut found: Vec<BTreeSet<&str>> = found.into_iter().collect();
    found.sort_by_key(|circle| std::cmp::Reverse(circle.len()));
    found
}

fn reached<'a>(
    start: &'a str,
    targets: &BTreeMap<&'a str, BTreeSet<&'a str>>,
) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut left = vec![start];
    while let Some(file) = left.pop() {
        let next = targets.get(file).into_iter().flatten();
        left.extend(next.filter(|file| reached.insert(**file)));
    }
    reached
}

/// The number of files, and the shortest way around with the lines to look at.
fn described(circle: &BTreeSet<&str>, arrows: &BTreeSet<Arrow>) -> String {
    let inside: Vec<&Arrow> = arrows
        .iter()
        .filter(|arrow| circle.contains(arrow.from.as_str()) && circle.contains(arrow.to.as_str()))
        .collect();
    let way = circle.iter().filter_map(|file| way_around(file, &inside)).min_by_key(Vec::len);
    let mut text =
        format!("{} files: {}", circle.len(), Vec::from_iter(circle.iter().copied()).join(", "));
    for arrow in way.unwrap_or_default() {
        let Arrow { from, to, line, path } = arrow;
        text.push_str(&format!("\n      {from}:{line}: {path} → {to}"));
    }
    text
}

fn way_around<'a>(start: &str, arrows: &[&'a Arrow]) -> Option<Vec<&'a Arrow>> {
    let mut left = VecDeque::from([(start, Vec::new())]);
    let mut seen = BTreeSet::new();
    while let Some((file, way)) = left.pop_front() {
        for arrow in arrows.iter().filter(|arrow| arrow.from == file) {
            let way: Vec<&Arrow> = way.iter().copied().chain([*arrow]).collect();
            if arrow.to == start {
                return Some(way);
            }
            if seen.insert(&arrow.to) {
                left.push_back((&arrow.to, way));
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The arrows of a crate, as `from > to` without `.rs`.
    fn arrows(sources: &[(&str, &str)]) -> Vec<String> {
        let short = |file: &str| file.trim_start_matches("src/").trim_end_matches(".rs").to_owned();
        found(sources)
            .iter()
            .map(|one| format!("{} > {}", short(&one.from), short(&one.to)))
            .collect()
    }

    fn found(sources: &[(&str, &str)]) -> BTreeSet<Arrow> {
        let sources: Sources = sources
            .iter()
            .map(|(file, text)| (format!("src/{file}.rs"), (*text).to_owned()))
            .collect();
        Modules::read("src/lib.rs", &sources).arrows()
    }

    #[test]
    fn use_is_an_arrow() {
        let sources = [
            ("lib", "mod a; mod b; pub use a::A;"),
            ("a", "use crate::b::B; pub struct A(B);"),
            ("b", "pub struct B;"),
        ];
        assert_eq!(arrows(&sources), ["a > b"]);
    }

    #[test]
    fn path_in_code_is_an_arrow() {
        let sources = [
            ("lib", "mod a; mod b;"),
            ("a", "fn x() { super::b::y(); std::mem::drop(b::z) }"),
            ("b", "pub fn y() {}"),
        ];
        assert_eq!(arrows(&sources), ["a > b"]);
        assert_eq!(arrows(&[("lib", "mod a; fn x() { a::y() }"), ("a", "")]), ["lib > a"]);
        assert_eq!(arrows(&[("lib", "mod a; fn x() { self.a::y() }"), ("a", "")]), [""; 0]);
    }

    #[test]
    fn reexport_alone_is_no_arrow() {
        let child = ("a", "use super::C; pub struct A; pub enum B {}");
        let declares = "mod a; pub use a::{A, B}; pub struct C;";
        assert_eq!(arrows(&[("lib", declares), child]), ["a > lib"]);
        let mentions = "mod a; pub(crate) use a::{A, B}; pub struct C(A);";
        assert_eq!(arrows(&[("lib", mentions), child]), ["a > lib", "lib > a"]);
        let all = "mod a; pub use a::*; pub struct C(B);";
        assert_eq!(arrows(&[("lib", all), child]), ["a > lib", "lib > a"]);
        let variable = "mod a; pub use a::b; pub struct C { b: u8 } fn d(b: u8) { b + self.b() }";
        let with_function = ("a", "use super::C; pub fn b() {}");
        assert_eq!(arrows(&[("lib", variable), with_function]), ["a > lib"]);
        let call = "mod a; pub use a::b; pub struct C; fn d() { b() }";
        assert_eq!(arrows(&[("lib", call), with_function]), ["a > lib", "lib > a"]);
        let private = "mod a; use a::A; pub struct C;";
        assert_eq!(arrows(&[("lib", private), child]), ["a > lib", "lib > a"]);
    }

    #[test]
    fn reexports_followed_to_the_item() {
        let sources = [
            ("lib", "mod a; mod b; mod c; pub use b::B as D; pub use c::*;"),
            ("a", "use crate::{D, E};"),
            ("b", "pub struct B;"),
            ("c", "pub use self::d::E; mod d;"),
            ("c/d", "pub struct E; use super::super::a;"),
        ];
        assert_eq!(arrows(&sources), ["a > b", "a > c/d", "c/d > a"]);
    }

    #[test]
    fn inline_modules_belong_to_their_file() {
        let sources = [
            ("lib", "mod a; mod b;"),
            ("a", "mod inner { use super::x; use super::super::b::y; mod deep; } fn x() {}"),
            ("a/inner/deep", "use super::super::x;"),
            ("b", "pub fn y() {}"),
        ];
        assert_eq!(arrows(&sources), ["a > b", "a/inner/deep > a"]);
    }

    #[test]
    fn names_of_other_crates_ignored() {
        let sources = [
            ("lib", "mod a; mod serde; use tracing::{self, info}; use rand::rand; use other::*;"),
            ("a", "use serde::Serialize; use std::a; fn x() { tracing::info::y() }"),
            ("serde", ""),
        ];
        assert_eq!(arrows(&sources), [""; 0]);
    }

    #[test]
    fn tests_left_out() {
        let sources = [
            ("lib", "mod a; mod b;"),
            ("a", "#[cfg(test)] mod tests; #[cfg(test)] use crate::b; fn x() {}"),
            ("a/tests", "use crate::b;"),
            ("b", "use crate::a::x;"),
        ];
        assert_eq!(arrows(&sources), ["b > a"]);
    }

    #[test]
    fn visibility_path_is_no_arrow() {
        let sources = [("lib", "mod a;"), ("a", "mod b;"), ("a/b", "pub(in crate::a) fn x() {}")];
        assert_eq!(arrows(&sources), [""; 0]);
    }

    #[test]
    fn captured_lifetimes_are_no_use_declaration() {
        let sources = [
            ("lib", "mod a; mod b;"),
            ("a", "fn x() -> impl Sized + use<> { let y = 1; crate::b::y(y) }"),
            ("b", ""),
        ];
        assert_eq!(arrows(&sources), ["a > b"]);
    }

    #[test]
    fn circles_found_with_a_way_around() {
        let sources = [
            ("lib", "mod a; mod b; mod c; mod d;"),
            ("a", "use crate::b;"),
            ("b", "\nuse crate::{c::X, d};"),
            ("c", "use super::a; pub struct X;"),
            ("d", ""),
        ];
        let arrows = found(&sources);
        let circles = circles(&arrows);
        assert_eq!(circles, [BTreeSet::from(["src/a.rs", "src/b.rs", "src/c.rs"])]);
        assert_eq!(
            described(&circles[0], &arrows),
            "3 files: src/a.rs, src/b.rs, src/c.rs\n      src/a.rs:1: crate::b → src/b.rs\n      \
             src/b.rs:2: crate::c::X → src/c.rs\n      src/c.rs:1: super::a → src/a.rs"
        );
    }
}
