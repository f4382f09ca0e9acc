//! The shop by itself: `cargo run -p shop [ADDRESS] [FILE]`.

use anyhow::Context;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    let file = match arguments.next() {
        Some(file) => std::path::PathBuf::from(file),
        None => std::env::temp_dir().join("the-little-shop.db"),
    };
    let options = shop::ShopOptions::at(&file);
    let shop = shop::Shop::open(options, &shop::Catalogue::generated(2000, 1))
        .with_context(|| format!("cannot open the shop in {}", file.display()))?;
    let listener =
        TcpListener::bind(&address).await.with_context(|| format!("cannot listen on {address}"))?;
    let front = shop.serve(listener);
    #[expect(clippy::print_stdout, reason = "a program's one line of output")]
    {
        println!(
            "The Little Shop is open: http://{}/ (database {})",
            front.address(),
            file.display()
        );
    }
    tokio::signal::ctrl_c().await.context("cannot wait for Ctrl-C")
}
