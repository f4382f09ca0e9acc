//! The ledger of the sale.

use std::sync::Arc;

use coherence::Clock;
use prometheus_client::registry::Registry;
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
) -> Result<Option<Sale>, NodeError> {
    let Some(options) = &config.sale else { return Ok(None) };
    let ledger = options.open().await;
    let ledger = ledger.map_err(|error| NodeError::Sale {
        url: options.url.to_string(),
        error: Box::new(error),
    })?;
    let payments = Payments::new(&options.payments, options.payment_patience, clock);
    let sale = Sale::new(ledger, Arc::clone(clock), SaleMetrics::new(registry));
    Ok(Some(sale.with_early_refusals(options.early_refusals).with_payments(payments)))
}
