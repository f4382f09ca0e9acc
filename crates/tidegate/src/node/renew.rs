//! Write-through: what a commit makes of the entries it touches, where the log tells all of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cache::origin::postgres::PostgresPool;
use coherence::Renewal;
use contract::{Affected, Contract, Contracts, Key, Projection, Renewed, RowChange, freshness};

/// Larger values are loaded by those who want them: a renewal goes to every node, whether it holds
/// the entry or not.
const MAX_VALUE_BYTES: usize = 16 << 10;

/// A commit that changes more entries than this is a batch job; what it touched is invalidated only.
const MAX_RENEWALS: usize = 64;

/// The contracts of one source whose values are nothing but columns of their row.
#[derive(Default)]
pub(super) struct Renewer {
    pool: Option<PostgresPool>,
    contracts: Vec<Renewable>,
}

struct Renewable {
    contract: Contract,
    projection: Projection,
    /// What the catalogue said when the log was last begun.
    sound: bool,
}

impl Renewer {
    /// For the contracts of `source`, a PostgreSQL database behind `pool`. Renews nothing before
    /// [`check`](Self::check).
    pub(super) fn new(source: &str, contracts: &Contracts, pool: PostgresPool) -> Self {
        let of_source = |contract: &&Contract| {
            contract.from.as_ref().is_some_and(|from| from.source == source)
                && contract.is_cached()
                && !contract.immutable
                && contract.renews()
        };
        let renewable = |contract: &Contract| match contract.projection() {
            Ok(projection) => {
                Some(Renewable { contract: contract.clone(), projection, sound: false })
            }
            Err(why) => {
                tracing::debug!(contract = contract.name, why, "commits do not renew its entries");
                None
            }
        };
        let contracts = contracts.iter().filter(of_source).filter_map(renewable).collect();
        Self { pool: Some(pool), contracts }
    }

    /// Asks the catalogue again. Where that fails, nothing is renewed, and all is invalidated.
    pub(super) async fn check(&mut self) {
        let Some(pool) = &self.pool else { return };
        for Renewable { contract, sound, .. } in &mut self.contracts {
            let name = &contract.name;
            *sound = match pool.row_is_the_answer(contract).await {
                Ok(sound) => {
                    tracing::info!(contract = name, write_through = sound, "asked the catalogue");
                    sound
                }
                Err(err) => {
                    tracing::warn!(contract = name, error = %err, "its entries are not renewed");
                    false
                }
            };
        }
    }

    /// Notes what one more change of a commit, which touches `affected`, makes of the entries. A
    /// later change of the same commit counts, also one that tells too little.
    pub(super) fn note(&self, change: &RowChange, affected: &Affected, renewals: &mut Renewals) {
        if affected.everything {
            renewals.0.clear();
        }
        if renewals.0.len() <= MAX_RENEWALS {
            renewals.0.extend(affected.keys.iter().map(|key| (key.clone(), None)));
            for renewable in self.contracts.iter().filter(|renewable| renewable.sound) {
                renewals.0.extend(renewable.renewals(change));
            }
        }
    }
}

/// What a commit makes of entries; `None`: it does not tell.
#[derive(Default)]
pub(super) struct Renewals(BTreeMap<Key, Option<Renewal>>);

impl Renewals {
    /// All of them; none where it is a batch job's work.
    pub(super) fn into_told(self) -> Vec<Renewal> {
        if self.0.len() > MAX_RENEWALS {
            return Vec::new();
        }
        self.0.into_values().flatten().collect()
    }
}

impl Renewable {
    fn renewals(&self, change: &RowChange) -> impl Iterator<Item = (Key, Option<Renewal>)> {
        let renewed = self.projection.renewed(&self.contract, change).into_iter();
        renewed.map(|(key, renewed)| {
            let renewal = match renewed {
                Renewed::Value(value, tags) if self.fits(value.as_deref()) => {
                    let ttl = self.life(value.is_some());
                    let value = value.map(Arc::from);
                    Some(Renewal { key: key.clone(), value, tags, ttl })
                }
                Renewed::Value(..) | Renewed::Unknown => None,
            };
            (key, renewal)
        })
    }

    fn fits(&self, value: Option<&str>) -> bool {
        let bytes = value.map_or(0, str::len);
        bytes <= MAX_VALUE_BYTES && bytes as u64 <= self.contract.max_size_bytes
    }

    fn life(&self, present: bool) -> Duration {
        let Contract { ttl, absent_ttl, refresh, .. } = &self.contract;
        let usual = if present { *ttl } else { *absent_ttl };
        freshness::jittered(usual, rand::random::<f64>(), refresh.jitter)
    }
}
