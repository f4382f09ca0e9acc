//! PostgreSQL, Redis and three nodes: one leads, one follows, one audits all three.

use anyhow::{Context, Result};
use cache::audit::AuditReport;
use harness::http;

use super::alterations;
use crate::stack::{DEADLINE, Node, Ports, Servers};

/// Rows in the table; each is in two contracts.
pub(crate) const ROWS: u32 = 3_000;

/// The names of the contracts: one whose value is its row, so that commits renew it in every tier, and one
/// that has to be loaded.
pub(crate) const CONTRACTS: [&str; 2] = ["product_price", "product_label"];

const LOADED: &str = r#"
[data.product_label]
key       = "v1:catalog:label:{id}"
value     = "select upper(name) as name, price_cents from products where id = $id"
from      = { source = "shop", table = "products", key = "id", columns = ["name", "price_cents"] }
staleness = "5s"
ttl       = "10m"
unproven  = "read-origin"
owner     = "pricing"
approved  = { by = ["product", "finance"], on = 2026-11-02 }
"#;

/// The servers and the nodes.
pub(crate) struct Cluster {
    /// The first leads while no fault is injected; the last audits.
    pub(crate) nodes: Vec<Node>,
    pub(crate) servers: Servers,
}

impl Cluster {
    pub(crate) fn start() -> Result<Self> {
        Self::on(Servers::start(&[], ROWS)?)
    }

    /// Starts it on a table with partitions.
    pub(super) fn divided() -> Result<Self> {
        let servers = Servers::start(&[], ROWS)?;
        servers.sql(&alterations::divide())?;
        Self::on(servers)
    }

    fn on(servers: Servers) -> Result<Self> {
        let config = |config: String, audit: &str| {
            let price = config.replace("\"30s\"", "\"5s\"\nttl       = \"10m\"");
            // Without the category tag a commit invalidates its own row only, not a tenth of the table.
            let price = price.replace(", \"category-{category_id}\"", "");
            format!("{price}{LOADED}\n[audit]\n{audit}")
        };
        let others = [Ports::reserve()?, Ports::reserve()?];
        let peers: Vec<String> =
            others.iter().map(|ports| format!("\"http://{}\"", ports.admin())).collect();
        let mut nodes = Vec::new();
        for ports in others {
            nodes.push(servers.node_at(ports, |text| config(text, "reads_per_second = 0\n"))?);
        }
        let audit = format!("reads_per_second = 10000\npeers = [{}]\n", peers.join(", "));
        nodes.push(servers.node(|text| config(text, &audit))?);
        Ok(Self { nodes, servers })
    }

    /// Returns the auditor's report so far.
    pub(crate) fn report(&self) -> Result<AuditReport> {
        let auditor = self.nodes.last().context("there are three")?;
        let answer = http::get(auditor.admin, "/api/v1/audit", DEADLINE)?;
        Ok(serde_json::from_slice(&answer.body)?)
    }
}
