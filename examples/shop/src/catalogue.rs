//! The shop's initial products.

/// One product with its initial price and stock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Product {
    /// Article number, unique in the catalogue.
    pub sku: String,
    /// Name shown to shoppers.
    pub name: String,
    /// One or two sentences for the product page.
    pub description: String,
    /// Category name; [`category_of`] derives one from the product's name.
    pub category: String,
    /// Price in minor units.
    pub price_cents: i64,
    /// Pieces in stock.
    pub stock: i64,
}

/// The products in the order of their ids: the first has id 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Catalogue {
    /// ISO 4217 code of every price.
    pub currency: String,
    /// All products.
    pub products: Vec<Product>,
}

impl Catalogue {
    /// Generates a gift shop of `products` articles. The same `seed` gives the same shop.
    pub fn generated(products: usize, seed: u64) -> Self {
        let mut rng = SplitMix64(seed.wrapping_add(0x9e37_79b9_7f4a_7c15));
        let products = (0..products)
            .map(|index| {
                let name =
                    format!("{} {} {}", rng.pick(&STYLES), rng.pick(&MATERIALS), rng.pick(&THINGS));
                let price_cents = rng.pick(&PRICES);
                let stock = 20 + i64::try_from(rng.below(180)).unwrap_or(20);
                Product::named(format!("{}{:04}", 20 + index % 70, index), name, price_cents, stock)
            })
            .collect();
        Self { currency: "GBP".into(), products }
    }

    /// Returns a catalogue of these products, for example those of an order book.
    pub fn of(currency: impl Into<String>, products: Vec<Product>) -> Self {
        Self { currency: currency.into(), products }
    }

    /// Returns the category names in the order of their ids: the first has id 1.
    pub fn categories(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for product in &self.products {
            if !names.contains(&product.category.as_str()) {
                names.push(&product.category);
            }
        }
        names.sort_unstable();
        names
    }
}

impl Product {
    /// Returns a product whose category and description are derived from its name.
    pub fn named(
        sku: impl Into<String>,
        name: impl Into<String>,
        price_cents: i64,
        stock: i64,
    ) -> Self {
        let name = title_case(&name.into());
        let category = category_of(&name).to_owned();
        let description = format!(
            "{name}, from our {} shelf. Picked by hand, packed with care and sent the same day when \
             you order before three. Not quite what you hoped for? Send it back within thirty days.",
            category.to_lowercase()
        );
        Self { sku: sku.into(), name, description, category, price_cents, stock }
    }
}

/// Returns the category of a product by the words in its name.
pub fn category_of(name: &str) -> &'static str {
    let name = name.to_uppercase();
    CATEGORY_WORDS
        .iter()
        .find(|(_, words)| words.iter().any(|word| name.contains(word)))
        .map_or("Curiosities", |(category, _)| category)
}

fn title_case(name: &str) -> String {
    let mut word_starts = true;
    name.trim()
        .chars()
        .map(|letter| {
            let cased =
                if word_starts { letter.to_ascii_uppercase() } else { letter.to_ascii_lowercase() };
            word_starts = !letter.is_alphanumeric() && letter != '\'';
            cased
        })
        .collect()
}

/// SplitMix64: sufficiently random for a catalogue, and the same on every machine.
struct SplitMix64(u64);

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        let limit = u64::try_from(limit.max(1)).unwrap_or(u64::MAX);
        usize::try_from(self.next() % limit).unwrap_or(0)
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

const CATEGORY_WORDS: [(&str, &[&str]); 14] = [
    ("Christmas", &["CHRISTMAS", "XMAS", "ADVENT", "REINDEER", "SNOW"]),
    ("Bags", &["BAG", "TOTE", "PURSE", "SATCHEL"]),
    ("Lights and candles", &["LIGHT", "LANTERN", "CANDLE", "LAMP"]),
    ("Cups and mugs", &["MUG", "CUP", "TEA", "COFFEE"]),
    ("Baking and kitchen", &["CAKE", "BAKING", "BOWL", "JAR", "KITCHEN", "SPOON", "PLATE", "TRAY"]),
    ("Boxes and tins", &["BOX", "TIN", "DRAWER", "CABINET"]),
    ("Clocks", &["CLOCK", "WATCH"]),
    ("Cards and wrap", &["CARD", "WRAP", "RIBBON", "TISSUE", "PAPER", "STICKER"]),
    ("Signs and frames", &["SIGN", "FRAME", "PICTURE", "CHALKBOARD", "POSTER"]),
    ("Jewellery", &["NECKLACE", "BRACELET", "EARRING", "RING ", "BEAD"]),
    ("Toys and games", &["TOY", "GAME", "DOLL", "PUZZLE", "JIGSAW", "SKITTLE", "SPACEBOY"]),
    ("Textiles", &["CUSHION", "BLANKET", "APRON", "TOWEL", "DOORMAT", "DOILEY", "QUILT"]),
    ("Garden", &["GARDEN", "PLANT", "FLOWER", "BIRD", "WATERING"]),
    ("Party", &["PARTY", "BUNTING", "BALLOON", "GARLAND", "DECORATION"]),
];

const STYLES: [&str; 16] = [
    "White",
    "Red Retrospot",
    "Vintage",
    "French Blue",
    "Pantry",
    "Rustic",
    "Regency",
    "Folk Art",
    "Ivory",
    "Cream Cupid",
    "Strawberry",
    "Woodland",
    "Set of 3",
    "Hanging",
    "Doughnut",
    "Paisley",
];
const MATERIALS: [&str; 14] = [
    "Metal",
    "Wooden",
    "Ceramic",
    "Glass",
    "Enamel",
    "Felt",
    "Wicker",
    "Cotton",
    "Porcelain",
    "Zinc",
    "Paper",
    "Knitted",
    "Heart",
    "Polkadot",
];
const THINGS: [&str; 36] = [
    "T-Light Holder",
    "Lantern",
    "Candle Stand",
    "Lunch Bag",
    "Jumbo Bag",
    "Shopper Tote",
    "Mug",
    "Tea Cup and Saucer",
    "Coffee Pot",
    "Cake Stand",
    "Cake Cases",
    "Mixing Bowl",
    "Storage Jar",
    "Biscuit Tin",
    "Trinket Box",
    "Chest of Drawers",
    "Alarm Clock",
    "Wall Clock",
    "Birthday Card",
    "Gift Wrap",
    "Ribbon Reel",
    "Photo Frame",
    "Chalkboard",
    "Door Sign",
    "Necklace",
    "Bracelet",
    "Jigsaw",
    "Skittles",
    "Cushion Cover",
    "Picnic Blanket",
    "Apron",
    "Plant Pot",
    "Bird House",
    "Watering Can",
    "Party Bunting",
    "Christmas Garland",
];
const PRICES: [i64; 14] = [85, 125, 165, 195, 210, 255, 295, 375, 425, 495, 595, 795, 995, 1275];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_seed_gives_same_catalogue() {
        assert_eq!(Catalogue::generated(300, 7), Catalogue::generated(300, 7));
        assert_ne!(Catalogue::generated(300, 7), Catalogue::generated(300, 8));
    }

    #[test]
    fn order_book_names_title_cased() {
        let product = Product::named("85123A", "WHITE HANGING HEART T-LIGHT HOLDER ", 255, 6);
        assert_eq!(product.name, "White Hanging Heart T-Light Holder");
        assert_eq!(product.category, "Lights and candles");
        assert_eq!(Product::named("1", "POET'S CORNER", 1, 1).name, "Poet's Corner");
    }
}
