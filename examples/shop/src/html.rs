//! HTML building blocks.

use std::fmt::Write;

/// Escapes the five characters with a special meaning in HTML text and attributes.
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

/// Formats `1234` of `GBP` as `£12.34`.
pub(crate) fn money(cents: i64, currency: &str) -> String {
    let sign = match currency {
        "GBP" => "£",
        "EUR" => "€",
        "USD" => "$",
        other => other,
    };
    format!("{sign}{}.{:02}", cents / 100, cents % 100)
}

/// Returns a whole page with `main` as its content.
pub(crate) fn page(title: &str, categories: &[(u32, String)], main: &str) -> String {
    let mut links = String::new();
    for (id, name) in categories {
        let _ = write!(links, "<a href=\"/c/{id}\">{}</a>", escape(name));
    }
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>{title} · The Little Shop</title>\
         <link rel=\"stylesheet\" href=\"/static/style.css\"></head>\n<body><header>\
         <a class=\"brand\" href=\"/\">The Little Shop</a>\
         <form action=\"/search\"><input name=\"q\" placeholder=\"Search the shop\" aria-label=\"Search\"></form>\
         <a href=\"/cart\">Basket</a></header>\n<nav>{links}</nav>\n<main>{main}</main>\n\
         <footer>An ordinary little shop on SQLite.</footer></body></html>\n",
        title = escape(title),
    )
}

/// The style sheet.
pub(crate) const STYLE: &str = include_str!("style.css");
