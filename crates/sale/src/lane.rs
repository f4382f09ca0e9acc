//! Lanes: the sets of SKUs whose requests are batched.

use contract::fnv1a;

/// The lane of a set of SKUs: a number, so that it fits into the name of a hold.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Lane(u32);

/// Set in lanes of several SKUs. In the names of holds that older versions made it has no meaning.
const BASKET: u32 = 1 << 31;

impl Lane {
    /// Returns the lane of one SKU.
    #[must_use]
    pub fn of_sku(sku: &str) -> Self {
        Self(digest(sku.as_bytes().iter().copied()) & !BASKET)
    }

    /// Returns the lane of SKUs in ascending order. Neighbours may be equal.
    #[must_use]
    pub fn of_skus<'s>(skus: impl IntoIterator<Item = &'s str>) -> Self {
        let mut names: Vec<&str> = skus.into_iter().collect();
        names.dedup();
        match names[..] {
            [sku] => Self::of_sku(sku),
            _ => Self(digest(names.join("\u{0}").into_bytes()) | BASKET),
        }
    }

    /// Returns the lane in the name of a hold.
    #[must_use]
    pub const fn from_number(number: u32) -> Self {
        Self(number)
    }

    /// Returns the number.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0
    }

    /// Whether all of its holds are of one SKU.
    #[must_use]
    pub const fn is_of_one_sku(self) -> bool {
        self.0 & BASKET == 0
    }
}

fn digest(text: impl IntoIterator<Item = u8>) -> u32 {
    fnv1a(text) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn baskets_have_lanes_of_their_own() {
        assert_eq!(Lane::of_skus(["A", "A"]), Lane::of_sku("A"));
        for number in 0..100 {
            let sku = number.to_string();
            assert!(Lane::of_sku(&sku).is_of_one_sku());
            assert!(!Lane::of_skus([&*sku, "x"]).is_of_one_sku());
        }
    }
}
