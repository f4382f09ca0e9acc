//! Idle connections and bursts of new ones: Tidegate's gateway and nginx.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rand::seq::SliceRandom;

use crate::figure::{Figure, Part, Table, median, quantile};
use crate::gateway::{Contender, CoreLayout, NGINX, bare, nginx, tidegate};
use crate::output::{log_line, now};
use crate::process;
use crate::stack::DEADLINE;

/// As many as the limit of open files of most containers allows both sides.
const IDLE: usize = 16_000;
/// The connections that are opened before a pause, so that the servers take them as those of clients that come by
/// and by.
const BATCH: usize = 1_000;
/// Longer than a server takes to notice that a connection is idle.
const REST: Duration = Duration::from_millis(2_500);

const BURST: usize = 3_000;
const BURSTS: usize = 7;
const STACK_BYTES: usize = 64 << 10;

const REQUEST: &[u8] = b"GET /p/42 HTTP/1.1\r\nhost: shop\r\n\r\n";

pub(crate) fn measure() -> Result<Part> {
    let folder = tempfile::tempdir()?;
    let application = bare(None)?;
    let contenders = [
        tidegate(CoreLayout::FREE, folder.path(), application.address)?.0,
        nginx(NGINX, CoreLayout::FREE, application.address, "")?,
    ];
    let mut table = Table::new([
        "server",
        "idle: bytes/connection",
        "new: bytes/connection",
        "burst p50 ms",
        "burst p99 ms",
    ]);
    let mut bursts = vec![(Vec::new(), Vec::new()); contenders.len()];
    for contender in &contenders {
        contender.check()?;
    }
    for _ in 0..BURSTS {
        let mut order: Vec<usize> = (0..contenders.len()).collect();
        order.shuffle(&mut rand::rng());
        for at in order {
            let taken = burst(contenders[at].address)?;
            bursts[at].0.push(quantile(&taken, 0.5));
            bursts[at].1.push(quantile(&taken, 0.99));
        }
    }
    let mut idle_bytes = Vec::new();
    for (contender, (p50, p99)) in contenders.iter().zip(&bursts) {
        let [new, idle] = [idle(contender, false)?, idle(contender, true)?];
        log_line(&format!("  {}: {idle:.0} bytes idle, {new:.0} new", contender.name));
        table.row([
            contender.name.into(),
            format!("{idle:.0}"),
            format!("{new:.0}"),
            format!("{:.1}", median(p50)),
            format!("{:.1}", median(p99)),
        ]);
        idle_bytes.push(idle.max(new));
    }
    let ratios: Vec<f64> = bursts[0].1.iter().zip(&bursts[1].1).map(|(a, b)| a / b).collect();
    Ok(Part {
        title: "Gateway: idle connections and bursts".into(),
        arguments: String::new(),
        how: vec![format!(
            "Growth of resident memory of each server's processes while {IDLE} connections are open, divided by \
             their number: *new* ones have sent nothing, *idle* ones have had one response. They are opened in batches of \
             {BATCH} with {} s between them. A burst is {BURST} clients that connect at once and ask for one cached \
             page each; medians of {BURSTS} bursts, in shuffled order.",
            REST.as_secs_f64()
        )],
        figures: vec![
            Figure {
                what: format!("memory of one of {IDLE} idle connections"),
                measured: format!("{:.0} bytes", idle_bytes[0]),
                target: "at most 2048 bytes".into(),
                met: idle_bytes[0] <= 2048.0,
            },
            Figure::at_most(
                &format!("p99 of {BURST} clients at once against {NGINX}"),
                median(&ratios),
                1.0,
            ),
        ],
        table,
    })
}

/// Returns the bytes of memory for each of many open connections.
fn idle(contender: &Contender, has_request: bool) -> Result<f64> {
    let before = process::resident_bytes(contender.pid)?;
    let mut open = Vec::new();
    while open.len() < IDLE {
        for _ in 0..BATCH {
            let mut socket = connect(contender.address)?;
            if has_request {
                exchange(&mut socket)?;
            }
            open.push(socket);
        }
        thread::sleep(REST);
    }
    let grown = process::resident_bytes(contender.pid)?.saturating_sub(before);
    for socket in open.iter_mut().step_by(BATCH / 2) {
        exchange(socket).context("an idle connection has been closed")?;
    }
    drop(open);
    thread::sleep(REST);
    Ok(grown as f64 / IDLE as f64)
}

/// Returns the milliseconds of each client.
fn burst(server: SocketAddr) -> Result<Vec<f64>> {
    let barrier = Arc::new(Barrier::new(BURST));
    let clients: Vec<_> = (0..BURST)
        .map(|_| {
            let barrier = Arc::clone(&barrier);
            thread::Builder::new().stack_size(STACK_BYTES).spawn(move || -> Result<f64> {
                barrier.wait();
                let begun = now();
                exchange(&mut connect(server)?)?;
                Ok(begun.elapsed().as_secs_f64() * 1e3)
            })
        })
        .collect::<Result<_, _>>()?;
    let joined = clients.into_iter().map(|client| client.join().expect("no panic"));
    joined.collect()
}

fn connect(server: SocketAddr) -> Result<TcpStream> {
    let socket = TcpStream::connect(server)?;
    socket.set_read_timeout(Some(DEADLINE))?;
    Ok(socket)
}

fn exchange(socket: &mut TcpStream) -> Result<()> {
    socket.write_all(REQUEST)?;
    let (mut response, mut part) = (Vec::new(), [0; 8192]);
    loop {
        let size = socket.read(&mut part)?;
        ensure!(size > 0, "closed by the server");
        response.extend_from_slice(&part[..size]);
        let head = response.windows(4).position(|bytes| bytes == b"\r\n\r\n");
        if head.is_some_and(|at| response.len() >= at + 4 + crate::bare::PAGE_BYTES) {
            ensure!(response.starts_with(b"HTTP/1.1 200"), "another status than 200");
            return Ok(());
        }
    }
}
