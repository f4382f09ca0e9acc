//! The baselines' storage: pages by URL, with an index by the products that each page names.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::HeaderMap;
use parking_lot::Mutex;

use crate::clock::now;

/// A response as the upstream sent it.
pub(super) struct StoredPage {
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    expires: Instant,
}

/// Pages beyond this number are not stored; a demo's shop has fewer.
const MAX_PAGES: usize = 200_000;

#[derive(Default)]
pub(super) struct Store(Mutex<PageIndex>);

#[derive(Default)]
struct PageIndex {
    pages: HashMap<Arc<str>, Arc<StoredPage>>,
    by_product: HashMap<u32, HashSet<Arc<str>>>,
}

impl Store {
    pub(super) fn get(&self, path: &str) -> Option<Arc<StoredPage>> {
        let stored = Arc::clone(self.0.lock().pages.get(path)?);
        (now() < stored.expires).then_some(stored)
    }

    pub(super) fn put(&self, path: &str, headers: &HeaderMap, body: &Bytes, ttl: Duration) {
        let path: Arc<str> = path.into();
        let stored = Arc::new(StoredPage {
            headers: headers.clone(),
            body: body.clone(),
            expires: now() + ttl,
        });
        let mut index = self.0.lock();
        if index.pages.len() >= MAX_PAGES && !index.pages.contains_key(&path) {
            return;
        }
        for product in products(headers) {
            index.by_product.entry(product).or_default().insert(Arc::clone(&path));
        }
        index.pages.insert(path, stored);
    }

    /// Deletes every page that names one of `products`; returns the number of deleted pages.
    pub(super) fn delete(&self, products: &[u32]) -> u64 {
        let mut index = self.0.lock();
        let mut deleted = 0;
        for product in products {
            for path in index.by_product.remove(product).unwrap_or_default() {
                deleted += u64::from(index.pages.remove(&path).is_some());
            }
        }
        deleted
    }
}

/// Returns the products that `Surrogate-Key` names, on a product page or in a list.
fn products(headers: &HeaderMap) -> impl Iterator<Item = u32> {
    let keys = headers.get("surrogate-key").and_then(|keys| keys.to_str().ok()).unwrap_or("");
    keys.split_ascii_whitespace().filter_map(|key| key.rsplit_once('-')).filter_map(|(kind, id)| {
        if matches!(kind, "product" | "listing") { id.parse().ok() } else { None }
    })
}
