//! The ledger of the sale.

use std::sync::Arc;

use coherence::Clock;
use prometheus_client::registry::Registry;
use sale::jobs::{JobMetrics, Jobs, JobsSetup};
use sale::{Payments, Sale, SaleMetrics};

use crate::config::Config;
use crate::node::error::NodeError;

/// Opens the ledger, if there is one.
///
/// # Errors
/// It can't be reached, or `tidegate sale migrate` has to be run.
pub(in crate::node) async fn sale(
    config: &Config,
    clock: &Arc<dyn Clock>,
    registry: &mut Registry,
) -> Result<Option<(Sale, Jobs)>, NodeError> {
    let Some(options) = &config.sale else { return Ok(None) };
    let ledger = options.open().await;
    let ledger = ledger.map_err(|error| NodeError::Sale {
        url: options.url.to_string(),
        error: Box::new(error),
    })?;
    let payments = Payments::new(&options.payments, options.payment_patience, clock);
    let setup = JobsSetup {
        kinds: config.jobs.clone(),
        workers: options.workers,
        depth: options.job_depth.into(),
    };
    let jobs = Jobs::new(Arc::clone(&ledger), Arc::clone(clock), JobMetrics::new(registry), setup);
    let sale = Sale::new(ledger, Arc::clone(clock), SaleMetrics::new(registry));
    let sale = sale.with_early_refusals(options.early_refusals).with_payments(payments);
    Ok(Some((sale, jobs)))
}
