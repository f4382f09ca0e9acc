//! The processes of a drill of the sale: a database, a provider, and two nodes.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use drill::FaultProxy;
use drill::buyers::Journal;
use rand::rngs::StdRng;
use rand::{Rng, RngExt};
use sale::SaleOptions;
use sale::ledger::Ledger;
use serde_json::json;
use shop::{Catalogue, Shop, ShopOptions};

use super::fault::{Fault, clock_ahead};
use super::node::DrillNode;
use super::postgres::{OwnPostgres, PostgresPrograms};
use super::provider::{DrillProvider, WEBHOOK_SECRET};

/// The time in which the database has to answer after a fault.
const DATABASE_TIMEOUT: Duration = Duration::from_secs(60);
const DATABASE_POLL: Duration = Duration::from_millis(200);
/// The provider takes this long for each call.
const PROVIDER_DELAY_MS: u64 = 30;
const SLOW: Duration = Duration::from_millis(100);

/// The database of a drill.
#[derive(Clone, Debug)]
pub(crate) enum DrillLedger {
    Postgres(PostgresPrograms),
    Sqlite,
}

/// A sale with its servers; all are stopped on drop.
pub(crate) struct SaleStage {
    pub(super) journal: Arc<Journal>,
    pub(super) options: SaleOptions,
    nodes: [DrillNode; 2],
    /// Nodes whose clock is ahead.
    ahead: [bool; 2],
    provider: DrillProvider,
    postgres: Option<OwnPostgres>,
    proxy: Option<FaultProxy>,
    folder: tempfile::TempDir,
}

impl SaleStage {
    /// Starts the servers and prepares the ledger.
    pub(crate) async fn start(ledger: DrillLedger, seed: u64) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("tidegate-drill-").tempdir()?;
        let path = folder.path();
        let provider = DrillProvider::start().await?;
        let mut postgres = match ledger {
            DrillLedger::Postgres(programs) => Some(OwnPostgres::start(programs, path).await?),
            DrillLedger::Sqlite => None,
        };
        let proxy = postgres.as_ref().map(|server| FaultProxy::start(server.address()));
        let proxy = proxy.transpose()?;
        let url = |at: Option<SocketAddr>| match at {
            Some(at) => format!("postgres://postgres@{at}/postgres"),
            None => format!("sqlite:{}", path.join("sale.db").display()),
        };
        let own = url(postgres.as_ref().map(OwnPostgres::address));
        let own = own.parse().map_err(|err| anyhow!("{own}: {err}"))?;
        let options = SaleOptions { timeout: Duration::from_secs(20), ..SaleOptions::new(own) };
        migrate(&options, postgres.as_mut()).await?;
        let kind = if seed.is_multiple_of(2) { "stripe" } else { "http" };
        let sale = url(proxy.as_ref().map(FaultProxy::addr));
        let sections = sections(path, &sale, kind, &provider.url())?;
        let nodes = [
            DrillNode::start(path, 1, &sections).await?,
            DrillNode::start(path, 2, &sections).await?,
        ];
        let journal = Arc::new(Journal::create(&path.join("clients.jsonl"))?);
        let stage =
            Self { journal, options, nodes, ahead: [false; 2], provider, postgres, proxy, folder };
        stage.calm_provider().await?;
        Ok(stage)
    }

    pub(super) fn nodes(&self) -> [SocketAddr; 2] {
        self.nodes.each_ref().map(DrillNode::sale)
    }

    pub(super) fn clients_file(&self) -> PathBuf {
        self.folder.path().join("clients.jsonl")
    }

    pub(super) fn provider_url(&self) -> String {
        self.provider.url()
    }

    /// Keeps the files of the drill, and returns their folder.
    pub(crate) fn keep(&mut self) -> &Path {
        self.folder.disable_cleanup(true);
        self.folder.path()
    }

    /// Returns the faults that can be injected here.
    pub(super) fn faults(&self) -> Vec<Fault> {
        let has_clock = clock_ahead().is_some();
        let possible = |fault: &Fault| {
            (self.postgres.is_some() || !fault.needs_postgres())
                && (has_clock || *fault != Fault::ClockAhead)
        };
        Fault::ALL.into_iter().filter(possible).collect()
    }

    async fn calm_provider(&self) -> Result<()> {
        let faults = json!({ "delay_ms": PROVIDER_DELAY_MS });
        self.provider.set(faults, self.nodes[0].sale()).await
    }

    /// Injects a fault, and takes it away after at most `longest`.
    pub(super) async fn inject(
        &mut self,
        fault: Fault,
        random: &mut StdRng,
        longest: Duration,
    ) -> Result<()> {
        let span = longest.mul_f64(random.random_range(0.3..1.0));
        let first = self.nodes[0].sale();
        match fault {
            Fault::KillNode | Fault::ClockAhead => {
                let at = (random.next_u32() % 2) as usize;
                self.nodes[at].kill().await?;
                tokio::time::sleep(span / 2).await;
                self.ahead[at] = fault == Fault::ClockAhead;
                let clock = if self.ahead[at] { clock_ahead() } else { None };
                self.nodes[at].launch(&clock.unwrap_or_default())?;
            }
            Fault::ProviderAway => {
                self.provider.set(json!({ "away": true }), first).await?;
                tokio::time::sleep(span).await;
                self.calm_provider().await?;
            }
            Fault::ProviderErrors => {
                let status = [409, 429, 500, 503][(random.next_u32() % 4) as usize];
                let faults = json!({ "lose_share": 0.3, "refuse_share": 0.2, "fail_next": 3,
                    "refuse_status": status, "delay_ms": PROVIDER_DELAY_MS });
                self.provider.set(faults, first).await?;
                tokio::time::sleep(span).await;
                self.calm_provider().await?;
            }
            Fault::RestartDatabase | Fault::CrashDatabase => {
                if let Some(postgres) = &mut self.postgres {
                    postgres.restart(fault == Fault::CrashDatabase).await?;
                }
                self.wait_database().await?;
            }
            Fault::SlowDatabase => {
                if let Some(proxy) = &self.proxy {
                    proxy.set(drill::Fault::slow(SLOW));
                    tokio::time::sleep(span).await;
                    proxy.heal();
                }
            }
        }
        Ok(())
    }

    /// Takes all faults away, and waits until everything serves.
    pub(super) async fn heal(&mut self) -> Result<()> {
        if let Some(proxy) = &self.proxy {
            proxy.heal();
        }
        self.calm_provider().await?;
        self.wait_database().await?;
        for (node, is_ahead) in self.nodes.iter_mut().zip(&mut self.ahead) {
            if std::mem::take(is_ahead) {
                node.kill().await?;
                node.launch(&[])?;
            }
        }
        for node in &mut self.nodes {
            node.wait_ready().await?;
        }
        Ok(())
    }

    /// Opens the ledger.
    pub(super) async fn ledger(&self) -> Result<Arc<dyn Ledger>> {
        self.options.open().await.with_context(|| self.options.url.to_string())
    }

    async fn wait_database(&mut self) -> Result<()> {
        migrate(&self.options, self.postgres.as_mut()).await
    }
}

