//! The shop's responses: pages for people, JSON for programs.

use std::fmt::Write;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, LOCATION, SET_COOKIE};
use http::{Response, StatusCode};
use http_body_util::Full;

use crate::error::ShopError;
use crate::html::{STYLE, escape, money, page};
use crate::read::{self, CategoryPage, Item, Recommended, Tile};
use crate::route::{Api, Route};
use crate::shop::Shop;

pub(crate) type HttpResponse = Response<Full<Bytes>>;

/// `Cache-Control` of pages that any cache may store for a minute.
const SHARED: &str = "public, s-maxage=60";
/// `Cache-Control` of pages of one user.
const PRIVATE: &str = "private, no-store";

impl Shop {
    /// Responds to a read.
    pub(crate) fn respond(&self, route: &Route) -> Result<HttpResponse, ShopError> {
        Ok(match route {
            Route::Home => {
                let (categories, tiles) = self.read(|connection| {
                    Ok((read::categories(connection)?, read::first_products(connection, 12)?))
                })?;
                let main = format!("<h1>Picked for you</h1>{}", grid(&tiles));
                html(
                    StatusCode::OK,
                    &page("Welcome", &categories, &main),
                    SHARED,
                    &listing_keys(&tiles),
                )
            }
            Route::Product(handle) => {
                let (categories, item) = self.read(|connection| {
                    Ok((read::categories(connection)?, read::item(connection, handle)?))
                })?;
                match item {
                    Some(item) => product(&item, &categories),
                    None => not_found(&categories),
                }
            }
            Route::Category { id, page } => {
                let (categories, category_page) = self.read(|connection| {
                    Ok((
                        read::categories(connection)?,
                        read::category_page(connection, *id, *page)?,
                    ))
                })?;
                match category_page {
                    Some(found) => category(&found, &categories),
                    None => not_found(&categories),
                }
            }
            Route::Recommended(id) => {
                match self.read(|connection| read::recommended(connection, *id))? {
                    Some(found) => recommended(&found),
                    None => error_response(StatusCode::NOT_FOUND, "no such product"),
                }
            }
            Route::Search(words) => {
                let (categories, tiles) = self.read(|connection| {
                    Ok((read::categories(connection)?, read::search(connection, words)?))
                })?;
                let main = format!(
                    "<h1>{} for “{}”</h1>{}",
                    if tiles.is_empty() { "Nothing" } else { "Found" },
                    escape(words),
                    grid(&tiles)
                );
                html(
                    StatusCode::OK,
                    &page("Search", &categories, &main),
                    SHARED,
                    &listing_keys(&tiles),
                )
            }
            Route::Api(view, handle) => {
                match self.read(|connection| read::item(connection, handle))? {
                    Some(item) => json(StatusCode::OK, &api(*view, &item), SHARED, item.id),
                    None => error_response(StatusCode::NOT_FOUND, "no such product"),
                }
            }
            Route::Cart | Route::Checkout => {
                let categories = self.read(read::categories)?;
                let (title, text) = if *route == Route::Cart {
                    ("Basket", "Your basket is as you left it.")
                } else {
                    ("Checkout", "Where shall we send it?")
                };
                let main = format!("<h1>{title}</h1><p>{text}</p>");
                let mut response =
                    html(StatusCode::OK, &page(title, &categories, &main), PRIVATE, "");
                response.headers_mut().insert(
                    SET_COOKIE,
                    http::HeaderValue::from_static("basket=open; Path=/; HttpOnly; SameSite=Lax"),
                );
                response
            }
            Route::Style => response(
                StatusCode::OK,
                "text/css; charset=utf-8",
                "public, max-age=31536000, immutable",
                STYLE,
            ),
            Route::MethodNotAllowed => {
                let mut response =
                    error_response(StatusCode::METHOD_NOT_ALLOWED, "method not allowed");
                response
                    .headers_mut()
                    .insert(ALLOW, http::HeaderValue::from_static("GET, HEAD, POST, PUT"));
                response
            }
            Route::BadRequest(reason) => error_response(StatusCode::BAD_REQUEST, reason),
            Route::Order | Route::Return | Route::Reprice(_) | Route::NotFound => {
                error_response(StatusCode::NOT_FOUND, "no such page")
            }
        })
    }
}

/// Returns an error as JSON that no cache stores.
pub(crate) fn error_response(status: StatusCode, reason: &str) -> HttpResponse {
    let body = serde_json::json!({ "error": reason }).to_string();
    response(status, "application/json", "no-store", body)
}

/// Confirms to a program that its write is committed.
pub(crate) fn write_done() -> HttpResponse {
    response(StatusCode::OK, "application/json", "no-store", "{\"done\":true}")
}

