//! Tests the shop from outside: pages, API, orders and history.

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use shop::{Catalogue, OrderLine, Outcome, Product, Shop, ShopOptions, ShopServer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

struct TestShop {
    shop: Shop,
    server: ShopServer,
    _folder: tempfile::TempDir,
}

/// Opens a shop with a red lantern (id 1), a blue mug (id 2) and a product whose name contains HTML
/// (id 3).
async fn open_shop() -> TestShop {
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
    options.render_time = Duration::ZERO;
    let shop = Shop::open(options, &catalogue).expect("a shop");
    let server = shop.serve(TcpListener::bind("127.0.0.1:0").await.expect("a free port"));
    TestShop { shop, server, _folder: folder }
}

impl TestShop {
    /// Returns status, head in lower case, and body.
    async fn send(&self, request: &str) -> (u16, String, String) {
        let mut stream = TcpStream::connect(self.server.address()).await.expect("it listens");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut response = Vec::new();
        stream.read_to_end(&mut response).await.expect("answered");
        let response = String::from_utf8(response).expect("text");
        let (head, body) = response.split_once("\r\n\r\n").expect("a head");
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
async fn product_page_names_surrogate_key() {
    let test_shop = open_shop().await;
    for path in ["/p/1", "/p/10001"] {
        let (status, head, body) = test_shop.get(path).await;
        assert_eq!(status, 200);
        assert!(head.contains("cache-control: public, s-maxage=60"), "{head}");
        assert!(head.contains("surrogate-key: product-1"), "{head}");
        assert!(body.contains("data-price-cents=\"255\" data-stock=\"5\""), "{body}");
        assert!(body.contains("£2.55") && body.contains("Only 5 left"), "{body}");
    }
}

#[tokio::test]
async fn product_names_escaped_in_html() {
    let (_, _, body) = open_shop().await.get("/p/3").await;
    assert!(body.contains("&lt;B&gt;&quot;Tom &amp; Co&quot;&lt;/B&gt;"), "{body}");
    assert!(!body.contains("<B>"));
}

#[tokio::test]
async fn listings_name_each_shown_product() {
    let test_shop = open_shop().await;
    let (_, head, body) = test_shop.get("/search?q=lant").await;
    assert!(head.contains("surrogate-key: listing-1\r\n") || head.ends_with("listing-1"), "{head}");
    assert!(body.contains("Red Lantern") && !body.contains("Blue Mug"), "{body}");
    let (_, head, body) = test_shop.get("/").await;
    assert!(head.contains("surrogate-key: listing-1 listing-2 listing-3"), "{head}");
    assert!(body.contains("data-product=\"2\" data-price-cents=\"125\""), "{body}");
    let (status, head, _) = test_shop.get("/c/1").await;
    assert_eq!(status, 200);
    assert!(head.contains("surrogate-key: category-1 listing-"), "{head}");
}

#[tokio::test]
async fn cart_and_checkout_are_private() {
    let test_shop = open_shop().await;
    for path in ["/cart", "/checkout"] {
        let (status, head, _) = test_shop.get(path).await;
        assert_eq!(status, 200);
        assert!(head.contains("cache-control: private, no-store") && head.contains("set-cookie:"));
        assert!(!head.contains("surrogate-key"));
    }
}

#[tokio::test]
async fn malformed_requests_get_client_errors() {
    let test_shop = open_shop().await;
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
        assert_eq!(test_shop.get(path).await.0, status, "{path}");
    }
    for (path, body, status) in [
        ("/order", "{\"lines\":[{\"product\":1,\"quantity\":99}]}", 409),
        ("/order", "{\"lines\":[{\"product\":99,\"quantity\":1}]}", 400),
        ("/order", "{\"lines\":[{\"product\":-1,\"quantity\":1}]}", 400),
        ("/order", "{\"lines\":", 400),
        ("/admin/price/1", "{\"price_cents\":-5}", 400),
        ("/p/1", "", 405),
    ] {
        assert_eq!(test_shop.post(path, body).await.0, status, "{path} {body}");
    }
    assert_eq!(test_shop.get("/p/1").await.0, 200);
}

#[tokio::test]
async fn order_lowers_stock_never_below_zero() {
    let test_shop = open_shop().await;
    let order = "{\"lines\":[{\"product\":1,\"quantity\":2},{\"product\":2,\"quantity\":3}]}";
    assert_eq!(test_shop.post("/order", order).await.0, 200);
    assert_eq!(test_shop.get("/api/stock/1").await.2, "{\"stock\":3}");
    // The second line cannot be sold, so the first is not sold either.
    assert_eq!(test_shop.post("/order", order).await.0, 409);
    assert_eq!(test_shop.get("/api/stock/1").await.2, "{\"stock\":3}");
    assert_eq!(
        test_shop.post("/return", "{\"lines\":[{\"product\":2,\"quantity\":1}]}").await.0,
        200
    );
    assert_eq!(test_shop.get("/api/stock/2").await.2, "{\"stock\":1}");
    let (status, head, _) = test_shop.post("/order", "product=2&quantity=1").await;
    assert!(status == 303 && head.contains("location: /p/2"), "a browser goes back: {head}");
    assert_eq!(test_shop.get("/api/stock/2").await.2, "{\"stock\":0}");
    assert!(test_shop.get("/p/2").await.2.contains("Sold out"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_orders_never_oversell() {
    let test_shop = open_shop().await;
    let buyers = (0..20).map(|_| {
        let shop = test_shop.shop.clone();
        tokio::task::spawn_blocking(move || shop.order(&[OrderLine { product: 1, quantity: 1 }]))
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
async fn hooks_called_for_shop_writes_only() {
    let test_shop = open_shop().await;
    let changed = Arc::new(Mutex::new(Vec::new()));
    let record = Arc::clone(&changed);
    test_shop
        .shop
        .on_write(move |products| record.lock().expect("unpoisoned").extend_from_slice(products));
    test_shop.shop.reprice(2, 130).expect("repriced");
    let script = test_shop.shop.script().expect("a script");
    assert_eq!(script.reprice(&[(1, 260), (99, 1)]).expect("repriced"), 1);
    test_shop.shop.order(&[OrderLine { product: 9, quantity: 1 }]).expect("refused, not failed");
    assert_eq!(*changed.lock().expect("unpoisoned"), [2]);
    assert_eq!(test_shop.get("/api/price/1").await.2, "{\"price_cents\":260,\"currency\":\"GBP\"}");
}

#[tokio::test]
async fn ground_truth_includes_all_writers() {
    let test_shop = open_shop().await;
    let truth = test_shop.shop.ground_truth();
    test_shop.shop.reprice(1, 300).expect("repriced");
    let script = test_shop.shop.script().expect("a script");
    script.reprice(&[(1, 310)]).expect("repriced");
    // A write by a database tool notifies nothing, so it is included after the next catch-up.
    let outsider = rusqlite::Connection::open(test_shop.shop.path()).expect("a connection");
    outsider.execute("update products set price_cents = 320 where id = 1", []).expect("updated");
    truth.catch_up().expect("read");
    let mut prices = Vec::new();
    truth.prices(1, &mut |version| {
        prices.push((version.value, version.until.is_none()));
        assert!(version.until.is_none_or(|until| until >= version.from));
        ControlFlow::Continue(())
    });
    assert_eq!(prices, [(320, true), (310, false), (300, false), (255, false)]);
}

#[tokio::test]
async fn reopened_shop_keeps_its_data() {
    let test_shop = open_shop().await;
    test_shop.shop.reprice(1, 300).expect("repriced");
    let options = ShopOptions::at(test_shop.shop.path());
    let again = Shop::open(options, &Catalogue::generated(10, 1)).expect("the same shop");
    let mut newest = None;
    again.ground_truth().prices(1, &mut |version| {
        newest = Some(version.value);
        ControlFlow::Break(())
    });
    assert_eq!(newest, Some(300));
}

#[tokio::test]
async fn each_server_counts_its_own_requests() {
    let test_shop = open_shop().await;
    let other = test_shop.shop.serve(TcpListener::bind("127.0.0.1:0").await.expect("a free port"));
    test_shop.get("/p/1").await;
    test_shop.get("/p/2").await;
    assert_eq!((test_shop.server.requests(), other.requests()), (2, 0));
}

#[tokio::test]
async fn recommendations_name_their_category() {
    let test_shop = open_shop().await;
    let (status, head, body) = test_shop.get("/recommended/1").await;
    assert_eq!(status, 200);
    assert!(!body.contains("data-product=\"1\""), "not the product itself: {body}");
    assert!(head.contains("surrogate-key: recommended-"), "{head}");
    assert_eq!(test_shop.get("/recommended/99").await.0, 404);
}

#[tokio::test]
async fn full_backlog_gets_503() {
    let folder = tempfile::tempdir().expect("a folder");
    let catalogue = Catalogue::of("GBP", vec![Product::named("1", "RED LANTERN", 255, 5)]);
    let options = ShopOptions {
        render_time: Duration::from_millis(300),
        workers: 1,
        backlog: Some(1),
        ..ShopOptions::at(folder.path().join("shop.db"))
    };
    let shop = Shop::open(options, &catalogue).expect("a shop");
    let server = shop.serve(TcpListener::bind("127.0.0.1:0").await.expect("a free port"));
    let test_shop = Arc::new(TestShop { shop, server, _folder: folder });
    let shoppers: Vec<_> = (0..8)
        .map(|_| {
            let test_shop = Arc::clone(&test_shop);
            tokio::spawn(async move { test_shop.get("/p/1").await.0 })
        })
        .collect();
    let mut statuses = Vec::new();
    for shopper in shoppers {
        statuses.push(shopper.await.expect("answered"));
    }
    let served = statuses.iter().filter(|status| **status == 200).count();
    let rejected = statuses.iter().filter(|status| **status == 503).count();
    assert_eq!(served + rejected, 8, "{statuses:?}");
    assert!(served >= 1 && rejected >= 1, "{statuses:?}");
}
