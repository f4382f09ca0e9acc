//! The shop's own payment service, by a small protocol of JSON (docs/sale.md). A payment has the name of its checkout.

use async_trait::async_trait;
use axum::http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::connection::{Answer, Call, Client};
use super::options::PaymentOptions;
use super::port::{
    Payment, PaymentProvider, ProviderOutcome, ProviderPayment, Unknown, WebhookEvent,
    WebhookRefusal,
};
use super::secret::SecretFile;
use super::signature;
use crate::rules::{Operation, PaymentFacts, Price};

/// A payment service of the shop.
pub(super) struct PlainProvider {
    client: Client,
    key: SecretFile,
    webhook_secret: Option<SecretFile>,
}

/// A payment in an answer.
#[derive(Deserialize)]
struct Record {
    payment: String,
    amount: i64,
    currency: String,
    authorised: bool,
    #[serde(default)]
    declined: bool,
    closed: bool,
    captured: i64,
    refunded: i64,
}

impl Record {
    fn facts(&self) -> PaymentFacts {
        let Self { authorised, declined, closed, captured, refunded, .. } = *self;
        PaymentFacts { authorised, declined, closed, captured, refunded }
    }
}

impl PlainProvider {
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
        body: &Value,
        key: Option<&str>,
    ) -> Result<Answer, Unknown> {
        let secret = self.key.read().await.map_err(Unknown)?;
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let content_type = "application/json";
        self.client
            .send(Call {
                method,
                path,
                content_type,
                body,
                key,
                secret: Some(&secret),
                headers: &[],
            })
            .await
    }
}

fn unreadable() -> Unknown {
    Unknown("the payment service's answer can't be read".to_owned())
}

fn outcome(answer: &Answer, payment: &Payment<'_>) -> ProviderOutcome {
    let body = &answer.body;
    match (answer.status.as_u16(), body["outcome"].as_str()) {
        (200, Some("done")) => ProviderOutcome::Done(payment.checkout.to_owned()),
        (200, Some("declined")) => ProviderOutcome::Declined {
            retryable: body["retryable"].as_bool().unwrap_or_default(),
            reason: body["reason"].as_str().unwrap_or_default().to_owned(),
        },
        (status, _) => {
            ProviderOutcome::Unknown(Unknown(format!("the payment service answers {status}")))
        }
    }
}

#[async_trait]
impl PaymentProvider for PlainProvider {
    fn name_without_call(&self, checkout: &str) -> Option<String> {
        Some(checkout.to_owned())
    }

    async fn execute(&self, operation: Operation, payment: &Payment<'_>) -> ProviderOutcome {
        if operation == Operation::Prepare {
            return ProviderOutcome::Done(payment.checkout.to_owned());
        }
        let path = format!("/payments/{}/{}", payment.checkout, operation.word());
        let body = json!({
            "amount": payment.amount,
            "currency": payment.price.currency.to_string(),
            "method": payment.method,
        });
        match self.send("POST", &path, &body, Some(payment.key)).await {
            Ok(answer) => outcome(&answer, payment),
            Err(unknown) => ProviderOutcome::Unknown(unknown),
        }
    }

    async fn look_up(&self, reference: &str) -> Result<PaymentFacts, Unknown> {
        let path = format!("/payments/{reference}");
        let Answer { status, body } = self.send("GET", &path, &Value::Null, None).await?;
        // Only the service's own words say that there is no payment: a proxy answers 404, too.
        if status == StatusCode::NOT_FOUND && body["error"] == "unknown-payment" {
            return Ok(PaymentFacts::default());
        }
        if status != StatusCode::OK {
            return Err(Unknown(format!("the payment service answers {status}")));
        }
        let record: Record = serde_json::from_value(body).map_err(|_| unreadable())?;
        Ok(record.facts())
    }

    async fn list(&self, since_seconds: u64) -> Result<Vec<ProviderPayment>, Unknown> {
        let path = format!("/payments?since={since_seconds}");
        let Answer { status, body } = self.send("GET", &path, &Value::Null, None).await?;
        if status != StatusCode::OK {
            return Err(Unknown(format!("the payment service answers {status}")));
        }
        let records = serde_json::from_value::<Vec<Record>>(body["payments"].clone());
        let payment = |record: Record| {
            let currency = record.currency.parse().map_err(|()| unreadable())?;
            Ok(ProviderPayment {
                reference: record.payment.clone(),
                checkout: record.payment.clone(),
                price: Price { amount: record.amount, currency },
                facts: record.facts(),
            })
        };
        records.map_err(|_| unreadable())?.into_iter().map(payment).collect()
    }

    async fn check_webhook(
        &self,
        headers: &HeaderMap,
        body: &[u8],
        now_seconds: u64,
    ) -> Result<WebhookEvent, WebhookRefusal> {
        #[derive(Deserialize)]
        struct Event {
            id: String,
            payment: String,
        }
        let secret = self.webhook_secret.as_ref().ok_or(WebhookRefusal::NoSecret)?;
        let secret = secret.read().await.map_err(|_| WebhookRefusal::SecretUnreadable)?;
        let header = headers.get("payment-signature").and_then(|value| value.to_str().ok());
        signature::check(&secret, header, body, now_seconds)?;
        let event: Event = serde_json::from_slice(body).map_err(|_| WebhookRefusal::Body)?;
        Ok(WebhookEvent { id: event.id, reference: event.payment })
    }
}
