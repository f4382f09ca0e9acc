//! The routes of a router, read from its source: axum does not list them.

use std::collections::BTreeSet;

/// Returns the path and the methods, in lower case, of each `.route("/path", get(…).put(…))`.
#[must_use]
pub fn of_source(source: &str) -> BTreeSet<(String, String)> {
    let source = source.split("#[cfg(test)]").next().unwrap_or_default();
    let mut routes = BTreeSet::new();
    for rest in source.split(".route(").skip(1) {
        let Some(path) =
            rest.trim_start().strip_prefix('"').and_then(|rest| rest.split('"').next())
        else {
            continue;
        };
        let call = &rest[..end_of_call(rest)];
        for method in ["delete", "get", "patch", "post", "put"] {
            let begins = |before: &str| {
                !before.ends_with(|last: char| last.is_alphanumeric() || last == '_')
            };
            let name = format!("{method}(");
            if call.match_indices(&name).any(|(at, _)| begins(&call[..at])) {
                routes.insert((path.to_owned(), method.to_owned()));
            }
        }
    }
    routes
}

/// Returns the place of the parenthesis that closes a call.
fn end_of_call(rest: &str) -> usize {
    let mut depth = 1;
    for (at, letter) in rest.char_indices() {
        match letter {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

#[cfg(test)]
mod tests {
    #[test]
    fn methods_of_each_route_read() {
        let source = r#"Router::new()
            .route("/a/{b}", put(x::put).get(x::get))
            .route("/c", post(x::budget_get(1)))
            .merge(other)"#;
        let found = super::of_source(source);
        let found: Vec<(&str, &str)> =
            found.iter().map(|(path, verb)| (&**path, &**verb)).collect();
        assert_eq!(found, [("/a/{b}", "get"), ("/a/{b}", "put"), ("/c", "post")]);
    }
}
