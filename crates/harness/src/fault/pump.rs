//! The two directions of one connection.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    sync::{mpsc, watch},
    time::{Instant, sleep, sleep_until},
};

use super::Fault;

const PIECE_BYTES: usize = 16 * 1024;
/// Pieces under way in one direction: enough for any latency in a test, and a bound.
const PIECES: usize = 1024;

/// Bytes, and when they are to arrive.
type Piece = (Instant, Vec<u8>);
type Faults = watch::Receiver<Fault>;

/// Passes bytes on until both sides are done, one breaks, or the fault is a reset.
pub(super) async fn run(mut client: TcpStream, mut server: TcpStream, faults: Faults) {
    // Only a matter of speed.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let mut watched = faults.clone();
    let broken = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let both = async {
            tokio::try_join!(
                requests(from_client, to_server, faults.clone()),
                answers(from_server, to_client, faults.clone()),
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
    // If the socket is beyond that, it is closed in whatever way is left.
    let _ = rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO));
}

async fn requests(
    mut client: ReadHalf<'_>,
    mut server: WriteHalf<'_>,
    faults: Faults,
) -> io::Result<()> {
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let length = client.read(&mut piece).await?;
        through(&faults).await;
        if length == 0 {
            return server.shutdown().await;
        }
        server.write_all(&piece[..length]).await?;
    }
}

async fn answers(server: ReadHalf<'_>, client: WriteHalf<'_>, faults: Faults) -> io::Result<()> {
    let (sender, pieces) = mpsc::channel(PIECES);
    tokio::try_join!(stamp(server, sender, faults.clone()), deliver(pieces, client, faults))?;
    Ok(())
}

async fn stamp(
    mut server: ReadHalf<'_>,
    pieces: mpsc::Sender<Piece>,
    faults: Faults,
) -> io::Result<()> {
    let mut random = 0x9e37_79b9_7f4a_7c15;
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let length = server.read(&mut piece).await?;
        let fault = *faults.borrow();
        let late = fault.latency + fault.jitter.mul_f64(unit(&mut random));
        let sent = pieces.send((Instant::now() + late, piece[..length].to_vec())).await;
        if length == 0 || sent.is_err() {
            return Ok(());
        }
    }
}

/// An empty piece is the end of the stream.
async fn deliver(
    mut pieces: mpsc::Receiver<Piece>,
    mut client: WriteHalf<'_>,
    mut faults: Faults,
) -> io::Result<()> {
    let mut passed: u64 = 0;
    while let Some((due, mut piece)) = pieces.recv().await {
        sleep_until(due).await;
        through(&faults).await;
        if faults.has_changed().unwrap_or(false) {
            passed = 0;
        }
        let fault = *faults.borrow_and_update();
        let allowed = fault.half_close_after.map_or(u64::MAX, |bytes| bytes.saturating_sub(passed));
        let last = piece.is_empty() || piece.len() as u64 >= allowed;
        piece.truncate(usize::try_from(allowed).unwrap_or(usize::MAX));
        if let Some(rate) = fault.bandwidth {
            sleep(Duration::from_secs_f64(piece.len() as f64 / rate.max(1) as f64)).await;
        }
        client.write_all(&piece).await?;
        passed += piece.len() as u64;
        if last {
            return client.shutdown().await;
        }
    }
    Ok(())
}

/// Waits for the end of a black hole.
async fn through(faults: &Faults) {
    let mut waiting = faults.clone();
    // An error means that the proxy is being dropped, and this task with it.
    let _ = waiting.wait_for(|fault| !fault.black_hole).await;
}

/// The next of a repeatable sequence of numbers in 0..1 (xorshift64).
fn unit(state: &mut u64) -> f64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    (*state >> 11) as f64 / (1_u64 << 53) as f64
}
