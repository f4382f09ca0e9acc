//! The modules of a crate, and the arrows between their files.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    tokens::{Token, group_end, tokens},
    uses::{Import, imports},
};

/// The files of one crate by their path, as text.
pub(super) type Sources = BTreeMap<String, String>;

/// One file uses another one: the line and the path by which it does.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Arrow {
    pub(super) from: String,
    pub(super) to: String,
    pub(super) line: usize,
    pub(super) path: String,
}

/// The path of a module: `["engine", "read"]`; the root is empty.
type ModulePath = Vec<String>;

#[derive(Default)]
struct Module {
    file: String,
    children: BTreeSet<String>,
    defined: BTreeSet<String>,
    imports: Vec<Import>,
    /// Paths in the code besides `use`, with their lines.
    paths: Vec<(Vec<String>, usize)>,
    /// All names in the code besides `use`, with the line of their first mention.
    mentioned: BTreeMap<String, usize>,
}

/// A crate's modules as far as `mod` declarations lead from its root, tests apart.
pub(super) struct Modules {
    all: BTreeMap<ModulePath, Module>,
}

impl Modules {
    /// Reads the modules below the root file, such as `crates/edge/src/lib.rs`.
    pub(super) fn read(root: &str, sources: &Sources) -> Self {
        let mut modules = Self { all: BTreeMap::new() };
        let folder = root.rsplit_once('/').map_or("", |(folder, _)| folder);
        let mut left = vec![(ModulePath::new(), root.to_owned())];
        while let Some((module_path, file)) = left.pop() {
            let Some(source) = sources.get(&file) else { continue };
            let declared = modules.add(&module_path, &file, &tokens(source));
            for child in declared {
                let below = format!("{folder}/{}", child.join("/"));
                let files = [format!("{below}.rs"), format!("{below}/mod.rs")];
                left.extend(files.map(|file| (child.clone(), file)));
            }
        }
        modules
    }

    /// Adds a module and those inside of its braces; returns the ones in files of their own.
    fn add(&mut self, module_path: &ModulePath, file: &str, tokens: &[Token]) -> Vec<ModulePath> {
        let mut module = Module { file: file.to_owned(), ..Module::default() };
        let mut declared = Vec::new();
        let (mut at, mut exported) = (0, false);
        while let Some(token) = tokens.get(at) {
            let next = tokens.get(at + 1);
            match token.text.as_str() {
                "pub" => {
                    exported = true;
                    at += 1;
                    if next.is_some_and(|next| next.is("(")) {
                        at = group_end(tokens, at);
                    }
                    continue;
                }
                // `use<'a>` in a type is not a declaration.
                "use" if next.is_some_and(|next| !next.is("<")) => {
                    let (found, end) = imports(tokens, at + 1, exported);
                    module.imports.extend(found);
                    at = end;
                }
                "mod" if next.is_some_and(Token::is_name) => {
                    let name = tokens[at + 1].text.clone();
                    let child: ModulePath =
                        module_path.iter().cloned().chain([name.clone()]).collect();
                    module.children.insert(name);
                    at += 2;
                    if tokens.get(at).is_some_and(|token| token.is("{")) {
                        let end = group_end(tokens, at);
                        declared.extend(self.add(&child, file, &tokens[at + 1..end - 1]));
                        at = end;
                    } else {
                        declared.push(child);
                    }
                }
                _ if token.is_name() => at = module.read_path(tokens, at),
                _ => at += 1,
            }
            exported = false;
        }
        self.all.insert(module_path.clone(), module);
        declared
    }

    /// The arrows between files.
    pub(super) fn arrows(&self) -> BTreeSet<Arrow> {
        let mut arrows: BTreeMap<(String, String), Arrow> = BTreeMap::new();
        let mut add = |from: &Module, to: &Module, line: usize, path: &[String]| {
            if from.file != to.file {
                let (from, to) = (from.file.clone(), to.file.clone());
                let arrow = Arrow { from, to, line, path: path.join("::") };
                arrows.entry((arrow.from.clone(), arrow.to.clone())).or_insert(arrow);
            }
        };
        for (module_path, module) in &self.all {
            for (path, line) in &module.paths {
                if let Some(target) = self.resolve(module_path, path) {
                    add(module, &self.all[&target], *line, path);
                }
            }
            for import in &module.imports {
                let Some(target) = self.resolve(module_path, &import.path) else { continue };
                let target_module = &self.all[&target];
                // A parent may pass on what its descendants define, as long as it does not use it.
                if !(import.exported && target.starts_with(module_path)) {
                    add(module, target_module, import.line, &import.path);
                } else if let Some(line) = module.first_use(import, target_module) {
                    add(module, target_module, line, &import.path);
                }
            }
        }
        arrows.into_values().collect()
    }

