//! Items: an id, with the values of a key's variants: `42?currency=GBP&group=trade`.

use std::borrow::Cow;

use crate::naming::key::KeyError;
use crate::naming::percent;
use crate::naming::template::KeyTemplate;

/// An id, and the values of the key's variants.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Item<'a> {
    /// The id.
    pub id: Cow<'a, str>,
    /// The names and values of the variants, in the order of the key.
    pub variants: Vec<(&'a str, String)>,
}

impl<'a> Item<'a> {
    /// An id without variants.
    pub(crate) fn of_id(id: &'a str) -> Self {
        Self { id: id.into(), variants: Vec::new() }
    }

    /// Parses the text of an item of a key with variants: a percent-encoded id and the query of a URL.
    pub(crate) fn parse(key: &'a KeyTemplate, text: &str) -> Result<Self, KeyError> {
        let (id, query) = text.split_once('?').unwrap_or((text, ""));
        let decode = |text: &str| percent::decode(text).ok_or(KeyError::Encoding);
        let names = key.variants();
        let mut given: Vec<(String, String)> = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            // Forms encode a space as `+`.
            let (name, value) = (decode(name)?, decode(&value.replace('+', " "))?);
            if !names.contains(&name.as_str()) {
                return Err(KeyError::UnknownVariant { name, known: names.join(", ") });
            }
            if given.iter().any(|(other, _)| *other == name) {
                return Err(KeyError::VariantTwice(name));
            }
            given.push((name, value));
        }
        let value = |name: &'a str| {
            let found = given.iter().find(|(given, _)| given == name);
            let (_, value) = found.ok_or_else(|| KeyError::Missing(name.to_owned()))?;
            Ok((name, value.clone()))
        };
        let variants = names.iter().map(|name| value(name)).collect::<Result<_, KeyError>>()?;
        Ok(Self { id: decode(id)?.into(), variants })
    }

    /// Returns the parameters of a key or a statement.
    pub fn parameters(&self) -> Vec<(&str, &str)> {
        let variants = self.variants.iter().map(|(name, value)| (*name, value.as_str()));
        [("id", &*self.id)].into_iter().chain(variants).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> KeyTemplate {
        KeyTemplate::parse("v1:catalog:price:{id}:{currency}:{group|hash}").expect("a template")
    }

    #[test]
    fn variants_in_the_order_of_the_key() {
        let key = key();
        let item = Item::parse(&key, "a%2Fb?group=tr%26de+x&currency=GBP").expect("an item");
        assert_eq!(item.parameters(), [("id", "a/b"), ("currency", "GBP"), ("group", "tr&de x")]);
    }

    #[test]
    fn invalid_items_rejected() {
        let key = key();
        for (text, problem) in [
            ("42", "`{currency}`"),
            ("42?currency=GBP", "`{group}`"),
            ("42?curency=GBP", "`curency`"),
            ("42?currency=GBP&group=a&group=b", "twice"),
            ("%ff?currency=GBP&group=a", "percent"),
            ("42?currency=%zz&group=a", "percent"),
        ] {
            let err = Item::parse(&key, text).expect_err(text);
            assert!(err.to_string().contains(problem), "{text}: {err}");
        }
    }
}
