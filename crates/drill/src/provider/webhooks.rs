//! Events of executed operations, duplicated, delayed and out of order on request.

use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use serde::Deserialize;
use serde_json::json;
use sha2::Sha256;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Where and how events are sent.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WebhookPlan {
    /// Host and port.
    pub(super) to: String,
    pub(super) path: String,
    pub(super) secret: String,
    /// How often each event is sent.
    pub(super) copies: u32,
    /// Each copy is sent after a random time of at most this.
    pub(super) delay_ms: u64,
}

/// Sends an event about a payment, in tasks of their own.
pub(super) fn send(plan: WebhookPlan, payment: String) {
    let id = format!("evt_{:016x}", rand::random::<u64>());
    let body = json!({
        "id": id, "payment": payment,
        "data": { "object": { "object": "payment_intent", "id": payment } },
    });
    let body = body.to_string();
    for _ in 0..plan.copies {
        let (plan, body) = (plan.clone(), body.clone());
        tokio::spawn(async move {
            let delay_ms = rand::random_range(0..=plan.delay_ms);
            tokio::time::sleep(Duration::from_millis(delay_ms)).await;
            // An event that does not arrive is one of the faults.
            let _ = post(&plan, &body).await;
        });
    }
}

async fn post(plan: &WebhookPlan, body: &str) -> std::io::Result<()> {
    let seconds = crate::clock::unix_seconds();
    let signature = signature(&plan.secret, seconds, body);
    let request = format!(
        "POST {} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ncontent-type: application/json\r\n\
         stripe-signature: {signature}\r\npayment-signature: {signature}\r\ncontent-length: {}\r\n\r\n{body}",
        plan.path,
        plan.to,
        body.len()
    );
    let mut stream = TcpStream::connect(&plan.to).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(())
}

fn signature(secret: &str, seconds: u64, body: &str) -> String {
    let Ok(mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else {
        return String::new();
    };
    let mac = mac.chain_update(format!("{seconds}.{body}")).finalize().into_bytes();
    let hex: String = mac.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("t={seconds},v1={hex}")
}
