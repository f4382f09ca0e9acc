//! An ordinary little shop: products, categories, search, a JSON API and orders, on SQLite.
//!
//! It stands for the application that a store already has. It knows nothing of Tidegate; like
//! many applications it names what a page depends on in `Surrogate-Key`, and that is all.
//!
//! ```no_run
//! # async fn open() -> Result<(), shop::ShopError> {
//! let shop = shop::Shop::open(shop::ShopOptions::at("shop.db"), &shop::Catalogue::generated(500, 7))?;
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await.expect("a free port");
//! let front = shop.serve(listener);
//! println!("open http://{}/", front.address());
//! # Ok(()) }
//! ```
//!
//! Writes come in two ways, as in every real shop: through the shop's own code ([`Shop::order`],
//! [`Shop::reprice`], …), which calls the [hooks](Shop::on_write) after each commit, and through
//! scripts that open the database themselves ([`Script`]) and tell nobody.

mod catalogue;
mod clock;
mod error;
mod html;
mod pages;
mod read;
mod route;
mod script;
mod serve;
mod shop;
mod truth;
mod write;

pub use catalogue::{Catalogue, Product, category_of};
pub use error::ShopError;
pub use script::Script;
pub use serve::Front;
pub use shop::{Shop, ShopOptions};
pub use truth::{Truth, Version};
pub use write::{Line, Outcome};
