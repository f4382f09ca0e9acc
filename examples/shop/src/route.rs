//! Maps request lines to routes.

use http::Method;

/// The shop's routes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Route {
    Home,
    Product(String),
    Category { id: u32, page: u32 },
    Recommended(u32),
    Search(String),
    Api(Api, String),
    Cart,
    Checkout,
    Style,
    Order,
    Return,
    Reprice(u32),
    MethodNotAllowed,
    BadRequest(&'static str),
    NotFound,
}

/// JSON resources of one product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Api {
    Price,
    Stock,
    Product,
}

impl Route {
    pub(crate) fn of(method: &Method, uri: &http::Uri) -> Self {
        let path = uri.path().trim_matches('/');
        let query = uri.query().unwrap_or("");
        let mut segments = path.split('/');
        let (first, second, third) = (segments.next(), segments.next(), segments.next());
        if segments.next().is_some() {
            return Self::NotFound;
        }
        let is_read = matches!(*method, Method::GET | Method::HEAD);
        let is_write = matches!(*method, Method::POST | Method::PUT);
        let route = match (first, second, third) {
            (Some(""), None, None) => Self::Home,
            (Some("p"), Some(handle), None) => {
                handle_of(handle).map_or(Self::NotFound, Self::Product)
            }
            (Some("c"), Some(id), None) => match (id.parse(), page(query)) {
                (Ok(id), Some(page)) => Self::Category { id, page },
                (Err(_), _) => Self::NotFound,
                (_, None) => Self::BadRequest("page must be a number from 1"),
            },
            (Some("recommended"), Some(id), None) => {
                id.parse().map_or(Self::NotFound, Self::Recommended)
            }
            (Some("search"), None, None) => match field(query, "q") {
                Some(words) if words.len() <= 100 => Self::Search(words),
                Some(_) => Self::BadRequest("q must have at most 100 bytes"),
                None => Self::BadRequest("q is missing"),
            },
            (Some("api"), Some(view), Some(handle)) => {
                let view = match view {
                    "price" => Api::Price,
                    "stock" => Api::Stock,
                    "product" => Api::Product,
                    _ => return Self::NotFound,
                };
                handle_of(handle).map_or(Self::NotFound, |handle| Self::Api(view, handle))
            }
            (Some("cart"), None, None) => Self::Cart,
            (Some("checkout"), None, None) => Self::Checkout,
            (Some("static"), Some("style.css"), None) => Self::Style,
            (Some("order"), None, None) => {
                return if is_write { Self::Order } else { Self::MethodNotAllowed };
            }
            (Some("return"), None, None) => {
                return if is_write { Self::Return } else { Self::MethodNotAllowed };
            }
            (Some("admin"), Some("price"), Some(id)) => {
                return match id.parse() {
                    Ok(id) if is_write => Self::Reprice(id),
                    Ok(_) => Self::MethodNotAllowed,
                    Err(_) => Self::NotFound,
                };
            }
            _ => Self::NotFound,
        };
        if is_read || route == Self::NotFound { route } else { Self::MethodNotAllowed }
    }
}

/// Returns the value of `name` in a query or a form.
pub(crate) fn field(form: &str, name: &str) -> Option<String> {
    form.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        if key == name { decode(value) } else { None }
    })
}

fn page(query: &str) -> Option<u32> {
    match field(query, "page") {
        None => Some(1),
        Some(page) => page.parse().ok().filter(|page| *page > 0),
    }
}

fn handle_of(segment: &str) -> Option<String> {
    decode(segment).filter(|handle| !handle.is_empty() && handle.len() <= 64)
}

/// Decodes percent-encoding, with `+` as space. Returns `None` for malformed escapes and for text that
/// is not UTF-8.
fn decode(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits = [bytes.next()?, bytes.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            plain => plain,
        });
    }
    String::from_utf8(decoded).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(uri: &'static str) -> Route {
        Route::of(&Method::GET, &http::Uri::from_static(uri))
    }

    #[test]
    fn paths_map_to_routes() {
        assert_eq!(get("/"), Route::Home);
        assert_eq!(get("/p/42"), Route::Product("42".into()));
        assert_eq!(get("/c/7?page=2"), Route::Category { id: 7, page: 2 });
        assert_eq!(get("/recommended/7"), Route::Recommended(7));
        assert_eq!(get("/search?q=caf%C3%A9+cup"), Route::Search("café cup".into()));
        assert_eq!(get("/api/stock/42"), Route::Api(Api::Stock, "42".into()));
    }

    #[test]
    fn malformed_requests_rejected() {
        assert_eq!(get("/p/%zz"), Route::NotFound);
        assert_eq!(get("/p/"), Route::NotFound);
        assert_eq!(get("/c/x"), Route::NotFound);
        assert_eq!(get("/a/b/c/d"), Route::NotFound);
        assert!(matches!(get("/c/7?page=0"), Route::BadRequest(_)));
        assert!(matches!(get("/search"), Route::BadRequest(_)));
        assert_eq!(get("/order"), Route::MethodNotAllowed);
        assert_eq!(
            Route::of(&Method::DELETE, &http::Uri::from_static("/p/1")),
            Route::MethodNotAllowed
        );
    }
}
