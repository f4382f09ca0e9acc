//! The rivals' memory: pages by URL, and which products each page names.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::HeaderMap;
use parking_lot::Mutex;

use crate::clock::now;

/// A page as it came.
pub(super) struct Kept {
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    expires: Instant,
}

/// Pages beyond this many are not kept; a demo's shop has fewer.
const MOST_PAGES: usize = 200_000;

#[derive(Default)]
pub(super) struct Store(Mutex<Shelves>);

#[derive(Default)]
struct Shelves {
    pages: HashMap<Arc<str>, Arc<Kept>>,
    by_product: HashMap<u32, HashSet<Arc<str>>>,
}

impl Store {
    pub(super) fn get(&self, path: &str) -> Option<Arc<Kept>> {
        let kept = Arc::clone(self.0.lock().pages.get(path)?);
        (now() < kept.expires).then_some(kept)
    }

    pub(super) fn put(&self, path: &str, headers: &HeaderMap, body: &Bytes, ttl: Duration) {
        let path: Arc<str> = path.into();
        let kept =
            Arc::new(Kept { headers: headers.clone(), body: body.clone(), expires: now() + ttl });
        let mut shelves = self.0.lock();
        if shelves.pages.len() >= MOST_PAGES && !shelves.pages.contains_key(&path) {
            return;
        }
        for product in products(headers) {
            shelves.by_product.entry(product).or_default().insert(Arc::clone(&path));
        }
        shelves.pages.insert(path, kept);
    }

    /// Deletes every page that names one of `products`; returns how many there were.
    pub(super) fn delete(&self, products: &[u32]) -> u64 {
        let mut shelves = self.0.lock();
        let mut deleted = 0;
        for product in products {
            for path in shelves.by_product.remove(product).unwrap_or_default() {
                deleted += u64::from(shelves.pages.remove(&path).is_some());
            }
        }
        deleted
    }
}

/// The products that `Surrogate-Key` names, on their own page or in a list.
fn products(headers: &HeaderMap) -> impl Iterator<Item = u32> {
    let keys = headers.get("surrogate-key").and_then(|keys| keys.to_str().ok()).unwrap_or("");
    keys.split_ascii_whitespace().filter_map(|key| key.rsplit_once('-')).filter_map(|(kind, id)| {
        if matches!(kind, "product" | "listing") { id.parse().ok() } else { None }
    })
}
