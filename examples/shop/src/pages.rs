//! What the shop answers: pages for people, JSON for programs.

use std::fmt::Write;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, LOCATION, SET_COOKIE};
use http::{Response, StatusCode};
use http_body_util::Full;

use crate::error::ShopError;
use crate::html::{STYLE, escape, money, page};
use crate::read::{self, Item, Recommended, Shelf, Tile};
use crate::route::{Api, Route};
use crate::shop::Shop;

pub(crate) type Answer = Response<Full<Bytes>>;

/// Pages that any cache may keep for a minute.
const SHARED: &str = "public, s-maxage=60";
/// Pages of one shopper.
const PRIVATE: &str = "private, no-store";

impl Shop {
    /// Answers everything that only reads.
    pub(crate) fn show(&self, route: &Route) -> Result<Answer, ShopError> {
        Ok(match route {
            Route::Home => {
                let (categories, tiles) = self.read(|connection| {
                    Ok((read::categories(connection)?, read::first_products(connection, 12)?))
                })?;
                let main = format!("<h1>Picked for you</h1>{}", grid(&tiles));
                html(StatusCode::OK, &page("Welcome", &categories, &main), SHARED, &listed(&tiles))
            }
            Route::Product(handle) => {
                let (categories, item) = self.read(|connection| {
                    Ok((read::categories(connection)?, read::item(connection, handle)?))
                })?;
                match item {
                    Some(item) => product(&item, &categories),
                    None => missing(&categories),
                }
            }
            Route::Category { id, page } => {
                let (categories, shelf) = self.read(|connection| {
                    Ok((read::categories(connection)?, read::shelf(connection, *id, *page)?))
                })?;
                match shelf {
                    Some(shelf) => category(&shelf, &categories),
                    None => missing(&categories),
                }
            }
            Route::Recommended(id) => {
                match self.read(|connection| read::recommended(connection, *id))? {
                    Some(found) => recommended(&found),
                    None => refusal(StatusCode::NOT_FOUND, "no such product"),
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
                html(StatusCode::OK, &page("Search", &categories, &main), SHARED, &listed(&tiles))
            }
            Route::Api(view, handle) => {
                match self.read(|connection| read::item(connection, handle))? {
                    Some(item) => json(StatusCode::OK, &api(*view, &item), SHARED, item.id),
                    None => refusal(StatusCode::NOT_FOUND, "no such product"),
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
                let mut answer =
                    html(StatusCode::OK, &page(title, &categories, &main), PRIVATE, "");
                answer.headers_mut().insert(
                    SET_COOKIE,
                    http::HeaderValue::from_static("basket=open; Path=/; HttpOnly; SameSite=Lax"),
                );
                answer
            }
            Route::Style => answer(
                StatusCode::OK,
                "text/css; charset=utf-8",
                "public, max-age=31536000, immutable",
                STYLE,
            ),
            Route::WrongMethod => {
                let mut answer = refusal(StatusCode::METHOD_NOT_ALLOWED, "not that way");
                answer
                    .headers_mut()
                    .insert(ALLOW, http::HeaderValue::from_static("GET, HEAD, POST, PUT"));
                answer
            }
            Route::BadRequest(reason) => refusal(StatusCode::BAD_REQUEST, reason),
            Route::Order | Route::Return | Route::Reprice(_) | Route::Missing => {
                refusal(StatusCode::NOT_FOUND, "no such page")
            }
        })
    }
}

/// A short answer in JSON that no cache keeps.
pub(crate) fn refusal(status: StatusCode, reason: &str) -> Answer {
    let body = serde_json::json!({ "error": reason }).to_string();
    answer(status, "application/json", "no-store", body)
}

/// Says to a program that its write is committed.
pub(crate) fn done() -> Answer {
    answer(StatusCode::OK, "application/json", "no-store", "{\"done\":true}")
}

/// Sends a browser that posted a form back to a page.
pub(crate) fn see_other(location: &str) -> Answer {
    let mut answer = answer(StatusCode::SEE_OTHER, "text/plain", "no-store", "");
    if let Ok(location) = http::HeaderValue::from_str(location) {
        answer.headers_mut().insert(LOCATION, location);
    }
    answer
}

fn product(item: &Item, categories: &[(u32, String)]) -> Answer {
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

fn category(shelf: &Shelf, categories: &[(u32, String)]) -> Answer {
    let mut main = format!("<h1>{}</h1>{}<p>", escape(&shelf.name), grid(&shelf.tiles));
    for number in 1..=shelf.pages {
        if number == shelf.page {
            let _ = write!(main, " <b>{number}</b>");
        } else {
            let _ = write!(main, " <a href=\"/c/{}?page={number}\">{number}</a>", shelf.id);
        }
    }
    main.push_str("</p>");
    let keys = format!("category-{} {}", shelf.id, listed(&shelf.tiles));
    html(StatusCode::OK, &page(&shelf.name, categories, &main), SHARED, &keys)
}

/// A part of a page, for other pages to include.
fn recommended(Recommended { category, picks }: &Recommended) -> Answer {
    let mut part = String::from("<ul class=\"recommended\">");
    for (tile, stock) in picks {
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
    let tiles = picks.iter().map(|(tile, _)| format!(" listing-{}", tile.id)).collect::<String>();
    html(StatusCode::OK, &part, SHARED, &format!("recommended-{category}{tiles}"))
}

fn missing(categories: &[(u32, String)]) -> Answer {
    let main = "<h1>Not here</h1><p>We have looked on every shelf.</p>";
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

/// Keys of a page that lists products: it shows names and prices but no stock, so it depends on
/// less than a product page does.
fn listed(tiles: &[Tile]) -> String {
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

fn html(status: StatusCode, body: &str, cache: &'static str, keys: &str) -> Answer {
    keyed(answer(status, "text/html; charset=utf-8", cache, body.to_owned()), keys)
}

fn json(status: StatusCode, body: &str, cache: &'static str, product: u32) -> Answer {
    keyed(answer(status, "application/json", cache, body.to_owned()), &format!("product-{product}"))
}

fn keyed(mut answer: Answer, keys: &str) -> Answer {
    if !keys.is_empty() {
        let keys = http::HeaderValue::from_str(keys).expect("keys are ASCII words and numbers");
        answer.headers_mut().insert("surrogate-key", keys);
    }
    answer
}

fn answer(
    status: StatusCode,
    content_type: &'static str,
    cache: &'static str,
    body: impl Into<Bytes>,
) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, http::HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, http::HeaderValue::from_static(cache));
    answer
}