    /// The module that defines the item to which `path` leads from `module_path`; none outside the crate.
    fn resolve(&self, module_path: &ModulePath, path: &[String]) -> Option<ModulePath> {
        self.resolve_from(module_path, path, &mut BTreeSet::new())
    }

    fn resolve_from(
        &self,
        module_path: &ModulePath,
        path: &[String],
        seen: &mut BTreeSet<(ModulePath, String)>,
    ) -> Option<ModulePath> {
        let mut at = module_path.clone();
        let mut rest = path;
        while let Some((first, after)) = rest.split_first() {
            match first.as_str() {
                "crate" => at.clear(),
                "self" => {}
                "super" => drop(at.pop()),
                _ => break,
            }
            rest = after;
        }
        let inside = rest.len() < path.len();
        let Some((name, after)) = rest.split_first() else { return Some(at) };
        self.lookup(&at, name, after, seen).or_else(|| {
            // An item that a macro defines, or that is unknown: the module that it is asked from.
            (inside && self.all.contains_key(&at)).then_some(at)
        })
    }

    /// Looks `name` up in the module `at`: a child, an item, an import, or a name behind a glob.
    fn lookup(
        &self,
        at: &ModulePath,
        name: &str,
        after: &[String],
        seen: &mut BTreeSet<(ModulePath, String)>,
    ) -> Option<ModulePath> {
        let module = self.all.get(at)?;
        if !seen.insert((at.clone(), name.to_owned())) {
            return None;
        }
        if module.children.contains(name) {
            let child: ModulePath = at.iter().cloned().chain([name.to_owned()]).collect();
            if self.all.contains_key(&child) {
                return match after.split_first() {
                    None => Some(child),
                    Some((next, rest)) => self.lookup(&child, next, rest, seen).or(Some(child)),
                };
            }
        }
        if module.defined.contains(name) {
            return Some(at.clone());
        }
        let named = module.imports.iter().filter(|import| import.name == name);
        for import in named {
            let whole: Vec<String> = import.path.iter().chain(after).cloned().collect();
            if let Some(found) = self.resolve_from(at, &whole, seen) {
                return Some(found);
            }
        }
        let globs = module.imports.iter().filter(|import| import.name == "*");
        for glob in globs {
            let source = self.resolve_from(at, &glob.path, seen);
            let found = source.and_then(|source| self.lookup(&source, name, after, seen));
            if found.is_some() {
                return found;
            }
        }
        None
    }
}

impl Module {
    /// Reads the path or name at `at`; returns the index behind it.
    fn read_path(&mut self, tokens: &[Token], at: usize) -> usize {
        let line = tokens[at].line;
        let mut path = vec![tokens[at].text.clone()];
        let mut end = at + 1;
        while let [colons, name, ..] = &tokens[end..]
            && colons.is("::")
            && name.is_name()
        {
            path.push(name.text.clone());
            end += 2;
        }
        let before = at.checked_sub(1).map_or("", |before| tokens[before].text.as_str());
        let is_macro = before == "!" && tokens[at - 2].is("macro_rules");
        if is_macro || DEFINING.contains(&before) {
            self.defined.insert(path[0].clone());
        } else if before != "." && before != "'" && before != "::" {
            self.mentioned.entry(path[0].clone()).or_insert(line);
            if path.len() > 1 {
                self.paths.push((path, line));
            }
        }
        end
    }

    /// Returns the line on which this module uses a name of `source` outside of the import.
    fn first_use(&self, import: &Import, source: &Self) -> Option<usize> {
        if import.name != "*" {
            return self.mentioned.get(&import.name).copied();
        }
        let names = source.defined.iter().chain(source.imports.iter().map(|one| &one.name));
        names.filter_map(|name| self.mentioned.get(name)).min().copied()
    }
}

const DEFINING: [&str; 8] = ["struct", "enum", "union", "trait", "type", "fn", "const", "static"];
