//! The shop from outside: its pages, its API, its books.

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use shop::{Catalogue, Front, Line, Outcome, Product, Shop, ShopOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

struct Street {
    shop: Shop,
    front: Front,
    _folder: tempfile::TempDir,
}

/// A shop with a red lantern (id 1), a blue mug (id 2) and an oddly named thing (id 3).
async fn street() -> Street {
    let folder = tempfile::tempdir().expect("a folder");
    let catalogue = Catalogue::of(
        "GBP",
        vec![
            Product::named("10001", "RED LANTERN", 255, 5),
            Product::named("10002", "BLUE MUG", 125, 3),
            Product::named("10003A", "<b>\"TOM & CO\"</b>", 99, 1),
        ],
    );
    let mut options = ShopOptions::at(folder.path().join("shop.db"));
    options.render = Duration::ZERO;
    let shop = Shop::open(options, &catalogue).expect("a shop");
    let front = shop.serve(TcpListener::bind("127.0.0.1:0").await.expect("a free port"));
    Street { shop, front, _folder: folder }
}

impl Street {
    /// Status, head in lower case, body.
    async fn send(&self, request: &str) -> (u16, String, String) {
        let mut stream = TcpStream::connect(self.front.address()).await.expect("it listens");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.expect("answered");
        let answer = String::from_utf8(answer).expect("text");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        let status =
            head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        (status, head.to_lowercase(), body.to_owned())
    }

    async fn get(&self, path: &str) -> (u16, String, String) {
        self.send(&format!("GET {path} HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n\r\n")).await
    }

    async fn post(&self, path: &str, body: &str) -> (u16, String, String) {
        let length = body.len();
        self.send(&format!(
            "POST {path} HTTP/1.1\r\nhost: shop\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
        ))
        .await
    }
}

#[tokio::test]
async fn a_product_page_shows_the_product_and_names_what_it_depends_on() {
    let street = street().await;
    for path in ["/p/1", "/p/10001"] {
        let (status, head, body) = street.get(path).await;
        assert_eq!(status, 200);
        assert!(head.contains("cache-control: public, s-maxage=60"), "{head}");
        assert!(head.contains("surrogate-key: product-1"), "{head}");
        assert!(body.contains("data-price-cents=\"255\" data-stock=\"5\""), "{body}");
        assert!(body.contains("£2.55") && body.contains("Only 5 left"), "{body}");
    }
}

#[tokio::test]
async fn names_cannot_break_out_of_a_page() {
    let (_, _, body) = street().await.get("/p/3").await;
    assert!(body.contains("&lt;B&gt;&quot;Tom &amp; Co&quot;&lt;/B&gt;"), "{body}");
    assert!(!body.contains("<B>"));
}

#[tokio::test]
async fn lists_and_search_name_every_product_they_show() {
    let street = street().await;
    let (_, head, body) = street.get("/search?q=lant").await;
    assert!(head.contains("surrogate-key: listing-1\r\n") || head.ends_with("listing-1"), "{head}");
    assert!(body.contains("Red Lantern") && !body.contains("Blue Mug"), "{body}");
    let (_, head, body) = street.get("/").await;
    assert!(head.contains("surrogate-key: listing-1 listing-2 listing-3"), "{head}");
    assert!(body.contains("data-product=\"2\" data-price-cents=\"125\""), "{body}");
    let (status, head, _) = street.get("/c/1").await;
    assert_eq!(status, 200);
    assert!(head.contains("surrogate-key: category-1 listing-"), "{head}");
}

#[tokio::test]
async fn baskets_are_private() {
    let street = street().await;
    for path in ["/cart", "/checkout"] {
        let (status, head, _) = street.get(path).await;
        assert_eq!(status, 200);
        assert!(head.contains("cache-control: private, no-store") && head.contains("set-cookie:"));
        assert!(!head.contains("surrogate-key"));
    }
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_and_the_shop_stays_open() {
    let street = street().await;
    for (path, status) in [
        ("/p/77", 404),
        ("/p/%ff", 404),
        ("/c/99", 404),
        ("/c/1?page=9", 404),
        ("/c/1?page=x", 400),
        ("/search", 400),
        ("/search?q=%22%20OR%20*%20)(", 200),
        ("/api/price/none", 404),
        ("/api/else/1", 404),
        ("/nowhere", 404),
    ] {
        assert_eq!(street.get(path).await.0, status, "{path}");
    }
    for (path, body, status) in [
        ("/order", "{\"lines\":[{\"product\":1,\"quantity\":99}]}", 409),
        ("/order", "{\"lines\":[{\"product\":99,\"quantity\":1}]}", 400),
        ("/order", "{\"lines\":[{\"product\":-1,\"quantity\":1}]}", 400),
        ("/order", "{\"lines\":", 400),
        ("/admin/price/1", "{\"price_cents\":-5}", 400),
        ("/p/1", "", 405),
    ] {
        assert_eq!(street.post(path, body).await.0, status, "{path} {body}");
    }
    assert_eq!(street.get("/p/1").await.0, 200);
}

#[tokio::test]
async fn an_order_takes_from_stock_and_never_below_zero() {
    let street = street().await;
    let order = "{\"lines\":[{\"product\":1,\"quantity\":2},{\"product\":2,\"quantity\":3}]}";
    assert_eq!(street.post("/order", order).await.0, 200);
    assert_eq!(street.get("/api/stock/1").await.2, "{\"stock\":3}");
    // The second line can't be served, so the first isn't either.
    assert_eq!(street.post("/order", order).await.0, 409);
    assert_eq!(street.get("/api/stock/1").await.2, "{\"stock\":3}");
    assert_eq!(street.post("/return", "{\"lines\":[{\"product\":2,\"quantity\":1}]}").await.0, 200);
    assert_eq!(street.get("/api/stock/2").await.2, "{\"stock\":1}");
    let (status, head, _) = street.post("/order", "product=2&quantity=1").await;
    assert!(status == 303 && head.contains("location: /p/2"), "a browser goes back: {head}");
    assert_eq!(street.get("/api/stock/2").await.2, "{\"stock\":0}");
    assert!(street.get("/p/2").await.2.contains("Sold out"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_buyers_at_once_get_no_more_than_there_is() {
    let street = street().await;
    let buyers = (0..20).map(|_| {
        let shop = street.shop.clone();
        tokio::task::spawn_blocking(move || shop.order(&[Line { product: 1, quantity: 1 }]))
    });
    let mut sold = 0;
    for buyer in buyers.collect::<Vec<_>>() {
        match buyer.await.expect("no panic").expect("no error") {
            Outcome::Done => sold += 1,
            outcome => assert_eq!(outcome, Outcome::SoldOut(1)),
        }
    }
    assert_eq!(sold, 5);
}

#[tokio::test]
async fn hooks_hear_of_the_shops_own_writes_and_not_of_scripts() {
    let street = street().await;
    let heard = Arc::new(Mutex::new(Vec::new()));
    let hears = Arc::clone(&heard);
    street
        .shop
        .on_write(move |products| hears.lock().expect("unpoisoned").extend_from_slice(products));
    street.shop.reprice(2, 130).expect("repriced");
    let script = street.shop.script().expect("a script");
    assert_eq!(script.reprice(&[(1, 260), (99, 1)]).expect("repriced"), 1);
    street.shop.order(&[Line { product: 9, quantity: 1 }]).expect("refused, not failed");
    assert_eq!(*heard.lock().expect("unpoisoned"), [2]);
    assert_eq!(street.get("/api/price/1").await.2, "{\"price_cents\":260,\"currency\":\"GBP\"}");
}

#[tokio::test]
async fn the_truth_knows_every_value_whoever_wrote_it() {
    let street = street().await;
    let truth = street.shop.truth();
    street.shop.reprice(1, 300).expect("repriced");
    let script = street.shop.script().expect("a script");
    script.reprice(&[(1, 310)]).expect("repriced");
    // Somebody with a database tool: nobody is told, so it is seen at the next look.
    let outsider = rusqlite::Connection::open(street.shop.path()).expect("a connection");
    outsider.execute("update products set price_cents = 320 where id = 1", []).expect("updated");
    truth.settle().expect("read");
    let mut prices = Vec::new();
    truth.prices(1, &mut |version| {
        prices.push((version.value, version.until.is_none()));
        assert!(version.until.is_none_or(|until| until >= version.from));
        ControlFlow::Continue(())
    });
    assert_eq!(prices, [(320, true), (310, false), (300, false), (255, false)]);
}

#[tokio::test]
async fn a_shop_opens_again_with_its_books() {
    let street = street().await;
    street.shop.reprice(1, 300).expect("repriced");
    let options = ShopOptions::at(street.shop.path());
    let again = Shop::open(options, &Catalogue::generated(10, 1)).expect("the same shop");
    let mut newest = None;
    again.truth().prices(1, &mut |version| {
        newest = Some(version.value);
        ControlFlow::Break(())
    });
    assert_eq!(newest, Some(300));
}

#[tokio::test]
async fn each_front_counts_its_own_requests() {
    let street = street().await;
    let other = street.shop.serve(TcpListener::bind("127.0.0.1:0").await.expect("a free port"));
    street.get("/p/1").await;
    street.get("/p/2").await;
    assert_eq!((street.front.requests(), other.requests()), (2, 0));
}

#[tokio::test]
async fn recommendations_show_what_can_be_bought_and_name_the_shelf() {
    let street = street().await;
    let (status, head, body) = street.get("/recommended/1").await;
    assert_eq!(status, 200);
    assert!(!body.contains("data-product=\"1\""), "not the product itself: {body}");
    assert!(head.contains("surrogate-key: recommended-"), "{head}");
    assert_eq!(street.get("/recommended/99").await.0, 404);
}

#[tokio::test]
async fn a_shop_that_can_bear_no_more_turns_shoppers_away() {
    let folder = tempfile::tempdir().expect("a folder");
    let catalogue = Catalogue::of("GBP", vec![Product::named("1", "RED LANTERN", 255, 5)]);
    let options = ShopOptions {
        render: Duration::from_millis(300),
        workers: 1,
        backlog: Some(1),
        ..ShopOptions::at(folder.path().join("shop.db"))
    };
    let shop = Shop::open(options, &catalogue).expect("a shop");
    let front = shop.serve(TcpListener::bind("127.0.0.1:0").await.expect("a free port"));
    let street = Arc::new(Street { shop, front, _folder: folder });
    let shoppers: Vec<_> = (0..8)
        .map(|_| {
            let street = Arc::clone(&street);
            tokio::spawn(async move { street.get("/p/1").await.0 })
        })
        .collect();
    let mut answers = Vec::new();
    for shopper in shoppers {
        answers.push(shopper.await.expect("answered"));
    }
    let served = answers.iter().filter(|status| **status == 200).count();
    let away = answers.iter().filter(|status| **status == 503).count();
    assert_eq!(served + away, 8, "{answers:?}");
    assert!(served >= 1 && away >= 1, "{answers:?}");
}
