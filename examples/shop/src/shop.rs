//! The shop as a whole: its file, its connections and who is told about writes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use rusqlite::Connection;

use crate::catalogue::Catalogue;
use crate::error::ShopError;
use crate::truth::Truth;

/// How to open a shop.
#[derive(Debug, Clone)]
pub struct ShopOptions {
    /// The SQLite file; made when absent.
    pub path: PathBuf,
    /// What rendering one page costs an application server besides the query: the shop waits this
    /// long, holding one of its workers. A stand-in for templates, frameworks and slow queries.
    pub render: Duration,
    /// Application workers behind each listener: at most this many requests are worked on at once.
    pub workers: usize,
    /// Requests that may wait for a worker behind each listener; more are answered 503. `None`: any
    /// number.
    pub backlog: Option<usize>,
}

impl ShopOptions {
    /// A shop at `path` whose pages cost 5 ms each, with 32 workers behind each listener: about
    /// 5,000 pages/s at most.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), render: Duration::from_millis(5), workers: 32, backlog: None }
    }
}

/// Told the ids of the products that a committed write of the shop's own code has changed.
pub(crate) type WriteHook = Box<dyn Fn(&[u32]) + Send + Sync>;

/// A shop that is open. Cheap to clone; all clones are the same shop.
#[derive(Clone)]
pub struct Shop(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) options: ShopOptions,
    pub(crate) truth: Arc<Truth>,
    pub(crate) writer: Mutex<Connection>,
    pub(crate) readers: Mutex<Vec<Connection>>,
    pub(crate) hooks: RwLock<Vec<WriteHook>>,
}

impl Shop {
    /// Opens the shop's database in WAL mode and puts `catalogue` on the shelves if they are empty.
    ///
    /// # Errors
    /// When the file cannot be made or opened, or holds something that is not a shop.
    pub fn open(options: ShopOptions, catalogue: &Catalogue) -> Result<Self, ShopError> {
        if let Some(folder) = options.path.parent().filter(|folder| !folder.as_os_str().is_empty())
        {
            std::fs::create_dir_all(folder)?;
        }
        let mut writer = connect(&options.path)?;
        writer.execute_batch(include_str!("schema.sql"))?;
        stock_shelves(&mut writer, catalogue)?;
        let truth = Arc::new(Truth::open(connect(&options.path)?)?);
        Ok(Self(Arc::new(Inner {
            options,
            truth,
            writer: Mutex::new(writer),
            readers: Mutex::new(Vec::new()),
            hooks: RwLock::new(Vec::new()),
        })))
    }

    /// The database file, for whoever wants to talk to it directly.
    pub fn path(&self) -> &Path {
        &self.0.options.path
    }

    /// Calls `hook` after every commit of the shop's own code, with the products it changed.
    pub fn on_write(&self, hook: impl Fn(&[u32]) + Send + Sync + 'static) {
        self.0.hooks.write().push(Box::new(hook));
    }

    /// What was true when, from the database's own history table.
    pub fn truth(&self) -> Arc<Truth> {
        Arc::clone(&self.0.truth)
    }
}

/// A connection as every program of this shop opens it.
pub(crate) fn connect(path: &Path) -> Result<Connection, ShopError> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "normal")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

fn stock_shelves(connection: &mut Connection, catalogue: &Catalogue) -> Result<(), ShopError> {
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
