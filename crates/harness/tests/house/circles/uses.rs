//! `use` declarations, flattened.

use super::tokens::Token;

/// One name that a `use` brings into a module.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Import {
    /// As written: `["super", "gate", "Gate"]`.
    pub(super) path: Vec<String>,
    /// The name in this module; `*` for all names, `_` for none.
    pub(super) name: String,
    /// Whether the declaration has a visibility.
    pub(super) exported: bool,
    pub(super) line: usize,
}

/// The imports of the tree whose first token follows `use`, and the index behind its `;`.
pub(super) fn imports(tokens: &[Token], start: usize, exported: bool) -> (Vec<Import>, usize) {
    let mut tree = Tree { tokens, at: start, exported, found: Vec::new() };
    tree.branch(&[]);
    while tree.text().is_some_and(|text| text != ";") {
        tree.at += 1;
    }
    (tree.found, tree.at + 1)
}

struct Tree<'a> {
    tokens: &'a [Token],
    at: usize,
    exported: bool,
    found: Vec<Import>,
}

impl Tree<'_> {
    fn text(&self) -> Option<&str> {
        self.tokens.get(self.at).map(|token| token.text.as_str())
    }

    /// Parses one branch: names and `::`, then `{…}`, `*`, `as name` or nothing.
    fn branch(&mut self, prefix: &[String]) {
        let mut path = prefix.to_vec();
        while let Some(text) = self.text() {
            match text {
                "::" => self.at += 1,
                "{" => return self.group(&path),
                "*" => {
                    self.at += 1;
                    return self.push(path, "*");
                }
                "as" => {
                    self.at += 1;
                    let name = self.text().unwrap_or("_").to_owned();
                    self.at += 1;
                    return self.push(path, &name);
                }
                "," | "}" | ";" => break,
                name => {
                    path.push(name.to_owned());
                    self.at += 1;
                }
            }
        }
        if let Some(name) = path.iter().rfind(|part| *part != "self").cloned() {
            self.push(path, &name);
        }
    }

    fn group(&mut self, prefix: &[String]) {
        self.at += 1;
        while let Some(text) = self.text() {
            match text {
                "}" => {
                    self.at += 1;
                    return;
                }
                "," => self.at += 1,
                // Not a tree of names.
                ";" => return,
                _ => self.branch(prefix),
            }
        }
    }

    fn push(&mut self, mut path: Vec<String>, name: &str) {
        // `a::{self}` is `a`.
        if path.len() > 1 && path.last().is_some_and(|last| last == "self") {
            path.pop();
        }
        let line = self.tokens.get(self.at.saturating_sub(1)).map_or(0, |token| token.line);
        self.found.push(Import { path, name: name.to_owned(), exported: self.exported, line });
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tokens::tokens, *};

    fn parsed(source: &str) -> Vec<String> {
        let tokens = tokens(source);
        let (found, end) = imports(&tokens, 1, false);
        assert_eq!(end, tokens.len(), "{source}: read to its end");
        found.iter().map(|one| format!("{} = {}", one.name, one.path.join("::"))).collect()
    }

    #[test]
    fn plain_path_parsed() {
        assert_eq!(parsed("use a;"), ["a = a"]);
        assert_eq!(parsed("use super::super::a::B;"), ["B = super::super::a::B"]);
        assert_eq!(parsed("use ::a::b;"), ["b = a::b"]);
    }

    #[test]
    fn renames_and_globs_parsed() {
        assert_eq!(parsed("use a::B as C;"), ["C = a::B"]);
        assert_eq!(parsed("use a::B as _;"), ["_ = a::B"]);
        assert_eq!(parsed("use super::*;"), ["* = super"]);
    }

    #[test]
    fn nested_groups_parsed() {
        assert_eq!(
            parsed("use crate::{a::{self, B, c::*}, d as e, F,};"),
            ["a = crate::a", "B = crate::a::B", "* = crate::a::c", "e = crate::d", "F = crate::F"]
        );
        assert_eq!(parsed("use a::{self as b, {c, d::e}};"), ["b = a", "c = a::c", "e = a::d::e"]);
        assert_eq!(parsed("use {a, b::c};"), ["a = a", "c = b::c"]);
        assert!(parsed("use a::{};").is_empty());
    }

    #[test]
    fn line_is_of_the_name() {
        let (found, _) = imports(&tokens("use a::{\n b,\n c as\n d,\n};"), 1, true);
        let lines: Vec<usize> = found.iter().map(|one| one.line).collect();
        assert_eq!(lines, [2, 4]);
        assert!(found.iter().all(|one| one.exported));
    }
}
