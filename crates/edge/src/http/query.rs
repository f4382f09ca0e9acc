//! The query of a page's target: the parameters that select no page, and the order of the others.
//!
//! A parameter that is not in a page's key must not reach the upstream with the load of the page either: its value
//! would shape the response that all others get.

use std::borrow::Cow;

use contract::Pattern;

use super::path::{decoded, path_of};

/// The rules of a route for the queries of its pages.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct QueryRules {
    ignored: Vec<IgnoredName>,
    is_sorted: bool,
}

/// The names of parameters that select no page.
#[derive(Clone, Debug, Eq, PartialEq)]
enum IgnoredName {
    All,
    Exactly(String),
    Matching(Pattern),
}

impl QueryRules {
    /// Reads the names of ignored parameters; `*` in a name matches any text.
    ///
    /// # Errors
    /// A name that no parameter has, or a pattern that is too wide.
    pub(crate) fn parse(ignored: &[String], is_sorted: bool) -> Result<Self, String> {
        let ignored = ignored.iter().map(|name| IgnoredName::parse(name)).collect::<Result<_, _>>();
        Ok(Self { ignored: ignored?, is_sorted })
    }

    /// Returns a target in its normal form as the rules have it. The parameters of one name keep their order, since
    /// applications read lists from them.
    pub(crate) fn apply<'t>(&self, target: Cow<'t, str>) -> Cow<'t, str> {
        let path = path_of(&target);
        if path.len() == target.len() || *self == Self::default() {
            return target;
        }
        let query = &target[path.len() + 1..];
        let is_kept = |parameter: &&str| !parameter.is_empty() && !self.ignores(name_of(parameter));
        let mut parameters: Vec<&str> = query.split('&').filter(is_kept).collect();
        if self.is_sorted {
            parameters.sort_by_key(|parameter| name_of(parameter));
        }
        let separator = if parameters.is_empty() { "" } else { "?" };
        let ruled = format!("{path}{separator}{}", parameters.join("&"));
        if ruled == target { target } else { Cow::Owned(ruled) }
    }

    fn ignores(&self, name: &str) -> bool {
        let name = decoded(name);
        self.ignored.iter().any(|ignored| match ignored {
            IgnoredName::All => true,
            IgnoredName::Exactly(known) => *known == name,
            IgnoredName::Matching(pattern) => pattern.matches(&name),
        })
    }
}

impl IgnoredName {
    fn parse(name: &str) -> Result<Self, String> {
        if name == "*" {
            return Ok(Self::All);
        }
        if name.is_empty() || name.contains(['&', '=', '?', '#', '%']) {
            return Err(format!("{name:?} is not the name of a parameter, such as \"utm_*\""));
        }
        if !name.contains('*') {
            return Ok(Self::Exactly(name.to_owned()));
        }
        Pattern::of_tags(name).map(Self::Matching).map_err(|err| format!("{name:?}: {err}"))
    }
}

fn name_of(parameter: &str) -> &str {
    parameter.split('=').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(ignored: &[&str], is_sorted: bool) -> QueryRules {
        let ignored: Vec<String> = ignored.iter().map(|name| (*name).to_owned()).collect();
        QueryRules::parse(&ignored, is_sorted).expect("valid")
    }

    fn ruled(rules: &QueryRules, target: &str) -> String {
        rules.apply(Cow::Borrowed(target)).into_owned()
    }

    #[test]
    fn ignored_parameters_removed() {
        let rules = rules(&["utm_*", "gclid", "a[]"], false);
        for (target, expected) in [
            ("/p", "/p"),
            ("/p?q=1", "/p?q=1"),
            ("/p?b=2&a=1", "/p?b=2&a=1"),
            ("/p?utm_source=x&q=1&gclid=y", "/p?q=1"),
            ("/p?gclid", "/p"),
            ("/p?gclid2=1", "/p?gclid2=1"),
            ("/p?&&q=1&", "/p?q=1"),
            ("/p?", "/p"),
            ("/p?%61%5B%5D=1&a[]=2", "/p"),
            ("/p?UTM_source=x", "/p?UTM_source=x"),
            // A separator for some applications: the whole text is one parameter, in the key or in neither.
            ("/p?utm_source=x;q=1", "/p"),
            ("/p?q=1;utm_source=x", "/p?q=1;utm_source=x"),
            ("/p?q=/?utm_source=x", "/p?q=/?utm_source=x"),
        ] {
            assert_eq!(ruled(&rules, target), expected, "{target}");
        }
    }

    #[test]
    fn sorted_by_name_with_lists_in_order() {
        let sorted = rules(&[], true);
        assert_eq!(ruled(&sorted, "/p?b=1&a=2&b=0&a"), "/p?a=2&a&b=1&b=0");
        assert_eq!(ruled(&sorted, "/p?a=1&b=2"), "/p?a=1&b=2");
        assert_eq!(ruled(&rules(&["*"], true), "/p?b=1&a=2"), "/p");
    }

    #[test]
    fn ruled_target_is_stable_and_unruled_untouched() {
        let all = rules(&["utm_*"], true);
        for target in ["/p?b=1&a=2&utm_x=1", "/p?&", "/p?z&y&z=1", "/?a=%26&b"] {
            let once = ruled(&all, target);
            assert_eq!(ruled(&all, &once), once);
            assert_eq!(ruled(&QueryRules::default(), target), target);
        }
    }

    #[test]
    fn invalid_names_refused() {
        for name in ["", "a=b", "a&b", "a%20", "a*"] {
            assert!(QueryRules::parse(&[name.to_owned()], false).is_err(), "{name}");
        }
    }
}
