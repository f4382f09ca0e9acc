//! Databases under test.

use feed::{Feed, Source, TrackedTable};

/// A database with `products(id int primary key, name text, category_id int, price_cents int)`, and
/// its feed.
pub(crate) trait Fixture: Sync {
    /// Runs SQL in the database's own shell: another process, and a writer independent of Tidegate.
    fn run(&self, sql: &str);
    /// Returns a new consumer of the log.
    fn feed(&self) -> Box<dyn Feed>;
    fn source(&self) -> Box<dyn Source>;
    /// Writes a log message like another program might.
    fn write_message(&self, text: &str);
}

pub(crate) const PRODUCTS: &str =
    "create table products(id integer primary key, name text, category_id int, price_cents int)";

pub(crate) fn products() -> TrackedTable {
    let columns = ["id", "name", "category_id", "price_cents"].map(str::to_owned).to_vec();
    let old_columns = ["id", "category_id"].map(str::to_owned).to_vec();
    let key_columns = vec!["id".to_owned()];
    let (table, every_column) = ("products".into(), false);
    TrackedTable { table, columns, key_columns, old_columns, every_column }
}

/// The real time; only the lag metric uses it.
pub(crate) struct WallClock;

impl coherence::Clock for WallClock {
    fn mono(&self) -> coherence::Mono {
        coherence::Mono(0)
    }

    fn wall_ms(&self) -> u64 {
        let since = std::time::SystemTime::UNIX_EPOCH.elapsed().expect("after 1970");
        since.as_millis() as u64
    }
}
