//! The two directions of one connection.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};

use super::options::Fault;

const CHUNK_BYTES: usize = 16 * 1024;
/// The limit of chunks in flight in one direction; enough for any latency in a test.
const CHUNKS: usize = 1024;

/// The time of delivery, and the bytes.
type Chunk = (Instant, Vec<u8>);
type Faults = watch::Receiver<Fault>;

/// Forwards bytes until both sides are done, one breaks, or the fault is a reset.
pub(super) async fn run(mut client: TcpStream, mut server: TcpStream, faults: Faults) {
    // A failure only makes the connection slower.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let mut watched = faults.clone();
    let broken = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let both = async {
            tokio::try_join!(
                requests(from_client, to_server, faults.clone()),
                responses(from_server, to_client, faults.clone()),
            )
        };
        tokio::select! {
            result = both => result.is_err(),
            _ = watched.wait_for(|fault| fault.reset) => true,
        }
    };
    if broken {
        reset(client);
        reset(server);
    }
}

/// Closes with RST instead of FIN.
pub(super) fn reset(stream: TcpStream) {
    // On failure the socket is closed with FIN.
    let _ = stream.set_zero_linger();
}

async fn requests(
    mut client: ReadHalf<'_>,
    mut server: WriteHalf<'_>,
    faults: Faults,
) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let length = client.read(&mut chunk).await?;
        through(&faults).await;
        if length == 0 {
            return server.shutdown().await;
        }
        server.write_all(&chunk[..length]).await?;
    }
}

async fn responses(server: ReadHalf<'_>, client: WriteHalf<'_>, faults: Faults) -> io::Result<()> {
    let (sender, chunks) = mpsc::channel(CHUNKS);
    tokio::try_join!(stamp(server, sender, faults.clone()), deliver(chunks, client, faults))?;
    Ok(())
}

async fn stamp(
    mut server: ReadHalf<'_>,
    chunks: mpsc::Sender<Chunk>,
    faults: Faults,
) -> io::Result<()> {
    let mut random = 0x9e37_79b9_7f4a_7c15;
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let length = server.read(&mut chunk).await?;
        let fault = *faults.borrow();
        let late = fault.latency + fault.jitter.mul_f64(unit(&mut random));
        let sent = chunks.send((Instant::now() + late, chunk[..length].to_vec())).await;
        if length == 0 || sent.is_err() {
            return Ok(());
        }
    }
}

/// An empty chunk is the end of the stream.
async fn deliver(
    mut chunks: mpsc::Receiver<Chunk>,
    mut client: WriteHalf<'_>,
    mut faults: Faults,
) -> io::Result<()> {
    let mut passed: u64 = 0;
    while let Some((due, mut chunk)) = chunks.recv().await {
        sleep_until(due).await;
        through(&faults).await;
        if faults.has_changed().unwrap_or(false) {
            passed = 0;
        }
        let fault = *faults.borrow_and_update();
        let allowed = fault.half_close_after.map_or(u64::MAX, |bytes| bytes.saturating_sub(passed));
        let last = chunk.is_empty() || chunk.len() as u64 >= allowed;
        chunk.truncate(usize::try_from(allowed).unwrap_or(usize::MAX));
        if let Some(rate) = fault.bandwidth {
            sleep(Duration::from_secs_f64(chunk.len() as f64 / rate.max(1) as f64)).await;
        }
        client.write_all(&chunk).await?;
        passed += chunk.len() as u64;
        if last {
            return client.shutdown().await;
        }
    }
    Ok(())
}

/// Waits for the end of a black hole.
async fn through(faults: &Faults) {
    let mut waiting = faults.clone();
    // An error means that the proxy is dropped, with this task.
    let _ = waiting.wait_for(|fault| !fault.black_hole).await;
}

/// Returns the next number in 0..1 of a deterministic sequence (xorshift64).
fn unit(state: &mut u64) -> f64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    (*state >> 11) as f64 / (1_u64 << 53) as f64
}
