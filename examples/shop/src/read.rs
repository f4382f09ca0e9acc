//! The queries behind the pages.

use rusqlite::{Connection, OptionalExtension, Row, ToSql};

use crate::error::ShopError;
use crate::shop::{Shop, connect};

/// The data of a product page.
pub(crate) struct Item {
    pub(crate) id: u32,
    pub(crate) sku: String,
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) category: u32,
    pub(crate) category_name: String,
    pub(crate) price_cents: i64,
    pub(crate) currency: String,
    pub(crate) stock: i64,
}

/// The data of a product in a list.
pub(crate) struct Tile {
    pub(crate) id: u32,
    pub(crate) name: String,
    pub(crate) price_cents: i64,
    pub(crate) currency: String,
}

/// The recommendations for a product.
pub(crate) struct Recommended {
    pub(crate) category: u32,
    /// Recommended products, each with its stock.
    pub(crate) products: Vec<(Tile, i64)>,
}

/// One page of a category.
pub(crate) struct CategoryPage {
    pub(crate) id: u32,
    pub(crate) name: String,
    pub(crate) tiles: Vec<Tile>,
    pub(crate) page: u32,
    pub(crate) pages: u32,
}

/// Products per category page.
pub(crate) const PAGE_SIZE: u32 = 24;

impl Shop {
    /// Runs `query` on a connection of its own, so that readers never wait for writers or for each
    /// other.
    pub(crate) fn read<T>(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, ShopError> {
        let idle = self.0.readers.lock().pop();
        let connection = match idle {
            Some(connection) => connection,
            None => connect(self.path())?,
        };
        let result = query(&connection);
        self.0.readers.lock().push(connection);
        Ok(result?)
    }
}

/// Finds a product by id, or else by article number.
pub(crate) fn item(connection: &Connection, handle: &str) -> rusqlite::Result<Option<Item>> {
    if let Ok(id) = handle.parse::<u32>()
        && let Some(item) = item_where(connection, "p.id = ?1", id)?
    {
        return Ok(Some(item));
    }
    item_where(connection, "p.sku = ?1", handle)
}

fn item_where(
    connection: &Connection,
    condition: &str,
    value: impl ToSql,
) -> rusqlite::Result<Option<Item>> {
    connection
        .prepare_cached(&format!(
            "select p.id, p.sku, p.name, p.description, p.category_id, c.name, p.price_cents,
                    p.currency, p.stock
             from products p join categories c on c.id = p.category_id where {condition}"
        ))?
        .query_row([value], |row| {
            Ok(Item {
                id: row.get(0)?,
                sku: row.get(1)?,
                name: row.get(2)?,
                description: row.get(3)?,
                category: row.get(4)?,
                category_name: row.get(5)?,
                price_cents: row.get(6)?,
                currency: row.get(7)?,
                stock: row.get(8)?,
            })
        })
        .optional()
}

pub(crate) fn categories(connection: &Connection) -> rusqlite::Result<Vec<(u32, String)>> {
    connection
        .prepare_cached("select id, name from categories order by id")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect()
}

pub(crate) fn first_products(connection: &Connection, limit: u32) -> rusqlite::Result<Vec<Tile>> {
    connection
        .prepare_cached(
            "select id, name, price_cents, currency from products order by id limit ?1",
        )?
        .query_map([limit], tile)?
        .collect()
}

/// Returns page `page` (from 1) of a category; `None` if the category or page does not exist.
pub(crate) fn category_page(
    connection: &Connection,
    id: u32,
    page: u32,
) -> rusqlite::Result<Option<CategoryPage>> {
    let found: Option<(String, u32)> = connection
        .prepare_cached(
            "select name, (select count(*) from products where category_id = c.id)
             from categories c where id = ?1",
        )?
        .query_row([id], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((name, products)) = found else { return Ok(None) };
    let pages = products.div_ceil(PAGE_SIZE).max(1);
    if page == 0 || page > pages {
        return Ok(None);
    }
    let tiles = connection
        .prepare_cached(
            "select id, name, price_cents, currency from products
             where category_id = ?1 order by id limit ?2 offset ?3",
        )?
        .query_map((id, PAGE_SIZE, (page - 1) * PAGE_SIZE), tile)?
        .collect::<Result<_, _>>()?;
    Ok(Some(CategoryPage { id, name, tiles, page, pages }))
}

/// Returns other products of the same category that are in stock, highest stock first; `None` if the
/// product does not exist.
pub(crate) fn recommended(
    connection: &Connection,
    id: u32,
) -> rusqlite::Result<Option<Recommended>> {
    let category: Option<u32> = connection
        .prepare_cached("select category_id from products where id = ?1")?
        .query_row([id], |row| row.get(0))
        .optional()?;
    let Some(category) = category else { return Ok(None) };
    let products = connection
        .prepare_cached(
            "select id, name, price_cents, currency, stock from products
             where category_id = ?1 and id <> ?2 and stock > 0 order by stock desc, id limit 8",
        )?
        .query_map([category, id], |row| Ok((tile(row)?, row.get(4)?)))?
        .collect::<Result<_, _>>()?;
    Ok(Some(Recommended { category, products }))
}

/// Returns the first 20 products that match all words of `words`, each as a prefix.
pub(crate) fn search(connection: &Connection, words: &str) -> rusqlite::Result<Vec<Tile>> {
    let query: Vec<String> = words
        .split(|letter: char| !letter.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .take(6)
        .map(|word| format!("\"{word}\"*"))
        .collect();
    if query.is_empty() {
        return Ok(Vec::new());
    }
    connection
        .prepare_cached(
            "select p.id, p.name, p.price_cents, p.currency
             from product_search s join products p on p.id = s.rowid
             where product_search match ?1 order by s.rowid limit 20",
        )?
        .query_map([query.join(" ")], tile)?
        .collect()
}

fn tile(row: &Row<'_>) -> rusqlite::Result<Tile> {
    Ok(Tile { id: row.get(0)?, name: row.get(1)?, price_cents: row.get(2)?, currency: row.get(3)? })
}
