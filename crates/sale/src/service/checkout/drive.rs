//! Work on a leased checkout until it rests, waits, or another node has it.

use std::sync::Arc;
use std::time::Duration;

use super::draft::Draft;
use crate::ledger::{ChangeOutcome, CheckoutRecord, LedgerError};
use crate::payment::{GuardedProvider, Payment, ProviderOutcome};
use crate::rules::{CheckoutInput, CheckoutRefusal, Operation, Phase, Price, Task};
use crate::service::error::SaleError;
use crate::service::sale::Sale;

/// The time for which a hold stays active beyond each change of its checkout, in ms.
pub(super) const KEEP_HOLD_MS: i64 = 5 * 60 * 1_000;

/// The shortest and the longest mean pause before a repeat, in ms.
const PAUSES_MS: (i64, i64) = (400, 60_000);

/// The loop of one checkout: either it goes on, or it is done.
enum Turn {
    Next(Draft),
    End(CheckoutRecord),
}

impl Sale {
    /// Works on a checkout that this node has leased. Returns it as it is recorded at the end.
    ///
    /// # Errors
    /// The ledger's: another node takes it up when the lease has ended.
    pub(super) async fn drive(&self, record: CheckoutRecord) -> Result<CheckoutRecord, SaleError> {
        let is_late = record.age_ms > self.payments.patience_ms();
        let mut draft = Draft::new(record);
        if is_late {
            // Only a payment that is not authorised is given up: a refusal means that it is.
            let _ = draft.step(CheckoutInput::GiveUp);
        }
        self.drive_draft(draft).await
    }

    pub(super) async fn drive_draft(&self, mut draft: Draft) -> Result<CheckoutRecord, SaleError> {
        loop {
            let turn = match draft.state().task() {
                Task::Rest => return self.end(draft, None).await,
                Task::Order => self.place_order(draft).await?,
                Task::Resolve(operation) | Task::Call(operation) => {
                    self.operate(draft, operation).await?
                }
            };
            match turn {
                Turn::Next(next) => draft = next,
                Turn::End(record) => return Ok(record),
            }
        }
    }

    async fn operate(&self, mut draft: Draft, operation: Operation) -> Result<Turn, SaleError> {
        let Some(provider) = self.payments.get(&draft.record.provider).cloned() else {
            draft.record.reason =
                Some(format!("no provider {:?} is configured", draft.record.provider));
            return self.park(draft, Duration::from_secs(30)).await.map(Turn::End);
        };
        match draft.state().task() {
            Task::Resolve(_) if !draft.is_announced => {
                self.resolve(draft, operation, &provider).await
            }
            _ => self.call(draft, operation, &provider).await,
        }
    }

    /// Confirms the hold and records the order, together with the announcement of its capture.
    async fn place_order(&self, draft: Draft) -> Result<Turn, SaleError> {
        let mut placed = draft.clone();
        take(&mut placed, CheckoutInput::Ordered)?;
        if placed.state().task() == Task::Call(Operation::Capture) {
            announce(&mut placed, Operation::Capture)?;
        }
        let change = placed.change(Some(0), self.payments.lease_ms(), 0);
        match self.record(change).await? {
            ChangeOutcome::Recorded { ordered_at_ms } => {
                Ok(Turn::Next(placed.recorded(ordered_at_ms)))
            }
            ChangeOutcome::HoldEnded => {
                let mut released = draft;
                released.record.reason = Some("hold-ended".to_owned());
                take(&mut released, CheckoutInput::HoldEnded)?;
                Ok(Turn::Next(released))
            }
            ChangeOutcome::Stale | ChangeOutcome::KeyKnown => self.lost(&draft).await,
        }
    }

    /// Settles an operation whose outcome is not known by the provider's record, or announces its repeat.
    async fn resolve(
        &self,
        mut draft: Draft,
        operation: Operation,
        provider: &Arc<GuardedProvider>,
    ) -> Result<Turn, SaleError> {
        let pass = match provider.try_pass() {
            Ok(pass) => pass,
            Err(not_sent) => return self.park(draft, not_sent.wait).await.map(Turn::End),
        };
        let reference = draft.record.reference.clone().unwrap_or_default();
        match provider.look_up(pass, &reference).await {
            Ok(facts) => {
                let before = draft.state();
                take(&mut draft, CheckoutInput::Facts(facts))?;
                let after = draft.state();
                if after == before {
                    return self.announce_recorded(draft, operation).await;
                }
                let moved = after.captured > before.captured || after.refunded > before.refunded;
                let settled =
                    matches!(after.phase, Phase::Ordering | Phase::Released | Phase::Cancelled);
                draft.note(operation, before, if moved || settled { "done" } else { "declined" });
                draft.record.reason = kept_reason(&draft);
                Ok(Turn::Next(draft))
            }
            Err(unknown) => {
                draft.record.reason = Some(unknown.to_string());
                self.back_off(draft).await.map(Turn::End)
            }
        }
    }

    async fn announce_recorded(
        &self,
        mut draft: Draft,
        operation: Operation,
    ) -> Result<Turn, SaleError> {
        announce(&mut draft, operation)?;
        let change = draft.change(Some(0), self.payments.lease_ms(), KEEP_HOLD_MS);
        match self.record(change).await? {
            ChangeOutcome::Recorded { .. } => Ok(Turn::Next(draft.recorded(None))),
            _ => self.lost(&draft).await,
        }
    }

