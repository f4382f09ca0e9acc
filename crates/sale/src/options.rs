//! `[sale]`

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use contract::config::{TIME_LIMITS, TableReader, ValueError};
use database::DatabaseUrl;

use crate::jobs::JobWorkers;
use crate::ledger::{Ledger, LedgerError};
use crate::payment::PaymentOptions;
use crate::postgres::{self, PostgresLedger};
use crate::schema::{Pending, SchemaError};
use crate::sqlite::{self, SqliteLedger};

const FORMS: &str = "write postgres://user@host:5432/database or sqlite:path/to/file.db";

/// The default of `payment_patience`.
const PATIENCE: Duration = Duration::from_secs(15 * 60);

/// The default of `job_depth`.
const JOB_DEPTH: u32 = 10_000;

/// The options of the sale.
#[derive(Clone, Debug)]
pub struct SaleOptions {
    /// The address of the ledger: PostgreSQL or SQLite.
    pub url: DatabaseUrl,
    /// The most connections of a node; PostgreSQL only.
    pub connections: usize,
    /// The time limit of a statement, and of the wait for a connection or a lock.
    pub timeout: Duration,
    /// The longest time for which a refusal of the ledger is repeated without asking it; zero: never.
    pub early_refusals: Duration,
    /// A payment that is not authorised for this long is given up.
    pub payment_patience: Duration,
    /// The most calls of a node to endpoints of jobs at once.
    pub workers: JobWorkers,
    /// The number of open jobs from which requests for new ones are refused.
    pub job_depth: u32,
    /// The payment providers by name.
    pub payments: BTreeMap<String, PaymentOptions>,
}

/// The default of `early_refusals`. Units that another node has freed are on sale again after this time.
pub const EARLY_REFUSALS: Duration = Duration::from_millis(100);

/// A freed unit has to be on sale again within a second.
const EARLY_REFUSALS_MAX: Duration = Duration::from_millis(500);

const PATIENCES: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(24 * 60 * 60);

impl SaleOptions {
    /// The keys of the section.
    pub const KEYS: &[&str] = &[
        "url",
        "password_file",
        "connections",
        "timeout",
        "early_refusals",
        "payment_patience",
        "workers",
        "job_depth",
        "payment",
    ];

    /// Returns the options of a sale without payments.
    #[must_use]
    pub fn new(url: DatabaseUrl) -> Self {
        Self {
            url,
            connections: 8,
            timeout: Duration::from_secs(5),
            early_refusals: EARLY_REFUSALS,
            payment_patience: PATIENCE,
            workers: JobWorkers::default(),
            job_depth: JOB_DEPTH,
            payments: BTreeMap::new(),
        }
    }

    /// Reads the section. `parse_url` reads an address of a database, whose password may be in a file; `folder`: the
    /// base of relative file names.
    pub fn read(
        table: &mut TableReader<'_>,
        folder: &Path,
        parse_url: impl FnOnce(&str, Option<&Path>) -> Result<DatabaseUrl, ValueError>,
    ) -> Option<Self> {
        let password_file = table.file("password_file", folder);
        let password_file = password_file.as_deref();
        let connections = table.whole_number("connections", 1..=1_000).unwrap_or(8) as usize;
        let timeout = table.duration("timeout", TIME_LIMITS).unwrap_or(Duration::from_secs(5));
        let early_refusals = table.duration("early_refusals", Duration::ZERO..=EARLY_REFUSALS_MAX);
        let payment_patience = table.duration("payment_patience", PATIENCES).unwrap_or(PATIENCE);
        let workers = table.nested("workers", JobWorkers::KEYS, JobWorkers::read);
        let job_depth = table.whole_number("job_depth", 1..=100_000_000).unwrap_or(JOB_DEPTH);
        let payments = table.named_tables("payment", PaymentOptions::KEYS, |table| {
            PaymentOptions::read(table, folder)
        });
        let url =
            table.required_text_with("url", FORMS, |text| match parse_url(text, password_file)? {
                DatabaseUrl::MariaDb(url) => Err(ValueError::wrong_value(
                    format!("`{url}`: the ledger can't be in a MariaDB"),
                    FORMS,
                )),
                url => Ok(url),
            });
        Some(Self {
            url: url?,
            connections,
            timeout,
            early_refusals: early_refusals.unwrap_or(EARLY_REFUSALS),
            payment_patience,
            workers: workers.unwrap_or_default(),
            job_depth,
            payments,
        })
    }

    /// Opens the ledger.
    ///
    /// # Errors
    /// The database does not answer, or its schema can't be used.
    pub async fn open(&self) -> Result<Arc<dyn Ledger>, SchemaError> {
        match &self.url {
            DatabaseUrl::Postgres(url) => {
                Ok(Arc::new(PostgresLedger::open(url, self.connections, self.timeout).await?))
            }
            DatabaseUrl::Sqlite(path) => {
                Ok(Arc::new(SqliteLedger::open(path, self.timeout).await?))
            }
            DatabaseUrl::MariaDb(_) => Err(unsupported()),
        }
    }

    /// Returns the migrations that the database lacks.
    ///
    /// # Errors
    /// The database does not answer, or has a newer schema.
    pub async fn pending(&self) -> Result<Pending, SchemaError> {
        match &self.url {
            DatabaseUrl::Postgres(url) => postgres::pending(url).await,
            DatabaseUrl::Sqlite(path) => sqlite::pending(path),
            DatabaseUrl::MariaDb(_) => Err(unsupported()),
        }
    }

    /// Applies the migrations that the database lacks, all or none, and returns them.
    ///
    /// # Errors
    /// The database does not answer, refuses a statement, or has a newer schema. Nothing has changed.
    pub async fn migrate(&self) -> Result<Pending, SchemaError> {
        match &self.url {
            DatabaseUrl::Postgres(url) => postgres::migrate(url).await,
            DatabaseUrl::Sqlite(path) => sqlite::migrate(path),
            DatabaseUrl::MariaDb(_) => Err(unsupported()),
        }
    }
}

fn unsupported() -> SchemaError {
    LedgerError::Unreadable("the ledger can't be in a MariaDB".to_owned()).into()
}
