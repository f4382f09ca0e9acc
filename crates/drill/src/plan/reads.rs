//! Recorded reads without times: page requests of a web shop, or reads of an entity cache.
//!
//! A trace is a sequence of little-endian `u32`, plain or compressed with zstd. Where the upper
//! five bits are zero throughout, each is a page number and becomes a product page; otherwise each
//! is the key of an entity and becomes a JSON read.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::chance::Popularity;
use super::orders::plain;
use crate::page::Page;

/// Why a trace cannot be read.
#[derive(Debug)]
pub enum ReadsError {
    /// The file cannot be read or decompressed.
    File(std::io::Error),
    /// Its length is no multiple of four, or zero.
    Length(usize),
}

impl std::fmt::Display for ReadsError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(error) => write!(formatter, "the trace cannot be read: {error}"),
            Self::Length(bytes) => {
                write!(formatter, "{bytes} bytes are no sequence of 32-bit numbers")
            }
        }
    }
}

impl std::error::Error for ReadsError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::File(error) => Some(error),
            Self::Length(_) => None,
        }
    }
}

/// Reads in the order they were recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reads {
    /// Keys numbered by their first appearance, from 0.
    sequence: Vec<u32>,
    keys: u32,
    entities: bool,
}

/// JSON views that entities are spread over.
const VIEWS: u32 = 3;

impl Reads {
    /// Reads a trace from a file, compressed or not.
    ///
    /// # Errors
    /// When it is no trace.
    pub fn open(path: &Path) -> Result<Self, ReadsError> {
        let mut bytes = Vec::new();
        File::open(path)
            .and_then(plain)
            .and_then(|mut file| file.read_to_end(&mut bytes))
            .map_err(ReadsError::File)?;
        Self::of(&bytes)
    }

    fn of(bytes: &[u8]) -> Result<Self, ReadsError> {
        let (numbers, rest) = bytes.as_chunks::<4>();
        if numbers.is_empty() || !rest.is_empty() {
            return Err(ReadsError::Length(bytes.len()));
        }
        let mut seen = HashMap::<u32, u32>::new();
        let mut entities = false;
        let sequence = numbers
            .iter()
            .map(|number| {
                let key = u32::from_le_bytes(*number);
                entities |= key >> 27 != 0;
                let next = u32::try_from(seen.len()).unwrap_or(u32::MAX);
                *seen.entry(key).or_insert(next)
            })
            .collect();
        let keys = u32::try_from(seen.len()).unwrap_or(u32::MAX);
        Ok(Self { sequence, keys, entities })
    }

    /// How many products a shop needs so that every recorded key has a URL of its own. A smaller
    /// shop works too; keys then share products.
    pub fn products(&self) -> u32 {
        if self.entities { self.keys.div_ceil(VIEWS) } else { self.keys }
    }

    /// Lines for people: what the trace holds.
    pub fn notes(&self) -> Vec<String> {
        let kind = if self.entities { "entity" } else { "page" };
        vec![format!("Trace: {} {kind} reads of {} keys.", self.sequence.len(), self.keys)]
    }

    /// The request for the read at `index`, in a shop of `products`; `None` after the last.
    pub(super) fn page(&self, index: usize, products: u32) -> Option<Page> {
        let key = *self.sequence.get(index)?;
        let products = products.max(1);
        Some(if self.entities {
            let product = 1 + key / VIEWS % products;
            match key % VIEWS {
                0 => Page::Price(product),
                1 => Page::Stock(product),
                _ => Page::ProductJson(product),
            }
        } else {
            Page::Product(1 + key % products)
        })
    }

    /// How often each product of a shop of `products` is read: writes go where reads go.
    pub(super) fn popularity(&self, products: u32) -> Popularity {
        let mut counts = HashMap::<u32, u32>::new();
        for key in &self.sequence {
            let product = if self.entities { key / VIEWS } else { *key } % products.max(1) + 1;
            *counts.entry(product).or_default() += 1;
        }
        let mut counts: Vec<(u32, u32)> = counts.into_iter().collect();
        counts.sort_by_key(|(product, count)| (std::cmp::Reverse(*count), *product));
        Popularity::weighted(counts.into_iter().map(|(product, count)| (product, f64::from(count))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace(numbers: &[u32]) -> Reads {
        let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        Reads::of(&bytes).expect("a trace")
    }

    #[test]
    fn page_numbers_become_product_pages() {
        let reads = trace(&[5, 9, 5]);
        assert_eq!(reads.products(), 2);
        let pages: Vec<_> = (0..4).map(|index| reads.page(index, 2)).collect();
        let product = |id| Some(Page::Product(id));
        assert_eq!(pages, [product(1), product(2), product(1), None]);
    }

    #[test]
    fn entities_become_json_reads_with_a_url_for_each_key() {
        let reads = trace(&[0xF000_0001, 0x8800_0200, 0x8800_0400, 0x4800_0000, 0xF000_0001]);
        assert_eq!(reads.products(), 2);
        assert_eq!(reads.page(0, 2), Some(Page::Price(1)));
        assert_eq!(reads.page(3, 2), Some(Page::Price(2)));
        assert_eq!(reads.page(4, 2), Some(Page::Price(1)));
    }

    #[test]
    fn what_is_no_trace_is_refused() {
        assert!(matches!(Reads::of(&[]), Err(ReadsError::Length(0))));
        assert!(matches!(Reads::of(&[1, 2, 3, 4, 5]), Err(ReadsError::Length(5))));
    }

    #[test]
    fn real_traces_are_read_whole() {
        let folder = Path::new("../../../shared/data");
        if !folder.exists() {
            println!("skipped: {} is not here", folder.display());
            return;
        }
        let pages = Reads::open(&folder.join("shop-pages.u32.zst")).expect("a trace");
        assert_eq!((pages.sequence.len(), pages.keys, pages.entities), (95_607, 13_756, false));
        let entities = Reads::open(&folder.join("shop-entities.u32.zst")).expect("a trace");
        assert_eq!((entities.sequence.len(), entities.keys), (3_000_000, 66_997));
        assert!(entities.entities);
    }
}
