//! A small, ordinary shop on SQLite: products, categories, search, a JSON API and orders.
//!
//! It stands for a store's existing application and has no knowledge of Tidegate. Like many
//! applications, it names the data that a page depends on in `Surrogate-Key`.
//!
//! ```no_run
//! # async fn open() -> Result<(), shop::ShopError> {
//! let shop = shop::Shop::open(shop::ShopOptions::at("shop.db"), &shop::Catalogue::generated(500, 7))?;
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await.expect("a free port");
//! let server = shop.serve(listener);
//! println!("open http://{}/", server.address());
//! # Ok(()) }
//! ```
//!
//! There are two kinds of writes, as in every real shop: by the shop's own code ([`Shop::order`],
//! [`Shop::reprice`], …), which calls the [hooks](Shop::on_write) after each commit, and by scripts
//! that open the database themselves ([`Script`]) and call no hooks.
//!
//! [`UsualShop`] is a flash sale as it is often written, to compare with.

mod catalogue;
mod clock;
mod error;
mod ground_truth;
mod html;
mod pages;
mod read;
mod route;
mod script;
mod serve;
mod shop;
mod usual;
mod write;

pub use catalogue::{Catalogue, Product, category_of};
pub use error::ShopError;
pub use ground_truth::{GroundTruth, Version};
pub use script::Script;
pub use serve::ShopServer;
pub use shop::{Shop, ShopOptions};
pub use usual::UsualShop;
pub use write::{OrderLine, Outcome};
