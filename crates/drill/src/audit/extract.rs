//! Extracts the values that a response shows: in JSON by key, in HTML from the `data-` attributes of
//! the element that shows a product.

use std::borrow::Cow;

use super::oracle::{Field, Value};
use crate::page::Page;

/// Returns whether a response for `page` must show at least one value.
pub(super) fn must_show_value(page: &Page) -> bool {
    matches!(page, Page::Product(_) | Page::Price(_) | Page::Stock(_) | Page::ProductJson(_))
}

/// Calls `found` with every (product, field, value) that `body` shows.
pub(super) fn each_value(page: &Page, body: &[u8], found: &mut dyn FnMut(u32, Field, Value<'_>)) {
    match page {
        Page::Price(id) | Page::Stock(id) | Page::ProductJson(id) => json(*id, body, found),
        Page::Home
        | Page::Product(_)
        | Page::Category { .. }
        | Page::Recommended(_)
        | Page::Search(_) => {
            if let Ok(text) = std::str::from_utf8(body) {
                html(text, found);
            }
        }
        Page::Cart | Page::Checkout | Page::Style => {}
    }
}

#[derive(serde::Deserialize)]
struct JsonValues<'a> {
    price_cents: Option<i64>,
    stock: Option<i64>,
    #[serde(borrow)]
    name: Option<Cow<'a, str>>,
}

fn json(product: u32, body: &[u8], found: &mut dyn FnMut(u32, Field, Value<'_>)) {
    let Ok(values) = serde_json::from_slice::<JsonValues<'_>>(body) else { return };
    if let Some(price) = values.price_cents {
        found(product, Field::Price, Value::Number(price));
    }
    if let Some(stock) = values.stock {
        found(product, Field::Stock, Value::Number(stock));
    }
    if let Some(name) = values.name {
        found(product, Field::Name, Value::Text(&name));
    }
}

const PRODUCT_ATTRIBUTE: &str = " data-product=\"";

fn html(text: &str, found: &mut dyn FnMut(u32, Field, Value<'_>)) {
    let mut rest = text;
    while let Some(start) = rest.find(PRODUCT_ATTRIBUTE) {
        rest = &rest[start..];
        let element = &rest[..rest.find('>').unwrap_or(rest.len())];
        rest = &rest[PRODUCT_ATTRIBUTE.len()..];
        let number = |name| attribute(element, name).and_then(|value| value.parse::<i64>().ok());
        let Some(product) = number(PRODUCT_ATTRIBUTE).and_then(|id| u32::try_from(id).ok()) else {
            continue;
        };
        if let Some(price) = number(" data-price-cents=\"") {
            found(product, Field::Price, Value::Number(price));
        }
        if let Some(stock) = number(" data-stock=\"") {
            found(product, Field::Stock, Value::Number(stock));
        }
        if let Some(name) = attribute(element, " data-name=\"") {
            found(product, Field::Name, Value::Text(&unescape(name)));
        }
    }
}

fn attribute<'a>(element: &'a str, start: &str) -> Option<&'a str> {
    let value = &element[element.find(start)? + start.len()..];
    value.get(..value.find('"')?)
}

fn unescape(text: &str) -> Cow<'_, str> {
    if !text.contains('&') {
        return Cow::Borrowed(text);
    }
    let plain = text
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&#39;", "'")
        .replace("&amp;", "&");
    Cow::Owned(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(page: &Page, body: &str) -> Vec<String> {
        let mut values = Vec::new();
        each_value(page, body.as_bytes(), &mut |product, field, value| {
            values.push(format!("{product} {field} {value}"));
        });
        values
    }

    #[test]
    fn json_values_extracted() {
        let body = r#"{"price_cents":255,"currency":"GBP","name":"Tom \u0026 Co"}"#;
        assert_eq!(values(&Page::Price(4), body), ["4 price 255", "4 name “Tom & Co”"]);
    }

    #[test]
    fn html_attribute_values_extracted() {
        let body = "<a data-product=\"1\" data-price-cents=\"5\" data-name=\"A &amp; B\">x</a>\
                    <a data-product=\"2\" data-stock=\"0\">y</a>";
        assert_eq!(values(&Page::Home, body), ["1 price 5", "1 name “A & B”", "2 stock 0"]);
    }

    #[test]
    fn malformed_body_shows_no_values() {
        assert!(values(&Page::Price(1), "<html>").is_empty());
        assert!(values(&Page::Product(1), "<a data-product=\"").is_empty());
        assert!(values(&Page::Product(1), "<a data-product=\"x\" data-stock=\"1\">").is_empty());
    }
}
