//! Stripe's PaymentIntents.
//!
//! A payment is created without an effect, and confirmed by its name, so that the name is recorded before money moves:
//! a reply that got lost can be looked up for ever, and not only while Stripe keeps the key.

use async_trait::async_trait;
use axum::http::{HeaderMap, StatusCode};
use contract::percent;
use serde_json::Value;

use super::connection::{Answer, Call, Client};
use super::options::PaymentOptions;
use super::port::{
    Payment, PaymentProvider, ProviderOutcome, ProviderPayment, Unknown, WebhookEvent,
    WebhookRefusal,
};
use super::secret::SecretFile;
use super::signature;
use crate::rules::{Operation, PaymentFacts, Price};

/// Declines after which the same card may succeed.
const RETRYABLE: [&str; 5] = [
    "try_again_later",
    "processing_error",
    "issuer_not_available",
    "reenter_transaction",
    "approve_with_id",
];

const FORM: &str = "application/x-www-form-urlencoded";

/// The most pages of a list.
const PAGES_MAX: usize = 1_000;

/// Stripe.
pub(super) struct StripeProvider {
    client: Client,
    key: SecretFile,
    webhook_secret: Option<SecretFile>,
}

impl StripeProvider {
    pub(super) fn new(options: &PaymentOptions) -> Self {
        Self {
            client: Client::new(options.url.clone(), options.timeout),
            key: SecretFile(options.key_file.clone()),
            webhook_secret: options.webhook_secret_file.clone().map(SecretFile),
        }
    }

    async fn send(
        &self,
        method: &'static str,
        path: &str,
        form: &[(&str, &str)],
        key: Option<&str>,
    ) -> Result<Answer, Unknown> {
        let secret = self.key.read().await.map_err(Unknown)?;
        let pair = |(name, value): &(&str, &str)| {
            format!("{}={}", percent::encode(name), percent::encode(value))
        };
        let body = form.iter().map(pair).collect::<Vec<_>>().join("&");
        self.client
            .send(Call {
                method,
                path,
                content_type: FORM,
                body,
                key,
                secret: Some(&secret),
                headers: &[],
            })
            .await
    }

    async fn read(&self, path: &str) -> Result<Value, Unknown> {
        let Answer { status, body } = self.send("GET", path, &[], None).await?;
        if status.is_success() { Ok(body) } else { Err(Unknown(described(status, &body))) }
    }
}

fn described(status: StatusCode, body: &Value) -> String {
    let error = &body["error"];
    let word = |name: &str| error[name].as_str().unwrap_or_default().to_owned();
    format!("the provider answers {status} {} {}", word("type"), word("code")).trim_end().to_owned()
}

/// The outcome of an operation by its answer. A status that does not say whether the operation was executed is
/// unknown.
fn outcome(operation: Operation, answer: &Answer) -> ProviderOutcome {
    let Answer { status, body } = answer;
    if status.is_success() {
        return executed(operation, body);
    }
    let error = &body["error"];
    let word = |name: &str| error[name].as_str().unwrap_or_default();
    let is_closed = error["payment_intent"]["status"] == "canceled";
    if operation == Operation::Void && is_closed {
        let reference = error["payment_intent"]["id"].as_str().unwrap_or_default();
        return ProviderOutcome::Done(reference.to_owned());
    }
    let decline = match word("decline_code") {
        "" => word("code"),
        code => code,
    };
    match status.as_u16() {
        402 => ProviderOutcome::Declined {
            retryable: RETRYABLE.contains(&decline),
            reason: decline.to_owned(),
        },
        // The payment may be in the wanted state already, by a reply that got lost: its record tells. And a key that
        // was used with other parameters may have executed those.
        400 | 404
            if word("type") != "idempotency_error"
                && word("code") != "payment_intent_unexpected_state" =>
        {
            ProviderOutcome::Declined { retryable: false, reason: word("code").to_owned() }
        }
        _ => ProviderOutcome::Unknown(Unknown(described(*status, body))),
    }
}

fn executed(operation: Operation, body: &Value) -> ProviderOutcome {
    let id = body["id"].as_str().unwrap_or_default().to_owned();
    let status = body["status"].as_str().unwrap_or_default();
    let done = match operation {
        Operation::Prepare => !id.is_empty(),
        Operation::Authorise => status == "requires_capture",
        Operation::Capture => status == "succeeded",
        Operation::Void => status == "canceled",
        Operation::Refund => matches!(status, "succeeded" | "pending"),
    };
    match (operation, status) {
        _ if done => ProviderOutcome::Done(id),
        (Operation::Authorise, "requires_payment_method" | "canceled")
        | (Operation::Refund, "failed" | "canceled") => {
            ProviderOutcome::Declined { retryable: false, reason: status.to_owned() }
        }
        _ => ProviderOutcome::Unknown(Unknown(format!("the payment is in the state {status:?}"))),
    }
}

