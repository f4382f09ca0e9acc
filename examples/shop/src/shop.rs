//! The shop: its database, its connections and its write hooks.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use rusqlite::Connection;

use crate::catalogue::Catalogue;
use crate::error::ShopError;
use crate::ground_truth::GroundTruth;

/// Options for opening a shop.
#[derive(Debug, Clone)]
pub struct ShopOptions {
    /// The SQLite file; created if absent.
    pub path: PathBuf,
    /// Time to render one page besides the query, during which the shop occupies one of its workers.
    /// It simulates the cost of templates, frameworks and slow queries.
    pub render_time: Duration,
    /// Application workers behind each listener: the number of requests processed at the same time.
    pub workers: usize,
    /// Requests that may wait for a worker behind each listener; further ones get status 503. `None`
    /// sets no limit.
    pub backlog: Option<usize>,
}

impl ShopOptions {
    /// Returns options for a shop at `path` with 5 ms of rendering per page and 32 workers behind each
    /// listener: at most about 5,000 pages/s.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            render_time: Duration::from_millis(5),
            workers: 32,
            backlog: None,
        }
    }
}

/// Called with the ids of the products that a committed write of the shop's own code has changed.
pub(crate) type WriteHook = Box<dyn Fn(&[u32]) + Send + Sync>;

/// An open shop. Cheap to clone; all clones share the same database.
#[derive(Clone)]
pub struct Shop(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) options: ShopOptions,
    pub(crate) ground_truth: Arc<GroundTruth>,
    pub(crate) writer: Mutex<Connection>,
    pub(crate) readers: Mutex<Vec<Connection>>,
    pub(crate) hooks: RwLock<Vec<WriteHook>>,
}

impl Shop {
    /// Opens the shop's database in WAL mode and inserts `catalogue` if there are no products yet.
    ///
    /// # Errors
    /// The file cannot be created or opened, or is not a shop's database.
    pub fn open(options: ShopOptions, catalogue: &Catalogue) -> Result<Self, ShopError> {
        if let Some(folder) = options.path.parent().filter(|folder| !folder.as_os_str().is_empty())
        {
            std::fs::create_dir_all(folder)?;
        }
        let mut writer = connect(&options.path)?;
        writer.execute_batch(include_str!("schema.sql"))?;
        insert_catalogue(&mut writer, catalogue)?;
        let ground_truth = Arc::new(GroundTruth::open(connect(&options.path)?)?);
        Ok(Self(Arc::new(Inner {
            options,
            ground_truth,
            writer: Mutex::new(writer),
            readers: Mutex::new(Vec::new()),
            hooks: RwLock::new(Vec::new()),
        })))
    }

    /// Returns the path of the database file, for programs that access it directly.
    pub fn path(&self) -> &Path {
        &self.0.options.path
    }

    /// Registers `hook`, which is called after every commit of the shop's own code with the changed
    /// products.
    pub fn on_write(&self, hook: impl Fn(&[u32]) + Send + Sync + 'static) {
        self.0.hooks.write().push(Box::new(hook));
    }

    /// Returns the history of committed values, read from the database's own history table.
    pub fn ground_truth(&self) -> Arc<GroundTruth> {
        Arc::clone(&self.0.ground_truth)
    }
}

/// Opens a connection with the settings that all programs of this shop use.
pub(crate) fn connect(path: &Path) -> Result<Connection, ShopError> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "normal")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

fn insert_catalogue(connection: &mut Connection, catalogue: &Catalogue) -> Result<(), ShopError> {
    let transaction = connection.transaction()?;
    let empty: bool =
        transaction
            .query_row("select not exists (select 1 from products)", [], |row| row.get(0))?;
    if empty {
        let categories = catalogue.categories();
        let mut insert = transaction.prepare("insert into categories(id, name) values (?1, ?2)")?;
        for (id, name) in (1_u32..).zip(&categories) {
            insert.execute((id, name))?;
        }
        let mut insert = transaction.prepare(
            "insert into products(id, sku, name, description, category_id, price_cents, currency, stock)
             values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?;
        for (id, product) in (1_u32..).zip(&catalogue.products) {
            let category = categories
                .binary_search(&product.category.as_str())
                .expect("`categories` lists the category of every product, sorted");
            insert.execute((
                id,
                &product.sku,
                &product.name,
                &product.description,
                i64::try_from(category).unwrap_or(0) + 1,
                product.price_cents,
                &catalogue.currency,
                product.stock,
            ))?;
        }
    }
    transaction.commit()?;
    Ok(())
}
