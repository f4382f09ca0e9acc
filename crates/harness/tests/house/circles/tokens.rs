//! Rust source as tokens, without comments, literals and code for tests.

/// A token, with its line.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token {
    pub(super) text: String,
    pub(super) line: usize,
}

impl Token {
    pub(super) fn is(&self, text: &str) -> bool {
        self.text == text
    }

    pub(super) fn is_name(&self) -> bool {
        self.text.starts_with(|c: char| c.is_alphabetic() || c == '_')
    }
}

/// The tokens of a file: names, `::` and single characters. Literals become `""`; comments and items
/// under `#[cfg(test)]` are left out.
pub(super) fn tokens(source: &str) -> Vec<Token> {
    without_tests(&all_tokens(source))
}

fn all_tokens(source: &str) -> Vec<Token> {
    let chars: Vec<char> = source.chars().collect();
    let mut scanner = Scanner { chars: &chars, at: 0, line: 1 };
    let mut found = Vec::new();
    while let Some(token) = scanner.next_token() {
        found.push(token);
    }
    found
}

struct Scanner<'a> {
    chars: &'a [char],
    at: usize,
    line: usize,
}

impl Scanner<'_> {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    fn bump(&mut self) -> Option<char> {
        let c = self.peek(0)?;
        self.at += 1;
        self.line += usize::from(c == '\n');
        Some(c)
    }

    fn next_token(&mut self) -> Option<Token> {
        self.skip_blanks_and_comments();
        let line = self.line;
        let first = self.peek(0)?;
        let text = if first.is_alphabetic() || first == '_' {
            self.name_or_literal()
        } else if first.is_ascii_digit() {
            // A range such as `0..n` may follow, so a dot ends the number.
            while self.peek(0).is_some_and(|c| c.is_alphanumeric() || c == '_') {
                self.bump();
            }
            "\"\"".to_owned()
        } else if first == '"' {
            self.quoted();
            "\"\"".to_owned()
        } else if first == '\'' {
            self.char_or_lifetime()
        } else if first == ':' && self.peek(1) == Some(':') {
            self.at += 2;
            "::".to_owned()
        } else {
            self.at += 1;
            first.to_string()
        };
        Some(Token { text, line })
    }

    fn skip_blanks_and_comments(&mut self) {
        loop {
            match (self.peek(0), self.peek(1)) {
                (Some(c), _) if c.is_whitespace() => {
                    self.bump();
                }
                (Some('/'), Some('/')) => while self.bump().is_some_and(|c| c != '\n') {},
                (Some('/'), Some('*')) => self.block_comment(),
                _ => return,
            }
        }
    }

    /// Block comments nest.
    fn block_comment(&mut self) {
        let mut depth = 0;
        loop {
            match (self.peek(0), self.peek(1)) {
                (Some('/'), Some('*')) => {
                    depth += 1;
                    self.at += 2;
                }
                (Some('*'), Some('/')) => {
                    depth -= 1;
                    self.at += 2;
                }
                (None, _) => return,
                _ => {
                    self.bump();
                }
            }
            if depth == 0 {
                return;
            }
        }
    }

    /// A name, or a literal with a prefix: `b"…"`, `r#"…"#`, `b'…'`. A raw name loses its `r#`.
    fn name_or_literal(&mut self) -> String {
        let start = self.at;
        while self.peek(0).is_some_and(|c| c.is_alphanumeric() || c == '_') {
            self.at += 1;
        }
        let name: String = self.chars[start..self.at].iter().collect();
        let raw = ["r", "br", "cr"].contains(&name.as_str());
        let prefix = raw || ["b", "c"].contains(&name.as_str());
        match self.peek(0) {
            Some('"') if raw => self.raw(0),
            Some('"') if prefix => self.quoted(),
            Some('\'') if name == "b" => return self.char_or_lifetime(),
            Some('#') if raw => {
                let hashes = (0..).take_while(|ahead| self.peek(*ahead) == Some('#')).count();
                if self.peek(hashes) != Some('"') {
                    self.at += 1;
                    return self.name_or_literal();
                }
                self.at += hashes;
                self.raw(hashes);
            }
            _ => return name,
        }
        "\"\"".to_owned()
    }

    fn quoted(&mut self) {
        self.bump();
        while let Some(c) = self.bump() {
            match c {
                '\\' => drop(self.bump()),
                '"' => return,
                _ => {}
            }
        }
    }

    fn raw(&mut self, hashes: usize) {
        self.bump();
        while let Some(c) = self.bump() {
            if c == '"' && (0..hashes).all(|ahead| self.peek(ahead) == Some('#')) {
                self.at += hashes;
                return;
            }
        }
    }

    fn char_or_lifetime(&mut self) -> String {
        self.at += 1;
        if self.peek(0) == Some('\\') {
            self.at += 2;
            while self.bump().is_some_and(|c| c != '\'') {}
        } else if self.peek(1) == Some('\'') {
            self.bump();
            self.at += 1;
        }
        // A lifetime's name follows as a token of its own, which is no path.
        "'".to_owned()
    }
}

