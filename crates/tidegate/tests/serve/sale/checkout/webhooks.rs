//! Events of the provider.

use serde_json::json;

use super::rehearsal::{Rehearsal, SECRET, hold, pay_persistently};
use crate::sale::stand::kind;
use crate::stack::DEADLINE;

/// Events arrive before the reply, twice, late and in any order: they say only which payment to look at.
#[test]
fn repeated_and_reordered_events_change_nothing() {
    let shop = Rehearsal::start();
    let (node, client) = shop.node();
    shop.faults(&json!({
        "lose_share": 0.3,
        "webhooks": { "to": node.sale.to_string(), "path": "/v1/webhooks/card", "secret": SECRET,
            "copies": 3, "delay_ms": 300 },
    }));
    for n in 0..8 {
        let hold = hold(&client, &format!("c{n}"));
        assert_eq!(pay_persistently(&client, &format!("k{n}"), &hold, "pm_card").status, 201);
    }
    let noted = "select count(*) from tidegate.webhook";
    let all = || Ok((shop.stand.count(noted) == 16).then_some(()));
    harness::until("an event for each operation", DEADLINE, all).expect("noted");
    shop.faults(&json!({}));
    assert_eq!((shop.executed("capture").len(), shop.paid()), (8, 8 * 1_999));
    shop.check();
}

#[test]
fn unsigned_event_refused() {
    let shop = Rehearsal::start();
    let (_node, client) = shop.node();
    let event = json!({ "id": "evt_1", "data": { "object": { "object": "payment_intent", "id": "pi_1" } } });
    let sent = |path: &str| client.send("POST", path, None, &event).expect("an answer");
    let unsigned = sent("/v1/webhooks/card");
    assert_eq!((unsigned.status, &*kind(&unsigned)), (400, "webhook-refused"));
    assert_eq!(kind(&sent("/v1/webhooks/none")), "invalid-request");
    assert_eq!(shop.stand.count("select count(*) from tidegate.webhook"), 0);
}
