//! The payment provider of a drill: a server with a ledger of its own.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use edge::TlsFiles;
use http::StatusCode;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::http_client::Target;

/// The secret of its events.
pub(super) const WEBHOOK_SECRET: &str = "whsec_drill";

/// A provider that moves no money; closed on drop.
pub(super) struct DrillProvider {
    address: SocketAddr,
    target: Target,
    task: JoinHandle<()>,
}

impl DrillProvider {
    pub(super) async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("no free port")?;
        let address = listener.local_addr()?;
        let target = Target::new(&address.to_string(), &TlsFiles::default())?;
        let task = tokio::spawn(async move {
            // It ends only with its listener; calls fail then, and the drill reports them.
            let _ = drill::provider::serve(listener).await;
        });
        Ok(Self { address, target, task })
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Sets the faults. Events of operations go to `node`, three times each and out of order.
    pub(super) async fn set(&self, mut faults: Value, node: SocketAddr) -> Result<()> {
        faults["webhooks"] = json!({ "to": node.to_string(), "path": "/v1/webhooks/card",
            "secret": WEBHOOK_SECRET, "copies": 3, "delay_ms": 900 });
        let set = self.target.post("/faults", None, faults.to_string(), 1 << 16).await;
        let (status, body) = set.context("the provider's faults")?;
        ensure!(status == StatusCode::OK, "{}", String::from_utf8_lossy(&body));
        Ok(())
    }
}

impl Drop for DrillProvider {
    fn drop(&mut self) {
        self.task.abort();
    }
}
