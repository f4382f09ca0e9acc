//! The auditor of pages compares stored pages with the upstream.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::support::{Edge, Upstream, epoch, respond};
use coherence::Lsn;
use edge::{PageAuditor, RouteConfig, Routes};
use prometheus_client::registry::Registry;

/// The time limit of every expected event.
const DEADLINE: Duration = Duration::from_secs(20);

const SHARED: &[(&str, &str)] =
    &[("cache-control", "public, max-age=600"), ("surrogate-key", "product-42")];

/// An upstream whose page shows the number, and under `/volatile` the number of the request too.
async fn upstream() -> (Upstream, Arc<AtomicU64>) {
    let (shown, requests) = (Arc::new(AtomicU64::new(1)), AtomicU64::new(0));
    let number = Arc::clone(&shown);
    let upstream = Upstream::start(move |request| {
        let stock = number.load(Ordering::SeqCst);
        let token = requests.fetch_add(1, Ordering::SeqCst);
        let response = match request.uri().path() {
            "/volatile" => respond(200, SHARED, format!("<i>{token}</i>\nstock {stock}")),
            "/private" => respond(200, &[("cache-control", "max-age=600")], format!("{token}")),
            _ => respond(200, SHARED, format!("price 1\nstock {stock}")),
        };
        async move { response }
    })
    .await;
    (upstream, shown)
}

fn audit(edge: &Edge) -> Arc<PageAuditor> {
    let tables = Arc::new(|_| Some(vec!["products".to_owned(), "stock".to_owned()]));
    let auditor = Arc::new(edge.gateway.audit_pages(1_000.0, tables, &mut Registry::default()));
    let running = Arc::clone(&auditor);
    tokio::spawn(async move { running.run().await });
    auditor
}

/// Requests pages while the log is sampled, until the condition holds.
async fn request_until(edge: &Edge, paths: &[&str], holds: impl Fn() -> bool) {
    let begun = edge.clock.mono();
    while !holds() {
        assert!(edge.clock.mono().since(begun) < DEADLINE, "not within {DEADLINE:?}");
        edge.engine.sample(epoch().log(), edge.clock.mono(), Lsn(1));
        for path in paths {
            edge.get(path).await;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn change_without_event_names_table() {
    let (upstream, stock) = upstream().await;
    let edge = Edge::start(&upstream).await;
    let auditor = audit(&edge);
    request_until(&edge, &["/p/42"], || auditor.report().agreed > 0).await;
    // The page's tag covers the products, and the stock is in another table.
    stock.store(2, Ordering::SeqCst);
    request_until(&edge, &["/p/42"], || auditor.report().changed > 0).await;
    let report = auditor.report();
    let finding = &report.findings[0];
    assert_eq!((finding.url.as_str(), finding.route.as_str()), ("shop.example/p/42", "page"));
    assert_eq!((finding.line, finding.offset), (2, "price 1\nstock ".len()));
    assert_eq!((finding.stored.as_str(), finding.upstream.as_str()), ("1", "2"));
    assert_eq!(finding.tables, Some(vec!["stock".to_owned()]));
    assert!(finding.broken && finding.proof == "log", "{finding:?}");
    assert!(finding.advice().contains("`stock` changed"), "{}", finding.advice());
}

#[tokio::test]
async fn invalidated_page_is_no_finding() {
    let (upstream, stock) = upstream().await;
    let edge = Edge::start(&upstream).await;
    let auditor = audit(&edge);
    request_until(&edge, &["/p/42"], || auditor.report().agreed > 0).await;
    stock.store(2, Ordering::SeqCst);
    edge.commit(2, "product-42").await;
    let compared = auditor.report().compared;
    request_until(&edge, &["/p/42"], || auditor.report().compared > compared + 3).await;
    let report = auditor.report();
    assert_eq!((report.changed, report.volatile, report.broken), (0, 0, 0), "{report:?}");
}

#[tokio::test]
async fn ignored_parts_may_change() {
    let (upstream, _) = upstream().await;
    let ignoring = Edge::with_options(upstream.address, |options| {
        let ignored = vec!["<i>[0-9]+</i>".to_owned()];
        let route = RouteConfig {
            path: "/volatile".into(),
            audit_ignore: ignored,
            ..RouteConfig::default()
        };
        options.routes = Routes::new(&[route]).expect("a route");
    })
    .await;
    let auditor = audit(&ignoring);
    request_until(&ignoring, &["/volatile"], || auditor.report().agreed > 2).await;
    assert!(auditor.report().findings.is_empty());

    let edge = Edge::start(&upstream).await;
    let auditor = audit(&edge);
    request_until(&edge, &["/volatile"], || auditor.report().volatile > 0).await;
    let finding = &auditor.report().findings[0];
    assert!(finding.volatile && !finding.broken, "{finding:?}");
    assert!(finding.advice().contains("audit_ignore"), "{}", finding.advice());
}

#[tokio::test]
async fn page_not_shared_never_audited() {
    let (upstream, _) = upstream().await;
    let edge = Edge::start(&upstream).await;
    let auditor = audit(&edge);
    request_until(&edge, &["/private", "/p/42"], || auditor.report().agreed > 3).await;
    let report = auditor.report();
    assert_eq!(report.agreed, report.compared, "the other page differs each time: {report:?}");
}
