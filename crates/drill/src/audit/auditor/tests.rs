use std::time::Instant;

use bytes::Bytes;

use super::*;
use crate::audit::oracle::Version;
use crate::page::Page;

/// Product 1 costs 100, then 120 from `start + 1 s`, then 100 again from `start + 5 s`; product 2
/// always costs 70.
struct FixedHistory {
    start: Instant,
}

impl Oracle for FixedHistory {
    fn catch_up(&self) -> anyhow::Result<()> {
        Ok(())
    }

    fn versions(
        &self,
        product: u32,
        field: Field,
        visit: &mut dyn FnMut(Version<'_>) -> ControlFlow<()>,
    ) {
        let at = |seconds| self.start + Duration::from_secs(seconds);
        let version = |number, from, until: Option<u64>| Version {
            value: Value::Number(number),
            from: at(from),
            until: until.map(at),
        };
        let prices = match (product, field) {
            (1, Field::Price) => {
                vec![version(100, 5, None), version(120, 1, Some(5)), version(100, 0, Some(1))]
            }
            (2, Field::Price) => vec![version(70, 0, None)],
            _ => vec![],
        };
        let _ = prices.into_iter().try_for_each(visit);
    }
}

/// Returns the findings about one response, requested at `start + sent_ms` and received 10 ms later.
fn audit(page: Page, body: &'static str, sent_ms: u64) -> Findings {
    let start = now();
    let auditor = Auditor::new(Arc::new(FixedHistory { start }), StalenessBudgets::default(), 1);
    let sent = start + Duration::from_millis(sent_ms);
    let (sender, receiver) = std::sync::mpsc::channel();
    let received = sent + Duration::from_millis(10);
    sender
        .send(AuditSample {
            target: 0,
            page,
            sent,
            received,
            body: Bytes::from_static(body.as_bytes()),
        })
        .expect("the receiver is here");
    drop(sender);
    auditor.run(&receiver);
    auditor.findings(0)
}

#[test]
fn current_value_not_stale() {
    let findings = audit(Page::Price(1), r#"{"price_cents":120}"#, 2000);
    assert_eq!((findings.audited, findings.beyond_contract), (1, 0));
    assert_eq!(findings.worst_staleness, Duration::ZERO);
}

#[test]
fn staleness_counted_from_replacement() {
    let findings = audit(Page::Price(1), r#"{"price_cents":100}"#, 4500);
    assert_eq!(findings.beyond_contract, 1);
    assert_eq!(findings.worst_staleness, Duration::from_millis(3500));
    assert!(findings.examples[0].contains("price 100 of product 1"), "{:?}", findings.examples);
}

#[test]
fn staleness_within_contract_allowed() {
    let findings = audit(Page::Price(1), r#"{"price_cents":100}"#, 1900);
    assert_eq!(findings.beyond_contract, 0);
    assert_eq!(findings.worst_staleness, Duration::from_millis(900));
}

#[test]
fn recurring_value_uses_latest_version() {
    let findings = audit(Page::Price(1), r#"{"price_cents":100}"#, 6000);
    assert_eq!((findings.beyond_contract, findings.worst_staleness), (0, Duration::ZERO));
}

#[test]
fn never_committed_value_is_wrong() {
    let findings = audit(Page::Price(2), r#"{"price_cents":71}"#, 1000);
    assert_eq!((findings.wrong, findings.beyond_contract), (1, 1));
}

#[test]
fn value_shown_before_commit_is_wrong() {
    let findings = audit(Page::Price(1), r#"{"price_cents":120}"#, 500);
    assert_eq!((findings.wrong, findings.beyond_contract), (1, 1));
}

#[test]
fn listing_budget_wider_than_page_budget() {
    let page = "<a data-product=\"2\" data-price-cents=\"70\"></a>\
                <a data-product=\"1\" data-price-cents=\"100\"></a>";
    let category = Page::Category { id: 1, page: 1 };
    let listed = audit(category, page, 4900);
    assert_eq!(listed.beyond_contract, 0);
    let worst = Some(Duration::from_millis(3900));
    assert_eq!(listed.worst_by_kind, [None, None, worst, None]);
    assert_eq!(audit(Page::Product(1), page, 4900).beyond_contract, 1);
}

#[test]
fn response_without_value_unreadable() {
    let findings = audit(Page::Price(1), "upstream failed", 1000);
    assert_eq!((findings.audited, findings.unreadable), (0, 1));
}
