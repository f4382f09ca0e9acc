//! The harness itself, on real servers.

use std::{net::TcpStream, process::Command, time::Duration};

use anyhow::Result;
use harness::{MariaDb, Nginx, Postgres, Process, Redis};

const SOON: Duration = Duration::from_secs(60);

#[test]
fn postgres_accepts_sql_and_settings() -> Result<()> {
    let postgres = Postgres::builder().setting("application_name", "it's me").start()?;
    assert_eq!(postgres.psql("show wal_level")?, "logical");
    assert_eq!(postgres.psql("create database shop;\nselect 1, 'a';")?, "1|a");
    postgres.psql_in("shop", "create role clerk login; create table t(id int)")?;
    let err = postgres.psql_as("clerk", "shop", "select * from t").unwrap_err().to_string();
    assert!(err.contains("permission denied for table t"), "{err}");
    assert_eq!(
        postgres.url_as("clerk", "shop"),
        format!("postgres://clerk@{}/shop", postgres.addr())
    );
    Ok(())
}

#[test]
fn postgres_data_survives_restart_and_crash() -> Result<()> {
    let mut postgres = Postgres::start()?;
    postgres.psql("create table t(id int); insert into t values (1)")?;
    postgres.restart()?;
    postgres.psql("insert into t values (2)")?;
    postgres.crash()?;
    assert!(postgres.psql("select 1").is_err());
    postgres.start_again()?;
    assert_eq!(postgres.psql("select count(*) from t")?, "2");
    assert!(postgres.log().iter().any(|line| line.contains("automatic recovery in progress")));
    Ok(())
}

#[test]
fn paused_postgres_answers_once_resumed() -> Result<()> {
    let mut postgres = Postgres::start()?;
    postgres.psql("create table t(id int)")?;
    postgres.pause()?;
    let mut wire = TcpStream::connect(postgres.addr())?;
    // The request for TLS; the response is one letter.
    let tls_request = [0, 0, 0, 8, 4, 210, 22, 47];
    std::io::Write::write_all(&mut wire, &tls_request)?;
    assert!(answer(&mut wire, Duration::from_millis(200)).is_err());
    postgres.resume()?;
    assert_eq!(answer(&mut wire, SOON)?, "N");
    assert_eq!(postgres.psql("select count(*) from t")?, "0");
    Ok(())
}

#[test]
fn held_commit_is_invisible_until_released() -> Result<()> {
    let postgres = Postgres::start()?;
    postgres.psql("create table t(id int)")?;
    postgres.hold_commits()?;
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| postgres.psql("insert into t values (1)"));
        let waiting = "select count(*) from pg_stat_activity where wait_event = 'SyncRep'";
        harness::until("the commit", SOON, || Ok((postgres.psql(waiting)? == "1").then_some(())))?;
        assert_eq!(postgres.psql("select count(*) from t")?, "0");
        postgres.release_commits()?;
        writer.join().expect("no panic")
    })?;
    assert_eq!(postgres.psql("select count(*) from t")?, "1");
    Ok(())
}

#[test]
fn servers_share_no_data() -> Result<()> {
    let (one, two) = (Postgres::start()?, Postgres::start()?);
    one.psql("create table only_here(id int)")?;
    assert!(two.psql("select * from only_here").is_err());
    Ok(())
}

#[test]
fn restarted_redis_empty_on_same_port() -> Result<()> {
    let mut redis = Redis::builder().setting("maxmemory-policy", "allkeys-lru").start()?;
    let url = redis.url();
    assert_eq!(redis.cli(&["config", "get", "maxmemory-policy"])?, "maxmemory-policy\nallkeys-lru");
    redis.cli(&["set", "a", "1"])?;
    assert!(redis.cli(&["incr", "a", "b"]).is_err());
    redis.stop()?;
    assert!(TcpStream::connect(redis.addr()).is_err());
    redis.start_again()?;
    assert_eq!(redis.url(), url);
    assert_eq!(redis.cli(&["exists", "a"])?, "0");
    Ok(())
}

