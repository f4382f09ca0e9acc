//! Runs the shop alone: `cargo run -p shop [ADDRESS] [FILE]`.

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
        .with_context(|| format!("cannot open the shop's database {}", file.display()))?;
    let listener =
        TcpListener::bind(&address).await.with_context(|| format!("cannot listen on {address}"))?;
    let server = shop.serve(listener);
    #[expect(clippy::print_stdout, reason = "the program's only output")]
    {
        println!(
            "The Little Shop is open: http://{}/ (database {})",
            server.address(),
            file.display()
        );
    }
    tokio::signal::ctrl_c().await.context("cannot wait for Ctrl-C")
}
