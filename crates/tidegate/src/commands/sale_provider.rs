//! `tidegate sale provider` and `tidegate sale reconcile`

use std::net::SocketAddr;
use std::sync::Arc;

use cache::SystemClock;
use coherence::Clock;
use sale::{Difference, Payments, SaleOptions, reconcile};
use serde_json::json;
use tokio::net::TcpListener;

use crate::exit::Exit;
use crate::terminal::print;

/// Serves a payment provider for rehearsals.
pub(super) async fn provider(listen: SocketAddr) -> Result<Exit, String> {
    let failed = |err: std::io::Error| format!("{listen}: {err}");
    let listener = TcpListener::bind(listen).await.map_err(failed)?;
    let at = listener.local_addr().map_err(failed)?;
    print(format_args!("a payment provider that moves no money: http://{at}, its ledger: /ledger"));
    drill::provider::serve(listener).await.map_err(failed)?;
    Ok(Exit::Good)
}

/// Compares checkouts with the providers' records.
pub(super) async fn compare(options: &SaleOptions, hours: u32, json: bool) -> Result<Exit, String> {
    let failed = |err: &dyn std::fmt::Display| format!("[sale] {}: {err}", options.url);
    let ledger = options.open().await.map_err(|err| failed(&err))?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
    let payments = Payments::new(&options.payments, options.payment_patience, &clock);
    let within_ms = i64::from(hours) * 60 * 60 * 1_000;
    let now_seconds = clock.wall_ms() / 1_000;
    let found = reconcile(&*ledger, &payments, within_ms, now_seconds).await;
    let found = found.map_err(|err| failed(&err))?;
    let (verdict, exit) = match (found.differences.is_empty(), found.unknown.is_empty()) {
        (false, _) => ("bad", Exit::Bad),
        (true, false) => ("unknown", Exit::Environment),
        (true, true) => ("good", Exit::Good),
    };
    if json {
        let mut body = json!(found);
        body["verdict"] = verdict.into();
        print(body);
        return Ok(exit);
    }
    for Difference { kind, subject, detail, repair } in &found.differences {
        print(format_args!("{kind}: {subject}: {detail}; repair: {repair}"));
    }
    for unknown in &found.unknown {
        print(format_args!("not compared: {unknown}"));
    }
    print(format_args!(
        "{} checkouts and {} payments compared, {} differences",
        found.checkouts,
        found.payments,
        found.differences.len()
    ));
    Ok(exit)
}
