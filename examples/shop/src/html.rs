//! Text into HTML.

use std::fmt::Write;

/// `text` with the five characters escaped that mean something in HTML text and attributes.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// `1234` of `GBP` as `£12.34`.
pub(crate) fn money(cents: i64, currency: &str) -> String {
    let sign = match currency {
        "GBP" => "£",
        "EUR" => "€",
        "USD" => "$",
        other => other,
    };
    format!("{sign}{}.{:02}", cents / 100, cents % 100)
}

/// A whole page around `main`.
pub(crate) fn page(title: &str, categories: &[(u32, String)], main: &str) -> String {
    let mut shelves = String::new();
    for (id, name) in categories {
        let _ = write!(shelves, "<a href=\"/c/{id}\">{}</a>", escape(name));
    }
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>{title} · The Little Shop</title>\
         <link rel=\"stylesheet\" href=\"/static/style.css\"></head>\n<body><header>\
         <a class=\"brand\" href=\"/\">The Little Shop</a>\
         <form action=\"/search\"><input name=\"q\" placeholder=\"Search the shop\" aria-label=\"Search\"></form>\
         <a href=\"/cart\">Basket</a></header>\n<nav>{shelves}</nav>\n<main>{main}</main>\n\
         <footer>An ordinary little shop on SQLite.</footer></body></html>\n",
        title = escape(title),
    )
}

/// The look of the shop.
pub(crate) const STYLE: &str = include_str!("style.css");