    /// Calls the provider, after the call was recorded.
    async fn call(
        &self,
        mut draft: Draft,
        operation: Operation,
        provider: &Arc<GuardedProvider>,
    ) -> Result<Turn, SaleError> {
        // A registration moves no money and needs no announcement.
        if operation != Operation::Prepare && !draft.is_announced {
            return self.announce_recorded(draft, operation).await;
        }
        let reserved = std::mem::take(&mut draft.is_reserved).then(|| provider.reserved_pass());
        let pass = match reserved.map_or_else(|| provider.try_pass(), Ok) {
            Ok(pass) => pass,
            Err(not_sent) => {
                draft.record.reason = Some("the provider is not called for now".to_owned());
                return self.park(draft, not_sent.wait).await.map(Turn::End);
            }
        };
        let before = draft.state();
        let id = draft.record.id.to_string();
        let key = match operation {
            // An error that the provider has stored with the key must not stop the customer. A second registration
            // does no harm.
            Operation::Prepare => format!("{}-{}", draft.key(before), draft.record.tries),
            _ => draft.key(before),
        };
        let payment = Payment {
            checkout: &id,
            reference: draft.record.reference.as_deref().unwrap_or_default(),
            method: &draft.record.method,
            price: Price { amount: before.total, ..draft.record.price },
            amount: before.amount,
            key: &key,
        };
        match provider.execute(pass, operation, &payment).await {
            ProviderOutcome::Done(reference) => {
                if operation == Operation::Prepare {
                    draft.record.reference = Some(reference);
                }
                draft.note(operation, before, "done");
                take(&mut draft, CheckoutInput::Done)?;
                draft.record.reason = kept_reason(&draft);
                Ok(Turn::Next(draft))
            }
            ProviderOutcome::Declined { retryable, reason } => {
                draft.note(operation, before, "declined");
                draft.record.reason = Some(reason);
                take(&mut draft, CheckoutInput::Declined { retryable })?;
                if draft.state().phase == before.phase {
                    return self.back_off(draft).await.map(Turn::End);
                }
                Ok(Turn::Next(draft))
            }
            ProviderOutcome::Unknown(unknown) => {
                draft.record.reason = Some(unknown.to_string());
                self.back_off(draft).await.map(Turn::End)
            }
        }
    }

    /// Waits with full jitter before a repeat.
    async fn back_off(&self, draft: Draft) -> Result<CheckoutRecord, SaleError> {
        let (shortest, longest) = PAUSES_MS;
        let tries = u32::try_from(draft.record.tries.clamp(0, 10)).unwrap_or_default();
        let most = (shortest << tries).min(longest);
        let pause_ms = rand::random_range(shortest / 4..=most);
        self.park(draft, Duration::from_millis(pause_ms.unsigned_abs())).await
    }

    /// Leaves the checkout to any node after a pause.
    async fn park(&self, draft: Draft, pause: Duration) -> Result<CheckoutRecord, SaleError> {
        let pause_ms = i64::try_from(pause.as_millis()).unwrap_or(i64::MAX / 4).max(50);
        self.end(draft, Some(pause_ms)).await
    }

    async fn end(&self, draft: Draft, due_in_ms: Option<i64>) -> Result<CheckoutRecord, SaleError> {
        let change = draft.change(due_in_ms, 0, KEEP_HOLD_MS);
        match self.record(change).await? {
            ChangeOutcome::Recorded { ordered_at_ms } => {
                let record = draft.recorded(ordered_at_ms).record;
                Ok(CheckoutRecord { due_in_ms, ..record })
            }
            _ => match self.lost(&draft).await? {
                Turn::End(record) => Ok(record),
                Turn::Next(draft) => Ok(draft.record),
            },
        }
    }

    /// Another node has the checkout: nothing of this one's changes is recorded.
    async fn lost(&self, draft: &Draft) -> Result<Turn, SaleError> {
        let id = draft.record.id;
        let found = self.ledger().find_checkout(id).await?;
        found.map(Turn::End).ok_or(SaleError::UnknownCheckout(id))
    }
}

/// Keeps the reason for which a payment is compensated, and drops that of a delay.
fn kept_reason(draft: &Draft) -> Option<String> {
    let is_kept = draft.state().cancelling || !draft.state().phase.is_open();
    draft.record.reason.clone().filter(|_| is_kept)
}

pub(super) fn announce(draft: &mut Draft, operation: Operation) -> Result<(), SaleError> {
    take(draft, CheckoutInput::Sent)?;
    let state = draft.state();
    draft.note(operation, state, "sent");
    draft.is_announced = true;
    Ok(())
}

/// Takes an input that the phase accepts.
pub(super) fn take(draft: &mut Draft, input: CheckoutInput) -> Result<(), SaleError> {
    draft.step(input).map_err(|refusal| match refusal {
        CheckoutRefusal::Phase(phase) => {
            LedgerError::Unreadable(format!("{input:?} in the phase {}", phase.word())).into()
        }
        CheckoutRefusal::Amount(most) => SaleError::AmountTooLarge { most },
    })
}
