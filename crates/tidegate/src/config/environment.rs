//! Variables of the environment in the settings: `url = "$SHOP_URL"`, or `"postgres://shop:${SHOP_PASSWORD}@db/shop"`.
//!
//! Contracts have none: `$1` and `${…}` mean something else in a statement, and a contract is not a secret.

use contract::Problem;
use contract::config::ValueError;
use toml::Value;

/// The tables whose texts are left as they are.
const WITHOUT_VARIABLES: &[&str] = &["data", "contracts"];

/// Replaces the variables in the settings, and returns the problems. `variable` returns the value of a variable.
pub(super) fn expand(
    root: &mut toml::Table,
    variable: &mut dyn FnMut(&str) -> Option<String>,
) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (key, value) in root.iter_mut() {
        if !WITHOUT_VARIABLES.contains(&key.as_str()) {
            expand_value(key, value, variable, &mut problems);
        }
    }
    problems
}

fn expand_value(
    path: &str,
    value: &mut Value,
    variable: &mut dyn FnMut(&str) -> Option<String>,
    problems: &mut Vec<Problem>,
) {
    match value {
        Value::String(text) => match expand_text(text, variable) {
            Ok(expanded) => *text = expanded,
            Err(err) => problems.push(err.at(path)),
        },
        Value::Array(items) => {
            for (at, item) in items.iter_mut().enumerate() {
                expand_value(&format!("{path}[{at}]"), item, variable, problems);
            }
        }
        Value::Table(table) => {
            for (key, item) in table.iter_mut() {
                expand_value(&format!("{path}.{key}"), item, variable, problems);
            }
        }
        _ => {}
    }
}

/// Replaces `${NAME}` anywhere, and `$NAME` where it is the whole text, so that a `$` in a password stays. `$${` stands
/// for `${`.
fn expand_text(
    text: &str,
    variable: &mut dyn FnMut(&str) -> Option<String>,
) -> Result<String, ValueError> {
    if let Some(name) = text.strip_prefix('$').filter(|name| is_name(name)) {
        return lookup(name, variable);
    }
    let (mut expanded, mut rest) = (String::new(), text);
    while let Some(at) = rest.find("${") {
        let (before, from) = rest.split_at(at);
        if let Some(before) = before.strip_suffix('$') {
            expanded.push_str(before);
            expanded.push_str("${");
            rest = &from[2..];
            continue;
        }
        expanded.push_str(before);
        let name = from[2..].split('}').next().filter(|name| from.len() > 2 + name.len());
        let Some(name) = name.filter(|name| is_name(name)) else {
            return Err(ValueError {
                rule: "variable",
                message: "has `${` without the name of a variable (A-Z, 0-9, _) and `}`".to_owned(),
                help: "write ${NAME}, or $${ for the two characters".to_owned(),
            });
        };
        expanded.push_str(&lookup(name, variable)?);
        rest = &from[name.len() + 3..];
    }
    expanded.push_str(rest);
    Ok(expanded)
}

fn lookup(
    name: &str,
    variable: &mut dyn FnMut(&str) -> Option<String>,
) -> Result<String, ValueError> {
    let problem = |problem: &str| ValueError {
        rule: "variable",
        message: format!("the environment variable `{name}` {problem}"),
        help: "set it for the process (`Environment=` of systemd, `env` of a container), or write \
               the value"
            .to_owned(),
    };
    match variable(name) {
        Some(value) if !value.trim().is_empty() => Ok(value),
        Some(_) => Err(problem("is empty")),
        None => Err(problem("is not set, or not UTF-8")),
    }
}

/// Whether a text is a variable's name, in capitals as is usual: a password may begin with `$`, too, and an error must
/// not show it as the name of a missing variable.
fn is_name(text: &str) -> bool {
    let is_part = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    text.starts_with(|c: char| c.is_ascii_uppercase() || c == '_') && text.chars().all(is_part)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variable(name: &str) -> Option<String> {
        match name {
            "URL" => Some("postgres://h/d".to_owned()),
            "PASS_1" => Some("pa$s${x}".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        }
    }

    #[test]
    fn variables_replaced() {
        for (text, expanded) in [
            ("$URL", "postgres://h/d"),
            ("${URL}?a=1", "postgres://h/d?a=1"),
            ("postgres://u:${PASS_1}@${URL}", "postgres://u:pa$s${x}@postgres://h/d"),
            ("pa$URL", "pa$URL"),
            ("$1", "$1"),
            ("$ecret", "$ecret"),
            ("a$${URL}", "a${URL}"),
            ("$", "$"),
            ("", ""),
        ] {
            assert_eq!(expand_text(text, &mut variable).as_deref(), Ok(expanded), "{text}");
        }
    }

    #[test]
    fn missing_variable_named() {
        for (text, problem) in [
            ("$MISSING", "`MISSING` is not set"),
            ("a${EMPTY}", "`EMPTY` is empty"),
            ("a${URL", "without the name"),
            ("a${}", "without the name"),
            ("a${U-L}", "without the name"),
        ] {
            let err = expand_text(text, &mut variable).expect_err(text);
            assert!(err.message.contains(problem), "{err}");
        }
    }

    #[test]
    fn settings_expanded_and_contracts_left() {
        let text = "[source.shop]\nurl = \"$URL\"\nreplicas = [\"$MISSING\"]\n\
                    [data.price]\nvalue = \"select ${URL}\"";
        let mut root: toml::Table = text.parse().expect("well-formed");
        let problems = expand(&mut root, &mut variable);
        assert_eq!(problems[0].path, "source.shop.replicas[0]");
        assert_eq!(
            (problems.len(), root["source"]["shop"]["url"].as_str()),
            (1, Some("postgres://h/d"))
        );
        assert_eq!(root["data"]["price"]["value"].as_str(), Some("select ${URL}"));
    }
}
