//! Recorded reads without times: page requests of a web shop, or reads of an entity cache.
//!
//! A trace is a sequence of little-endian `u32`, plain or compressed with zstd. If the upper five
//! bits of all numbers are zero, each is a page number and becomes a product page; otherwise each
//! is the key of an entity and becomes a JSON read.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::decompress::decompressed;
use super::random::Popularity;
use crate::page::Page;

/// An error of reading a trace.
#[derive(Debug)]
pub enum TraceError {
    /// The file cannot be read or decompressed.
    File(std::io::Error),
    /// The length in bytes is zero or not a multiple of four.
    Length(usize),
}

impl std::fmt::Display for TraceError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(error) => write!(formatter, "the trace cannot be read: {error}"),
            Self::Length(bytes) => {
                write!(formatter, "{bytes} bytes are not a sequence of 32-bit numbers")
            }
        }
    }
}

impl std::error::Error for TraceError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::File(error) => Some(error),
            Self::Length(_) => None,
        }
    }
}

/// Reads in the order of their recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadTrace {
    /// Keys numbered by their first appearance, from 0.
    sequence: Vec<u32>,
    keys: u32,
    entities: bool,
}

/// JSON resources of each product that entities are spread over.
const RESOURCES: u32 = 3;

impl ReadTrace {
    /// Reads a trace from a file, compressed or not.
    ///
    /// # Errors
    /// The file cannot be read, or is not a trace.
    pub fn open(path: &Path) -> Result<Self, TraceError> {
        let mut bytes = Vec::new();
        File::open(path)
            .and_then(decompressed)
            .and_then(|mut file| file.read_to_end(&mut bytes))
            .map_err(TraceError::File)?;
        Self::parse(&bytes)
    }

    fn parse(bytes: &[u8]) -> Result<Self, TraceError> {
        let (numbers, rest) = bytes.as_chunks::<4>();
        if numbers.is_empty() || !rest.is_empty() {
            return Err(TraceError::Length(bytes.len()));
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

    /// Returns the number of products with which every recorded key gets a URL of its own. A
    /// smaller shop works too; keys then share products.
    pub fn products(&self) -> u32 {
        if self.entities { self.keys.div_ceil(RESOURCES) } else { self.keys }
    }

    /// Returns a summary of the trace as lines of the report.
    pub fn notes(&self) -> Vec<String> {
        let kind = if self.entities { "entity" } else { "page" };
        vec![format!("Trace: {} {kind} reads of {} keys.", self.sequence.len(), self.keys)]
    }

    /// Returns the request for the read at `index`, in a shop of `products`; `None` after the last.
    pub(super) fn page(&self, index: usize, products: u32) -> Option<Page> {
        let key = *self.sequence.get(index)?;
        let products = products.max(1);
        Some(if self.entities {
            let product = 1 + key / RESOURCES % products;
            match key % RESOURCES {
                0 => Page::Price(product),
                1 => Page::Stock(product),
                _ => Page::ProductJson(product),
            }
        } else {
            Page::Product(1 + key % products)
        })
    }

    /// Returns the read frequency of each product, in a shop of `products`; writes follow it.
    pub(super) fn popularity(&self, products: u32) -> Popularity {
        let mut counts = HashMap::<u32, u32>::new();
        for key in &self.sequence {
            let product = if self.entities { key / RESOURCES } else { *key } % products.max(1) + 1;
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

    fn trace(numbers: &[u32]) -> ReadTrace {
        let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        ReadTrace::parse(&bytes).expect("a trace")
    }

    #[test]
    fn page_numbers_become_product_pages() {
        let trace = trace(&[5, 9, 5]);
        assert_eq!(trace.products(), 2);
        let pages: Vec<_> = (0..4).map(|index| trace.page(index, 2)).collect();
        let product = |id| Some(Page::Product(id));
        assert_eq!(pages, [product(1), product(2), product(1), None]);
    }

    #[test]
    fn entity_keys_become_json_reads() {
        let trace = trace(&[0xF000_0001, 0x8800_0200, 0x8800_0400, 0x4800_0000, 0xF000_0001]);
        assert_eq!(trace.products(), 2);
        assert_eq!(trace.page(0, 2), Some(Page::Price(1)));
        assert_eq!(trace.page(3, 2), Some(Page::Price(2)));
        assert_eq!(trace.page(4, 2), Some(Page::Price(1)));
    }

    #[test]
    fn malformed_trace_rejected() {
        assert!(matches!(ReadTrace::parse(&[]), Err(TraceError::Length(0))));
        assert!(matches!(ReadTrace::parse(&[1, 2, 3, 4, 5]), Err(TraceError::Length(5))));
    }

    #[test]
    fn real_traces_read_whole() {
        let folder = Path::new("../../../shared/data");
        if !folder.exists() {
            println!("skipped: {} does not exist", folder.display());
            return;
        }
        let pages = ReadTrace::open(&folder.join("shop-pages.u32.zst")).expect("a trace");
        assert_eq!((pages.sequence.len(), pages.keys, pages.entities), (95_607, 13_756, false));
        let entities = ReadTrace::open(&folder.join("shop-entities.u32.zst")).expect("a trace");
        assert_eq!((entities.sequence.len(), entities.keys), (3_000_000, 66_997));
        assert!(entities.entities);
    }
}
