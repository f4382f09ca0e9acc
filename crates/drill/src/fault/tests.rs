use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use anyhow::Result;
use harness::Redis;

use super::{Fault, FaultProxy};

const SOON: Duration = Duration::from_secs(60);

#[test]
fn latency_delays_responses() -> Result<()> {
    let redis = Redis::start()?;
    let proxy = FaultProxy::start(redis.addr())?;
    let mut wire = redis_wire(&proxy)?;
    assert_eq!(ping(&mut wire, SOON)?, "+PONG\r\n");
    proxy.set(Fault::slow(Duration::from_millis(400)));
    assert!(ping(&mut wire, Duration::from_millis(100)).is_err());
    thread::sleep(Duration::from_millis(500));
    assert_eq!(answer(&mut wire, SOON)?, "+PONG\r\n");
    assert_eq!(proxy.accepted(), 1);
    Ok(())
}

#[test]
fn black_hole_delivers_once_healed() -> Result<()> {
    let redis = Redis::start()?;
    let proxy = FaultProxy::start(redis.addr())?;
    let mut wire = redis_wire(&proxy)?;
    proxy.set(Fault::black_hole());
    assert!(ping(&mut wire, Duration::from_millis(100)).is_err());
    proxy.heal();
    assert_eq!(answer(&mut wire, SOON)?, "+PONG\r\n");
    Ok(())
}

#[test]
fn reset_and_half_close_seen_by_client() -> Result<()> {
    let redis = Redis::start()?;
    let proxy = FaultProxy::start(redis.addr())?;
    let mut wire = redis_wire(&proxy)?;
    assert_eq!(ping(&mut wire, SOON)?, "+PONG\r\n");
    proxy.set(Fault::half_close_after(3));
    assert_eq!(ping(&mut wire, SOON)?, "+PO");
    assert_eq!(answer(&mut wire, SOON)?, "", "the end of the stream");
    proxy.heal();
    let mut wire = redis_wire(&proxy)?;
    assert_eq!(ping(&mut wire, SOON)?, "+PONG\r\n");
    proxy.set(Fault::reset());
    let err = answer(&mut wire, SOON).unwrap_err();
    let kind = err.downcast_ref::<io::Error>().map(io::Error::kind);
    assert_eq!(kind, Some(io::ErrorKind::ConnectionReset));
    Ok(())
}

#[test]
fn bandwidth_limit_keeps_byte_order() -> Result<()> {
    let redis = Redis::start()?;
    let text: String = ('a'..='z').cycle().take(2000).collect();
    redis.cli(&["set", "text", &text])?;
    let proxy = FaultProxy::start(redis.addr())?;
    let jitter = Duration::from_millis(20);
    proxy.set(Fault { bandwidth: Some(4000), jitter, ..Fault::default() });
    let mut wire = redis_wire(&proxy)?;
    wire.write_all(b"GET text\r\n")?;
    assert!(
        answer(&mut wire, Duration::from_millis(250)).is_err(),
        "2000 bytes take half a second"
    );
    assert!(answer(&mut wire, SOON)?.starts_with("$2000\r\nabcdef"));
    Ok(())
}

#[test]
fn stopped_upstream_resets_client() -> Result<()> {
    let mut redis = Redis::start()?;
    let proxy = FaultProxy::start(redis.addr())?;
    redis.stop()?;
    let mut wire = redis_wire(&proxy)?;
    assert!(answer(&mut wire, SOON).is_err());
    redis.start_again()?;
    assert_eq!(ping(&mut redis_wire(&proxy)?, SOON)?, "+PONG\r\n");
    Ok(())
}

fn redis_wire(proxy: &FaultProxy) -> Result<TcpStream> {
    Ok(TcpStream::connect(proxy.addr())?)
}

fn ping(wire: &mut TcpStream, limit: Duration) -> Result<String> {
    wire.write_all(b"PING\r\n")?;
    answer(wire, limit)
}

fn answer(wire: &mut TcpStream, limit: Duration) -> Result<String> {
    let mut bytes = [0; 64];
    wire.set_read_timeout(Some(limit))?;
    let length = wire.read(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes[..length]).into_owned())
}