/// Leaves out each item with an attribute `#[cfg(test)]`, or `cfg` with `test` in `all(…)`.
fn without_tests(all: &[Token]) -> Vec<Token> {
    let mut kept = Vec::new();
    let mut at = 0;
    while at < all.len() {
        if let Some(end) = attribute_end(all, at)
            && is_test_only(&all[at..end])
        {
            at = item_end(all, end);
        } else {
            kept.push(all[at].clone());
            at += 1;
        }
    }
    kept
}

/// The index behind the attribute that begins at `at`, if one does.
fn attribute_end(all: &[Token], at: usize) -> Option<usize> {
    let starts = all.get(at)?.is("#") && all.get(at + 1)?.is("[");
    starts.then(|| group_end(all, at + 1))
}

fn is_test_only(attribute: &[Token]) -> bool {
    let texts: Vec<&str> = attribute.iter().map(|token| token.text.as_str()).collect();
    match texts.as_slice() {
        ["#", "[", "cfg", "(", "test", ")", "]"] => true,
        ["#", "[", "cfg", "(", "all", rest @ ..] => {
            rest.contains(&"test") && !rest.contains(&"not") && !rest.contains(&"any")
        }
        _ => false,
    }
}

const KEYWORDS: [&str; 11] = [
    "fn",
    "mod",
    "struct",
    "enum",
    "impl",
    "trait",
    "use",
    "type",
    "const",
    "static",
    "macro_rules",
];

fn is_separator(token: &Token) -> bool {
    ["{", ";", ",", ":", "=", "}"].contains(&token.text.as_str())
}

/// The index behind the item at `at`: further attributes, then all up to a `;` or a block.
fn item_end(all: &[Token], mut at: usize) -> usize {
    while let Some(end) = attribute_end(all, at) {
        at = end;
    }
    let keyword = all[at..].iter().find(|token| KEYWORDS.contains(&token.text.as_str()));
    let is_item = keyword.is_some_and(|token| {
        all[at..].iter().take_while(|other| *other != token).all(|other| !is_separator(other))
    });
    // A `use` has braces before its end, unlike other items.
    let ends_with_block = !(is_item && keyword.is_some_and(|token| token.is("use")));
    while let Some(token) = all.get(at) {
        match token.text.as_str() {
            ";" => return at + 1,
            // Of a field, a variant or an arm; in an item it divides parameters.
            "," if !is_item => return at + 1,
            // Of the item around.
            "}" | ")" | "]" => return at,
            "{" if ends_with_block => return group_end(all, at),
            "{" | "(" | "[" => at = group_end(all, at),
            _ => at += 1,
        }
    }
    at
}

/// The index behind the group that opens at `at`.
pub(super) fn group_end(all: &[Token], at: usize) -> usize {
    let mut depth = 0_usize;
    for (index, token) in all.iter().enumerate().skip(at) {
        match token.text.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return index + 1;
        }
    }
    all.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(source: &str) -> Vec<String> {
        tokens(source).into_iter().map(|token| token.text).collect()
    }

    #[test]
    fn comments_and_literals_skipped() {
        let source =
            "a /* b /* c */ d */ 'e' '\\'' f'g \"h \\\" i\" r#\"j\" k\"# b\"l\" // m\nr#type";
        assert_eq!(texts(source), ["a", "'", "'", "f", "'", "g", "\"\"", "\"\"", "\"\"", "type"]);
        assert_eq!(texts("x::<'a>(0..=9)").join(" "), "x :: < ' a > ( \"\" . . = \"\" )");
    }

    #[test]
    fn lines_counted() {
        let found = tokens("a\n\"b\n\"\n/*\n*/ c");
        assert_eq!(found.iter().map(|token| token.line).collect::<Vec<_>>(), [1, 2, 5]);
    }

    #[test]
    fn test_items_skipped() {
        assert_eq!(texts("#[cfg(test)] #[path = \"b\"] mod a; c").join(" "), "c");
        assert_eq!(texts("#[cfg(test)] use a::{b, c}; d").join(" "), "d");
        assert_eq!(texts("#[cfg(test)] fn a(b: [u8; 2]) -> C { d } e").join(" "), "e");
        assert_eq!(texts("#[cfg(test)] pub fn a<B, C>() where B: C { d } e").join(" "), "e");
        assert_eq!(texts("#[cfg(test)] mod a { use b; } c").join(" "), "c");
        assert_eq!(texts("#[cfg(test)] impl<A, B> C for D { e } f").join(" "), "f");
        assert_eq!(texts("#[cfg(test)] a: fn(b), c: d").join(" "), "c : d");
        assert_eq!(texts("struct A { #[cfg(test)] b: C, d: E }").join(" "), "struct A { d : E }");
        assert_eq!(texts("#[cfg(not(test))] a").join(" "), "# [ cfg ( not ( test ) ) ] a");
        assert_eq!(texts("#[cfg(all(test, unix))] fn a() {} b").join(" "), "b");
    }
}
