//! A round: buyers and faults at the same time, then heal, drain and audit.

use std::time::Duration;

use anyhow::{Result, anyhow};
use drill::buyers::{Crowd, CrowdResult, ShopClient};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use sale::ledger::Finding;
use serde_json::{Value, json};

use super::fault::Fault;
use super::stage::SaleStage;
use crate::sale_audit::{AuditEvidence, audit};

/// The patience of buyers beyond the faults.
const PATIENCE: Duration = Duration::from_secs(60);
/// The time in which checkouts and holds that are due have to end after the faults.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(60);
const DRAIN_POLL: Duration = Duration::from_millis(200);
/// The patience with one request. It is shorter than a restart of the database: buyers press again.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(8);
const CONNECTIONS: usize = 64;
/// Processes of one machine share a clock; a commit may be seen this long after the time that it records.
const TOLERANCE: Duration = Duration::from_secs(2);

/// The options of a round.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Round {
    pub(crate) seed: u64,
    pub(crate) buyers: usize,
    /// The time of buyers and faults.
    pub(crate) span: Duration,
}

/// The outcome of a round.
pub(crate) struct RoundResult {
    pub(crate) seed: u64,
    pub(crate) crowd: CrowdResult,
    pub(crate) requests: u64,
    pub(crate) faults: Vec<&'static str>,
    pub(crate) findings: Vec<Finding>,
    /// Why the round shows nothing; empty: it does.
    pub(crate) unknown: String,
}

impl Round {
    /// Runs it.
    ///
    /// # Errors
    /// A fault could not be injected, a server did not come back, or the audit could not be made.
    pub(crate) async fn run(&self, stage: &mut SaleStage) -> Result<RoundResult> {
        let crowd = Crowd {
            seed: self.seed,
            buyers: self.buyers,
            arrivals: self.span.mul_f64(0.7),
            comes_back_after: Duration::from_secs(5).min(self.span / 2),
            give_up: Crowd::until(self.span + PATIENCE),
        };
        let journal = stage.journal.clone();
        let shop = ShopClient::new(&stage.nodes(), CONNECTIONS, ANSWER_TIMEOUT, Some(journal));
        crowd.stock_up(&shop).await.map_err(|err| anyhow!("{err}"))?;
        let visits = tokio::spawn(async move { crowd.visit(&shop).await });
        let faults = self.inject(stage).await?;
        stage.heal().await?;
        let crowd = visits.await?;
        let mut findings = drain(stage).await?;
        let requests = stage.journal.flush()?;
        let evidence = AuditEvidence {
            clients: vec![stage.clients_file()],
            is_complete: true,
            tolerance: TOLERANCE,
            provider: Some(stage.provider_url()),
            told: Vec::new(),
        };
        let audited = audit(&*stage.ledger().await?, &evidence).await;
        findings.extend(audited.map_err(|err| anyhow!("{err}"))?.findings);
        if crowd.unanswered > 0 {
            findings.push(finding(
                "buyers-are-answered",
                format!("{} buyers had no definite answer", crowd.unanswered),
            ));
        }
        let unknown = match (crowd.bought, faults.len()) {
            (0, _) => "no buyer got an order",
            (_, 0) => "no fault was injected",
            _ => "",
        };
        Ok(RoundResult {
            seed: self.seed,
            crowd,
            requests,
            faults,
            findings,
            unknown: unknown.to_owned(),
        })
    }

    /// Injects faults one after the other until the time is over, the ones in random order before they repeat.
    async fn inject(&self, stage: &mut SaleStage) -> Result<Vec<&'static str>> {
        let mut random = StdRng::seed_from_u64(self.seed ^ 0xfa17);
        let ends = Crowd::until(self.span);
        let mut injected = Vec::new();
        let mut order: Vec<Fault> = Vec::new();
        loop {
            let pause = self.span.mul_f64(random.random_range(0.03..0.12));
            tokio::time::sleep(pause).await;
            let left = ends.saturating_duration_since(Crowd::until(Duration::ZERO));
            if left.is_zero() {
                return Ok(injected);
            }
            if order.is_empty() {
                order = stage.faults();
                order.shuffle(&mut random);
            }
            let Some(fault) = order.pop() else { return Ok(injected) };
            let longest = left.min(self.span / 4);
            let done = stage.inject(fault, &mut random, longest).await;
            done.map_err(|err| err.context(format!("the fault {}", fault.word())))?;
            injected.push(fault.word());
        }
    }
}

/// Waits until no checkout is open and no hold is due.
async fn drain(stage: &SaleStage) -> Result<Vec<Finding>> {
    let ledger = stage.ledger().await?;
    let ends = Crowd::until(DRAIN_TIMEOUT);
    loop {
        let status = ledger.status().await?;
        if status.open_checkouts == 0 && status.due_holds == 0 {
            return Ok(Vec::new());
        }
        if Crowd::until(Duration::ZERO) >= ends {
            let detail = format!(
                "{} checkouts are open and {} holds are due {DRAIN_TIMEOUT:?} after the faults",
                status.open_checkouts, status.due_holds
            );
            return Ok(vec![finding("sale-drains", detail)]);
        }
        tokio::time::sleep(DRAIN_POLL).await;
    }
}

fn finding(invariant: &'static str, detail: String) -> Finding {
    let repair = "see the logs of the nodes in the folder of the drill";
    Finding { invariant, subject: "the round".to_owned(), detail, repair }
}

impl RoundResult {
    pub(crate) fn verdict(&self) -> &'static str {
        match (self.findings.is_empty(), self.unknown.is_empty()) {
            (false, _) => "bad",
            (true, false) => "unknown",
            (true, true) => "good",
        }
    }

    pub(crate) fn json(&self) -> Value {
        let CrowdResult { bought, left, unanswered } = self.crowd;
        json!({
            "seed": self.seed, "verdict": self.verdict(), "unknown": self.unknown,
            "findings": self.findings, "faults": self.faults, "requests": self.requests,
            "bought": bought, "left": left, "unanswered": unanswered,
        })
    }
}