#[test]
fn persistent_redis_survives_crash() -> Result<()> {
    let mut redis = Redis::builder().persistent().start()?;
    redis.cli(&["set", "a", "1"])?;
    redis.crash()?;
    redis.start_again()?;
    assert_eq!(redis.cli(&["get", "a"])?, "1");
    redis.flushall()?;
    assert_eq!(redis.cli(&["dbsize"])?, "0");
    Ok(())
}

#[test]
fn dropped_servers_stop() -> Result<()> {
    let redis = Redis::start()?;
    let postgres = Postgres::start()?;
    let addrs = [redis.addr(), postgres.addr()];
    drop((redis, postgres));
    for addr in addrs {
        assert!(TcpStream::connect(addr).is_err(), "{addr} still listens");
    }
    Ok(())
}

#[test]
fn process_output_and_exit_observed() -> Result<()> {
    let mut process = Process::builder("/bin/sh")
        .args(["-c", "trap 'echo bye; exit 7' TERM; echo hello $NAME; while :; do sleep 0.1; done"])
        .env("NAME", "you")
        .start()?;
    assert_eq!(process.wait_for_line("hello", SOON)?, "hello you");
    let lines = process.line_count();
    assert_eq!(process.terminate(SOON)?.code(), Some(7));
    assert_eq!(process.wait_for_line_after(lines, "bye", SOON)?, "bye");
    let err = process.wait_for_line("never", Duration::from_millis(10)).unwrap_err().to_string();
    assert!(err.contains("exit status: 7") && err.contains("hello you"), "{err}");
    Ok(())
}

/// A test process that is killed can't clean up; the kernel does.
#[test]
fn servers_die_with_test_process() -> Result<()> {
    if let Ok(ready) = std::env::var("HARNESS_ORPHAN") {
        let (redis, postgres) = (Redis::start()?, Postgres::start()?);
        std::fs::write(&ready, format!("{} {}", redis.addr(), postgres.addr()))?;
        std::thread::sleep(Duration::from_secs(60));
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let ready = folder.path().join("ready");
    let mut process = Command::new(std::env::current_exe()?)
        .args(["--exact", "servers_die_with_test_process"])
        .env("HARNESS_ORPHAN", &ready)
        .env("TMPDIR", folder.path())
        .stdout(std::process::Stdio::null())
        .spawn()?;
    open(folder.path())?;
    let addrs =
        harness::until("the servers of the other process", Duration::from_secs(60), || {
            Ok(std::fs::read_to_string(&ready).ok().filter(|addrs| addrs.contains(' ')))
        })?;
    process.kill()?;
    process.wait()?;
    for addr in addrs.split(' ') {
        harness::until("the end of the servers", SOON, || {
            Ok(TcpStream::connect(addr).is_err().then_some(()))
        })?;
    }
    Ok(())
}

fn open(folder: &std::path::Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    Ok(std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755))?)
}

fn answer(wire: &mut TcpStream, limit: Duration) -> Result<String> {
    let mut bytes = [0; 64];
    wire.set_read_timeout(Some(limit))?;
    let length = std::io::Read::read(wire, &mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes[..length]).into_owned())
}

#[test]
fn nginx_serves_its_configuration() -> Result<()> {
    let started = Nginx::start(1, |site| {
        format!("server {{ listen {}; location / {{ return 200 'hello'; }} }}", site.listen)
    });
    let nginx = match started {
        Err(err) if err.to_string().contains("nginx not found") => {
            println!("skipped: {err}");
            return Ok(());
        }
        started => started?,
    };
    let answer = harness::http::get(nginx.addr(), "/", SOON)?;
    assert_eq!((answer.status, answer.text().as_str()), (200, "hello"));
    Ok(())
}