/// Redirects a browser that posted a form to a page.
pub(crate) fn see_other(location: &str) -> HttpResponse {
    let mut response = response(StatusCode::SEE_OTHER, "text/plain", "no-store", "");
    if let Ok(location) = http::HeaderValue::from_str(location) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

fn product(item: &Item, categories: &[(u32, String)]) -> HttpResponse {
    let (stock_class, stock_text) = match item.stock {
        0 => ("none", "Sold out".to_owned()),
        1..=5 => ("stock", format!("Only {} left", item.stock)),
        stock => ("stock", format!("{stock} in stock")),
    };
    let main = format!(
        "<article class=\"product\" data-product=\"{id}\" data-price-cents=\"{cents}\" data-stock=\"{stock}\" \
         data-name=\"{name}\"><div class=\"shot\" style=\"--hue:{hue}\"></div><div>\
         <p class=\"sku\"><a href=\"/c/{category}\">{category_name}</a> · {sku}</p><h1>{name}</h1>\
         <p class=\"price\">{price}</p><p>{description}</p><p class=\"{stock_class}\">{stock_text}</p>\
         <form method=\"post\" action=\"/order\"><input type=\"hidden\" name=\"product\" value=\"{id}\">\
         <input type=\"hidden\" name=\"quantity\" value=\"1\"><button{disabled}>Buy one</button></form>\
         </div></article>",
        id = item.id,
        cents = item.price_cents,
        stock = item.stock,
        name = escape(&item.name),
        hue = item.id * 47 % 360,
        category = item.category,
        category_name = escape(&item.category_name),
        sku = escape(&item.sku),
        price = money(item.price_cents, &item.currency),
        description = escape(&item.description),
        disabled = if item.stock == 0 { " disabled" } else { "" },
    );
    let keys = format!("product-{}", item.id);
    html(StatusCode::OK, &page(&item.name, categories, &main), SHARED, &keys)
}

fn category(shown: &CategoryPage, categories: &[(u32, String)]) -> HttpResponse {
    let mut main = format!("<h1>{}</h1>{}<p>", escape(&shown.name), grid(&shown.tiles));
    for number in 1..=shown.pages {
        if number == shown.page {
            let _ = write!(main, " <b>{number}</b>");
        } else {
            let _ = write!(main, " <a href=\"/c/{}?page={number}\">{number}</a>", shown.id);
        }
    }
    main.push_str("</p>");
    let keys = format!("category-{} {}", shown.id, listing_keys(&shown.tiles));
    html(StatusCode::OK, &page(&shown.name, categories, &main), SHARED, &keys)
}

/// Returns a page fragment for inclusion in other pages.
fn recommended(Recommended { category, products }: &Recommended) -> HttpResponse {
    let mut part = String::from("<ul class=\"recommended\">");
    for (tile, stock) in products {
        let _ = write!(
            part,
            "<li data-product=\"{id}\" data-price-cents=\"{cents}\" data-stock=\"{stock}\" \
             data-name=\"{name}\"><a href=\"/p/{id}\">{name}</a> {price}, {stock} left</li>",
            id = tile.id,
            cents = tile.price_cents,
            name = escape(&tile.name),
            price = money(tile.price_cents, &tile.currency),
        );
    }
    part.push_str("</ul>");
    let tiles =
        products.iter().map(|(tile, _)| format!(" listing-{}", tile.id)).collect::<String>();
    html(StatusCode::OK, &part, SHARED, &format!("recommended-{category}{tiles}"))
}

fn not_found(categories: &[(u32, String)]) -> HttpResponse {
    let main = "<h1>Not here</h1><p>We have looked on every shown.</p>";
    html(StatusCode::NOT_FOUND, &page("Not here", categories, main), "no-store", "")
}

fn grid(tiles: &[Tile]) -> String {
    let mut grid = String::with_capacity(64 + tiles.len() * 240);
    grid.push_str("<div class=\"grid\">");
    for tile in tiles {
        let _ = write!(
            grid,
            "<a class=\"tile\" href=\"/p/{id}\" data-product=\"{id}\" data-price-cents=\"{cents}\" \
             data-name=\"{name}\"><i style=\"--hue:{hue}\"></i><h3>{name}</h3>\
             <span class=\"price\">{price}</span></a>",
            id = tile.id,
            cents = tile.price_cents,
            name = escape(&tile.name),
            hue = tile.id * 47 % 360,
            price = money(tile.price_cents, &tile.currency),
        );
    }
    grid.push_str("</div>");
    grid
}

/// Returns the surrogate keys of a page that lists products. Such a page shows names and prices but no
/// stock, so its keys differ from those of a product page.
fn listing_keys(tiles: &[Tile]) -> String {
    let keys: Vec<String> = tiles.iter().map(|tile| format!("listing-{}", tile.id)).collect();
    keys.join(" ")
}

fn api(view: Api, item: &Item) -> String {
    match view {
        Api::Price => {
            serde_json::json!({ "price_cents": item.price_cents, "currency": item.currency })
        }
        Api::Stock => serde_json::json!({ "stock": item.stock }),
        Api::Product => serde_json::json!({
            "id": item.id, "sku": item.sku, "name": item.name, "category_id": item.category,
            "price_cents": item.price_cents, "currency": item.currency, "stock": item.stock,
        }),
    }
    .to_string()
}

fn html(status: StatusCode, body: &str, cache: &'static str, keys: &str) -> HttpResponse {
    with_surrogate_keys(response(status, "text/html; charset=utf-8", cache, body.to_owned()), keys)
}

fn json(status: StatusCode, body: &str, cache: &'static str, product: u32) -> HttpResponse {
    with_surrogate_keys(
        response(status, "application/json", cache, body.to_owned()),
        &format!("product-{product}"),
    )
}

fn with_surrogate_keys(mut response: HttpResponse, keys: &str) -> HttpResponse {
    if !keys.is_empty() {
        let keys = http::HeaderValue::from_str(keys).expect("keys are ASCII words and numbers");
        response.headers_mut().insert("surrogate-key", keys);
    }
    response
}

fn response(
    status: StatusCode,
    content_type: &'static str,
    cache: &'static str,
    body: impl Into<Bytes>,
) -> HttpResponse {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, http::HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, http::HeaderValue::from_static(cache));
    response
}