/// Reads the state of a PaymentIntent with its expanded charge.
fn facts(intent: &Value) -> Result<PaymentFacts, Unknown> {
    let unreadable = || Unknown("the provider's record can't be read".to_owned());
    let status = intent["status"].as_str().ok_or_else(unreadable)?;
    let captured = intent["amount_received"].as_i64().ok_or_else(unreadable)?;
    let charge = &intent["latest_charge"];
    let refunded = match (charge, captured) {
        (Value::Null, _) | (_, 0) => 0,
        (charge, _) => charge["amount_refunded"].as_i64().ok_or_else(unreadable)?,
    };
    Ok(PaymentFacts {
        authorised: status == "requires_capture" || captured > 0,
        declined: status == "requires_payment_method" && !intent["last_payment_error"].is_null(),
        closed: status == "canceled",
        captured,
        refunded,
    })
}

fn listed(intent: &Value) -> Result<Option<ProviderPayment>, Unknown> {
    let Some(checkout) = intent["metadata"]["tidegate_checkout"].as_str() else { return Ok(None) };
    let unreadable = || Unknown("the provider's list can't be read".to_owned());
    let currency = intent["currency"].as_str().ok_or_else(unreadable)?.to_ascii_uppercase();
    let price = Price {
        amount: intent["amount"].as_i64().ok_or_else(unreadable)?,
        currency: currency.parse().map_err(|()| unreadable())?,
    };
    Ok(Some(ProviderPayment {
        reference: intent["id"].as_str().ok_or_else(unreadable)?.to_owned(),
        checkout: checkout.to_owned(),
        price,
        facts: facts(intent)?,
    }))
}

#[async_trait]
impl PaymentProvider for StripeProvider {
    async fn execute(&self, operation: Operation, payment: &Payment<'_>) -> ProviderOutcome {
        let amount = payment.amount.to_string();
        let currency = payment.price.currency.to_string().to_ascii_lowercase();
        let of_payment = |verb: &str| format!("/v1/payment_intents/{}/{verb}", payment.reference);
        let (path, form): (String, Vec<(&str, &str)>) = match operation {
            Operation::Prepare => (
                "/v1/payment_intents".to_owned(),
                vec![
                    ("amount", &amount),
                    ("currency", &currency),
                    ("capture_method", "manual"),
                    ("payment_method", payment.method),
                    ("payment_method_types[]", "card"),
                    ("metadata[tidegate_checkout]", payment.checkout),
                ],
            ),
            Operation::Authorise => {
                (of_payment("confirm"), vec![("error_on_requires_action", "true")])
            }
            Operation::Capture => (of_payment("capture"), vec![("amount_to_capture", &amount)]),
            Operation::Void => (of_payment("cancel"), vec![]),
            Operation::Refund => (
                "/v1/refunds".to_owned(),
                vec![
                    ("payment_intent", payment.reference),
                    ("amount", &amount),
                    ("metadata[tidegate_checkout]", payment.checkout),
                ],
            ),
        };
        match self.send("POST", &path, &form, Some(payment.key)).await {
            Ok(answer) => outcome(operation, &answer),
            Err(unknown) => ProviderOutcome::Unknown(unknown),
        }
    }

    async fn look_up(&self, reference: &str) -> Result<PaymentFacts, Unknown> {
        let path = format!("/v1/payment_intents/{reference}?expand[]=latest_charge");
        facts(&self.read(&path).await?)
    }

    async fn list(&self, since_seconds: u64) -> Result<Vec<ProviderPayment>, Unknown> {
        let mut payments = Vec::new();
        let mut after = String::new();
        for _ in 0..PAGES_MAX {
            let path = format!(
                "/v1/payment_intents?limit=100&expand[]=data.latest_charge&created[gte]={since_seconds}{after}"
            );
            let page = self.read(&path).await?;
            let intents = page["data"].as_array();
            let intents =
                intents.ok_or_else(|| Unknown("the provider's list can't be read".to_owned()))?;
            for intent in intents {
                payments.extend(listed(intent)?);
            }
            let last = intents.last().and_then(|intent| intent["id"].as_str());
            match (page["has_more"].as_bool(), last) {
                (Some(false), _) => return Ok(payments),
                (Some(true), Some(last)) => after = format!("&starting_after={last}"),
                _ => return Err(Unknown("the provider's list can't be read".to_owned())),
            }
        }
        Err(Unknown("the provider's list has too many pages".to_owned()))
    }

    async fn check_webhook(
        &self,
        headers: &HeaderMap,
        body: &[u8],
        now_seconds: u64,
    ) -> Result<WebhookEvent, WebhookRefusal> {
        let secret = self.webhook_secret.as_ref().ok_or(WebhookRefusal::NoSecret)?;
        let secret = secret.read().await.map_err(|_| WebhookRefusal::SecretUnreadable)?;
        let header = headers.get("stripe-signature").and_then(|value| value.to_str().ok());
        signature::check(&secret, header, body, now_seconds)?;
        let event: Value = serde_json::from_slice(body).map_err(|_| WebhookRefusal::Body)?;
        let id = event["id"].as_str().ok_or(WebhookRefusal::Body)?;
        let object = &event["data"]["object"];
        let reference = match object["object"].as_str() {
            Some("payment_intent") => object["id"].as_str(),
            _ => object["payment_intent"].as_str(),
        };
        Ok(WebhookEvent { id: id.to_owned(), reference: reference.unwrap_or_default().to_owned() })
    }
}