/// Applies the migrations that the ledger lacks, as soon as its database answers.
async fn migrate(options: &SaleOptions, mut postgres: Option<&mut OwnPostgres>) -> Result<()> {
    let applied = async {
        while options.migrate().await.is_err() {
            tokio::time::sleep(DATABASE_POLL).await;
            if let Some(postgres) = &mut postgres {
                postgres.check_or_launch()?;
            }
        }
        anyhow::Ok(())
    };
    match tokio::time::timeout(DATABASE_TIMEOUT, applied).await {
        Ok(applied) => applied,
        Err(_) => {
            let lines = postgres.map(|postgres| postgres.last_lines()).unwrap_or_default();
            Err(anyhow!("{} does not answer; its last lines:\n{lines}", options.url))
        }
    }
}

/// Returns the sections of a node's configuration.
fn sections(folder: &Path, sale: &str, kind: &str, provider: &str) -> Result<String> {
    let shop = folder.join("shop.db");
    Shop::open(ShopOptions::at(&shop), &Catalogue::generated(1, 1)).context("the shop's file")?;
    fs::write(folder.join("payment.key"), "sk_drill\n")?;
    fs::write(folder.join("payment.webhook"), WEBHOOK_SECRET)?;
    Ok(format!(
        "[source.shop]\nurl = \"sqlite:{}\"\n\n[sale]\nurl = \"{sale}\"\n\n[sale.payment.card]\nkind = \"{kind}\"\n\
         url = \"{provider}\"\nkey_file = \"payment.key\"\nwebhook_secret_file = \"payment.webhook\"\n\
         timeout = \"2s\"\ncalls_per_second = 10000\n",
        shop.display()
    ))
}
