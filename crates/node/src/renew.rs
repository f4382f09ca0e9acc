//! Write-through: entries renewed from the log, where the log carries the whole value.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cache::origin::mariadb::MariaDbPool;
use cache::origin::postgres::PostgresPool;
use cache::{Chance, OriginError, ThreadChance};
use coherence::{Lsn, Renewal};
use contract::{
    Affected, Contract, Contracts, Key, Projected, Projection, RowChange, SqlDialect, freshness,
};

/// Larger values are invalidated and loaded on demand: a renewal goes to every node, whether or not the node
/// holds the entry.
const MAX_VALUE_BYTES: usize = 16 << 10;

/// A commit that changes more entries than this is a batch job; its entries are only invalidated.
const MAX_RENEWALS: usize = 64;

/// The catalogue of a database, which says whether a row of the log equals the answer to a contract's query.
#[async_trait]
pub trait RowCatalogue: Send + Sync + 'static {
    /// The dialect of the contracts' statements.
    fn dialect(&self) -> SqlDialect {
        SqlDialect::Postgres
    }

    /// Returns the position from which on a row of the log is the complete answer for its key: the key is unique,
    /// row security hides no row, and no other table inherits from it. `None`: it is not. Every change that ends
    /// this ends the stream.
    ///
    /// # Errors
    /// The database could not be asked.
    async fn rows_complete_after(&self, contract: &Contract) -> Result<Option<Lsn>, OriginError>;
}

#[async_trait]
impl RowCatalogue for PostgresPool {
    async fn rows_complete_after(&self, contract: &Contract) -> Result<Option<Lsn>, OriginError> {
        Ok(self.rows_match_log(contract).await?.then_some(Lsn::ZERO))
    }
}

#[async_trait]
impl RowCatalogue for MariaDbPool {
    fn dialect(&self) -> SqlDialect {
        Self::PROJECTION_DIALECT
    }

    async fn rows_complete_after(&self, contract: &Contract) -> Result<Option<Lsn>, OriginError> {
        self.rows_match_log_after(contract).await
    }
}

/// Renews the entries of one source's contracts whose values consist of columns of their row.
pub struct Renewer {
    catalogue: Option<Arc<dyn RowCatalogue>>,
    chance: Arc<dyn Chance>,
    contracts: Vec<Renewable>,
}

struct Renewable {
    contract: Contract,
    /// The fingerprint of its definition.
    definition: u64,
    projection: Projection,
    /// The catalogue's verdict when the stream last started; see [`RowCatalogue::rows_complete_after`].
    complete_after: Option<Lsn>,
}

impl Renewer {
    /// Creates a renewer for the contracts of `source`, the database of `catalogue`. It renews nothing before
    /// the first [`check`](Self::check). `chance` spreads the TTLs.
    #[must_use]
    pub fn new(
        source: &str,
        contracts: &Contracts,
        catalogue: Arc<dyn RowCatalogue>,
        chance: Arc<dyn Chance>,
    ) -> Self {
        let of_source = |contract: &&Contract| {
            contract.from.as_ref().is_some_and(|from| from.source == source)
                && contract.is_cached()
                && !contract.immutable
                && contract.renews()
        };
        let dialect = catalogue.dialect();
        let renewable = |contract: &Contract| match contract.projection(dialect) {
            Ok(projection) => {
                let definition = contract.definition_fingerprint();
                let contract = contract.clone();
                Some(Renewable { contract, definition, projection, complete_after: None })
            }
            Err(why) => {
                tracing::debug!(contract = contract.name, why, "commits do not renew its entries");
                None
            }
        };
        let contracts = contracts.iter().filter(of_source).filter_map(renewable).collect();
        Self { catalogue: Some(catalogue), chance, contracts }
    }

    /// Creates a renewer that renews nothing: for databases whose catalogue can't be asked.
    #[must_use]
    pub fn disabled() -> Self {
        Self { catalogue: None, chance: Arc::new(ThreadChance), contracts: Vec::new() }
    }

    /// Asks the catalogue again. A contract for which that fails is invalidated and not renewed.
    pub async fn check(&mut self) {
        let Some(catalogue) = &self.catalogue else { return };
        for Renewable { contract, complete_after, .. } in &mut self.contracts {
            let name = &contract.name;
            *complete_after = match catalogue.rows_complete_after(contract).await {
                Ok(after) => {
                    let write_through = after.is_some();
                    tracing::info!(contract = name, write_through, "read the catalogue");
                    after
                }
                Err(err) => {
                    tracing::warn!(contract = name, error = %err, "its entries are not renewed");
                    None
                }
            };
        }
    }

    /// Adds one change of the commit at `lsn`, which invalidates `affected`, to the commit's `renewals`. A later
    /// change of the same commit replaces an earlier one, also when it can't renew the entry.
    pub(crate) fn add(
        &self,
        lsn: Lsn,
        change: &RowChange,
        affected: &Affected,
        renewals: &mut Renewals,
    ) {
        if affected.everything || !affected.key_patterns.is_empty() {
            renewals.0.clear();
        }
        if renewals.0.len() <= MAX_RENEWALS {
            renewals.0.extend(affected.keys.iter().map(|key| (key.clone(), None)));
            let complete =
                |renewable: &&Renewable| renewable.complete_after.is_some_and(|after| after < lsn);
            for renewable in self.contracts.iter().filter(complete) {
                renewals.0.extend(renewable.renewals(change, self.chance.as_ref()));
            }
        }
    }
}

/// The renewals of one commit by key; `None` where the log does not carry the new value.
#[derive(Default)]
pub(crate) struct Renewals(BTreeMap<Key, Option<Renewal>>);

impl Renewals {
    /// Returns the renewals for the commit's event; none if the commit is a batch job.
    pub(crate) fn into_events(self) -> Vec<Renewal> {
        if self.0.len() > MAX_RENEWALS {
            return Vec::new();
        }
        self.0.into_values().flatten().collect()
    }
}

impl Renewable {
    fn renewals(
        &self,
        change: &RowChange,
        chance: &dyn Chance,
    ) -> impl Iterator<Item = (Key, Option<Renewal>)> {
        let projected = self.projection.project(&self.contract, change).into_iter();
        projected.map(move |(key, projected)| {
            let renewal = match projected {
                Projected::Value(value, tags) if self.fits(value.as_deref()) => {
                    let ttl = self.ttl(value.is_some(), chance.unit());
                    let value = value.map(Arc::from);
                    let definition = self.definition;
                    Some(Renewal { key: key.clone(), value, tags, ttl, definition })
                }
                Projected::Value(..) | Projected::Unknown => None,
            };
            (key, renewal)
        })
    }

    fn fits(&self, value: Option<&str>) -> bool {
        let bytes = value.map_or(0, str::len);
        bytes <= MAX_VALUE_BYTES && bytes as u64 <= self.contract.max_size_bytes
    }

    /// `u` is uniform in [0, 1).
    fn ttl(&self, present: bool, u: f64) -> Duration {
        let Contract { ttl, absent_ttl, refresh, .. } = &self.contract;
        let base = if present { *ttl } else { *absent_ttl };
        freshness::jittered(base, u, refresh.jitter)
    }
}
