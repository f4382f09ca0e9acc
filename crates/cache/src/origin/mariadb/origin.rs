//! The loads of one contract.

use std::any::Any;
use std::sync::Arc;

use async_trait::async_trait;
use coherence::Replayed;
use contract::{Contract, Key};

use super::pool::{MariaDbPool, Snapshot};
use super::standby::MariaDbStandby;
use super::statements::ContractStatements;
use crate::origin::error::{OriginError, OriginErrorKind};
use crate::origin::key_scan::KeyScan;
use crate::origin::load::{LoadItem, Loaded, LoadedMany, Origin, load_separately};
use crate::origin::row::source;
use crate::origin::sql::item;

/// How often a load is repeated because the table was altered meanwhile.
const ATTEMPTS: usize = 3;

/// Loads the values of one contract, each in one transaction.
pub struct MariaDbOrigin {
    pub(super) statements: Arc<ContractStatements>,
    /// Connections to the primary.
    pub(super) pool: MariaDbPool,
    server: Server,
    standbys: Vec<Arc<dyn Origin>>,
}

/// The server that answers loads.
#[derive(Clone)]
enum Server {
    Primary,
    Standby(Arc<MariaDbStandby>),
}

impl MariaDbOrigin {
    /// Reads the key column's type from the catalogue and builds the statements.
    ///
    /// # Errors
    /// The database can't be reached, or the contract does not fit it: no such table or column, or a key
    /// column whose values can be written in several ways.
    pub async fn prepare(contract: Contract, pool: MariaDbPool) -> Result<Self, OriginError> {
        let statements = Arc::new(ContractStatements::prepare(contract, &pool).await?);
        Ok(Self { statements, pool, server: Server::Primary, standbys: Vec::new() })
    }

    /// Adds the primary's standbys. They are asked before the primary while their lag is acceptable.
    #[must_use]
    pub fn with_standbys(mut self, standbys: &[Arc<MariaDbStandby>]) -> Self {
        let origin = |standby: &Arc<MariaDbStandby>| {
            let (statements, pool) = (Arc::clone(&self.statements), self.pool.clone());
            let server = Server::Standby(Arc::clone(standby));
            Arc::new(Self { statements, pool, server, standbys: Vec::new() }) as Arc<dyn Origin>
        };
        self.standbys = standbys.iter().map(origin).collect();
        self
    }

    async fn snapshot(&self, statements: &[String]) -> Result<Snapshot, OriginError> {
        match &self.server {
            Server::Primary => self.pool.snapshot(statements).await,
            Server::Standby(standby) => standby.snapshot(statements).await,
        }
    }

    /// Whether loads of both can be one transaction.
    fn shares_server(&self, other: &Self) -> bool {
        match (&self.server, &other.server) {
            (Server::Primary, Server::Primary) => self.pool.is_same(&other.pool),
            (Server::Standby(one), Server::Standby(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }
}

#[async_trait]
impl Origin for MariaDbOrigin {
    fn name(&self) -> &str {
        match &self.server {
            Server::Primary => source(&self.statements.contract),
            Server::Standby(standby) => standby.name(),
        }
    }

    fn concurrency(&self) -> Option<usize> {
        match &self.server {
            Server::Primary => None,
            Server::Standby(standby) => Some(standby.connections()),
        }
    }

    fn standbys(&self) -> &[Arc<dyn Origin>] {
        &self.standbys
    }

    fn replayed(&self) -> Option<Replayed> {
        match &self.server {
            Server::Primary => None,
            Server::Standby(standby) => standby.replayed(),
        }
    }

    fn key_scan(&self) -> Option<&dyn KeyScan> {
        Some(self)
    }

    async fn load(&self, _key: &Key, id: &str) -> Result<Loaded, OriginError> {
        let statements = &self.statements;
        let item = item(&statements.contract, id)?;
        for _ in 0..ATTEMPTS {
            let texts = statements.of_item(&item, &self.pool).await?;
            let Snapshot { results, source } = self.snapshot(&texts).await?;
            let mut found = results.into_iter();
            let found = statements.take(&mut found)?;
            if statements.key.applies_to(&found.columns.columns) {
                return statements.read(&item, found, source);
            }
            statements.key.refresh(&self.pool).await?;
        }
        Err(OriginError::unavailable("the table is being altered"))
    }

    /// One transaction. If the server rejects one of its statements, or a key column was altered, the items are
    /// loaded separately.
    async fn load_many(&self, items: &[LoadItem<'_>]) -> Result<LoadedMany, OriginError> {
        let same_server = items.iter().map(|item| {
            let origin: &dyn Any = item.origin;
            let origin = origin.downcast_ref::<Self>();
            origin.filter(|other| other.shares_server(self))
        });
        let Some(origins) = same_server.collect::<Option<Vec<_>>>() else {
            return Ok(load_separately(items).await);
        };
        let named = origins
            .iter()
            .zip(items)
            .map(|(origin, named)| item(&origin.statements.contract, named.id));
        let Ok(named) = named.collect::<Result<Vec<_>, _>>() else {
            return Ok(load_separately(items).await);
        };
        let mut prepared = Vec::with_capacity(items.len());
        for (item, origin) in named.iter().zip(&origins) {
            prepared.push(origin.statements.of_item(item, &self.pool).await);
        }
        let statements: Vec<String> = prepared
            .iter()
            .filter_map(|prepared| prepared.as_ref().ok())
            .flatten()
            .cloned()
            .collect();
        if statements.is_empty() {
            let items = prepared.into_iter().filter_map(Result::err).map(Err).collect();
            return Ok(LoadedMany { items, one_snapshot: true });
        }
        let Snapshot { results, source } = match self.snapshot(&statements).await {
            Ok(snapshot) => snapshot,
            Err(err)
                if matches!(err.kind, OriginErrorKind::Broken | OriginErrorKind::BadRequest) =>
            {
                // The later statements were not run.
                return Ok(load_separately(items).await);
            }
            Err(err) => return Err(err),
        };
        let mut found = results.into_iter();
        let mut loaded = Vec::with_capacity(items.len());
        for ((item, origin), prepared) in named.iter().zip(origins).zip(prepared) {
            if let Err(err) = prepared {
                loaded.push(Err(err));
                continue;
            }
            let found = origin.statements.take(&mut found)?;
            if !origin.statements.key.applies_to(&found.columns.columns) {
                return Ok(load_separately(items).await);
            }
            loaded.push(origin.statements.read(item, found, source));
        }
        Ok(LoadedMany { items: loaded, one_snapshot: true })
    }
}