#[test]
fn process_ready_once_http_answers() -> Result<()> {
    let port = harness::Port::reserve()?;
    let answer = "HTTP/1.1 200 OK\\r\\ncontent-length: 2\\r\\nconnection: close\\r\\n\\r\\nok";
    let server = format!(
        "use IO::Socket::INET; my $s = IO::Socket::INET->new(LocalAddr => '127.0.0.1', \
         LocalPort => {}, Listen => 5, ReuseAddr => 1) or die; \
         while (my $c = $s->accept) {{ sysread $c, my $request, 4096; print $c \"{answer}\"; \
         close $c }}",
        port.number()
    );
    let mut process = Process::builder("/usr/bin/perl").args(["-e", &server]).start()?;
    process.wait_for_http(port.addr(), "/readyz", SOON)?;
    process.kill9()?;
    let err = process.wait_for_http(port.addr(), "/", SOON).unwrap_err().to_string();
    assert!(err.contains("it ended with signal: 9"), "{err}");
    Ok(())
}

#[test]
fn sentinels_promote_replica_after_crash() {
    let mut sentinels = harness::Sentinels::start().expect("sentinels");
    let first = sentinels.server(0).addr();
    assert_eq!(sentinels.primary().expect("agreed"), first);
    sentinels.server(0).cli(&["set", "a", "1"]).expect("set");
    sentinels.wait_for_replica(1, 0).expect("in step");
    sentinels.server(0).crash().expect("killed");
    sentinels.wait_for_primary(1).expect("a failover");
    assert_ne!(sentinels.primary().expect("agreed"), first);
    assert_eq!(sentinels.server(1).cli(&["get", "a"]).expect("get"), "1");
}

#[test]
fn certificates_generated() {
    let certificates = harness::Certificates::make().expect("certificates");
    for name in ["ca.pem", "server.pem", "server.key", "client.pem", "client.key"] {
        let text = certificates.pem(name).expect("a file");
        assert!(text.starts_with(b"-----BEGIN"), "{name}");
    }
}

#[test]
fn standby_pauses_resumes_and_is_promoted() -> Result<()> {
    let primary = Postgres::start()?;
    primary.psql("create table t(n int)")?;
    let standby = primary.standby()?;
    standby.catch_up(&primary)?;
    standby.pause_replay()?;
    primary.psql("insert into t values (1)")?;
    assert_eq!(standby.psql("select count(*) from t")?, "0");
    standby.resume_replay()?;
    standby.catch_up(&primary)?;
    assert_eq!(standby.psql("select count(*) from t")?, "1");
    let err = standby.psql("insert into t values (2)").unwrap_err().to_string();
    assert!(err.contains("read-only"), "{err}");
    standby.promote()?;
    standby.psql("insert into t values (2)")?;
    assert_eq!(primary.psql("select count(*) from t")?, "1", "the old primary is unchanged");
    Ok(())
}

#[test]
fn mariadb_data_survives_stop_and_crash() -> Result<()> {
    let mut mariadb = MariaDb::builder().setting("server-id", "7").start()?;
    assert_eq!(mariadb.sql("select @@server_id, @@binlog_format")?, "7\tROW");
    mariadb.sql("create database shop; create table shop.t(id int primary key)")?;
    mariadb.sql_in("shop", "insert into t values (1)")?;
    let err = mariadb.sql("select * from shop.missing").unwrap_err().to_string();
    assert!(err.contains("doesn't exist"), "{err}");
    mariadb.stop()?;
    mariadb.start_again()?;
    mariadb.sql_in("shop", "insert into t values (2)")?;
    mariadb.crash()?;
    assert!(mariadb.sql("select 1").is_err());
    mariadb.start_again()?;
    assert_eq!(mariadb.sql("select count(*) from shop.t")?, "2");
    assert!(mariadb.log().iter().any(|line| line.contains("ready for connections")));
    Ok(())
}
