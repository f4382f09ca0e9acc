//! Logins, rights and TLS.

use cache::shared::{RedisOptions, RedisTier, RedisTls, SharedTier, TierError};
use coherence::{Lsn, Subject, Verdict};
use harness::{Certificates, Port, Redis};

use super::refusal;
use crate::rig::*;

/// Returns the user of the manual, as an administrator types it.
fn manual() -> Vec<String> {
    let page = include_str!("../../../../../docs/shared-tier.md");
    let (_, line) = page.split_once("\nACL SETUSER ").expect("the line");
    let (line, _) = line.split_once("\n```").expect("its end");
    let words = line.replace('\\', " ").replace("PASSWORD", "s3cr:t/@");
    words.split_whitespace().map(str::to_owned).collect()
}

fn set_user(server: &Redis, words: &[String]) {
    let words: Vec<&str> =
        ["acl", "setuser"].into_iter().chain(words.iter().map(String::as_str)).collect();
    server.cli(&words).expect("a user");
}

fn login(server: &Redis) -> RedisOptions {
    let url = format!("redis://tidegate:s3cr%3At%2F%40@{}", server.addr());
    RedisOptions { url, ..options_for(server) }
}

/// Runs every script.
async fn use_all(tier: &RedisTier) {
    let mut stream = tier.subscribe();
    assert!(matches!(next(&mut stream).await, cache::shared::NodeMessage::Lost));
    tier.reset_epoch(EPOCH, Lsn(10), Lsn(10)).await.expect("reset");
    assert_eq!(next_batch(&mut stream).await.upto, Lsn(10));
    let token = match tier.read(&key(1), Some(LONG)).await.expect("read").outcome {
        cache::shared::Outcome::Lead(token) => token,
        other => panic!("{other:?}"),
    };
    assert!(tier.renew(&key(1), token, LONG).await.expect("renew"));
    tier.release(&key(1), token).await.expect("release");
    let stored = tier.fill(&tagged(&key(1), "v", 10, &[tag(1)])).await.expect("fill");
    assert_eq!(stored, Verdict::Accept);
    let named = vec![Subject::Key(key(2)), Subject::Tag(tag(2))];
    tier.apply(&batch(10, 11, named)).await.expect("apply").expect("no gap");
    assert_eq!(next_batch(&mut stream).await.upto, Lsn(11));
    assert_eq!(tier.survey(&[Subject::Tag(tag(1))]).await.expect("survey").total(), 1);
    tier.evict(&[Subject::Tag(tag(1)), Subject::Everything]).await.expect("evict");
    assert_eq!(tier.collect(Lsn(11)).await.expect("collect"), 2);
    let read = tier.read(&key(1), None).await.expect("read");
    assert!(matches!(read.outcome, cache::shared::Outcome::Miss));
    assert_eq!(read.position.map(|position| position.applied), Some(Lsn(11)));
}

#[tokio::test]
async fn manual_acl_user_suffices() {
    let server = Redis::start().expect("a Redis server");
    set_user(&server, &manual());
    let tier = RedisTier::connect(login(&server)).await.expect("a tier");
    use_all(&tier).await;
    assert_eq!(server.cli(&["exists", "{tg:0}:rehearsal"]).expect("asked"), "0");
}

#[tokio::test]
async fn missing_right_named_with_command() {
    let server = Redis::start().expect("a Redis server");
    let whole = manual();
    for (without, said) in [
        ("+zadd", "may not run zadd; run `ACL SETUSER tidegate +zadd`"),
        ("+scan", "may not run scan; run `ACL SETUSER tidegate +scan`"),
        ("+time", "may not run time; run `ACL SETUSER tidegate +time`"),
        ("+xread", "may not run xread; run `ACL SETUSER tidegate +xread`"),
        ("~{tg:*", "ACL SETUSER tidegate ~{tg:* +evalsha +info"),
        ("+info", "ACL SETUSER tidegate ~{tg:* +evalsha +info"),
        ("+evalsha", "ACL SETUSER tidegate ~{tg:* +evalsha +info"),
    ] {
        let mut words: Vec<_> = whole.iter().filter(|word| *word != without).cloned().collect();
        assert_eq!(words.len() + 1, whole.len(), "{without}");
        words.insert(1, "reset".into());
        set_user(&server, &words);
        let why = refusal(login(&server)).await;
        assert!(why.contains(said), "{without}: {why}");
        assert!(!why.contains("s3cr"), "{why}");
    }
}

#[tokio::test]
async fn wrong_password_not_repeated() {
    let server = Redis::start().expect("a Redis server");
    set_user(&server, &manual());
    let url = format!("redis://tidegate:hunter2@{}", server.addr());
    let options = RedisOptions { url, ..options_for(&server) };
    match RedisTier::connect(options).await {
        Err(TierError::Unsuitable(why)) => {
            assert!(why.contains("refuses the login") && !why.contains("hunter2"), "{why}");
        }
        other => panic!("{:?}", other.err()),
    }
}

struct Tls {
    certificates: Certificates,
    port: Port,
    server: Redis,
}

impl Tls {
    /// Starts a server with TLS on one port, and without on the other, for redis-cli.
    fn start(clients: &str) -> Self {
        let certificates = Certificates::make().expect("certificates");
        let port = Port::reserve().expect("a port");
        let path = |name| certificates.path(name).display().to_string();
        let server = Redis::builder()
            .setting("tls-port", &port.number().to_string())
            .setting("tls-cert-file", &path("server.pem"))
            .setting("tls-key-file", &path("server.key"))
            .setting("tls-ca-cert-file", &path("ca.pem"))
            .setting("tls-auth-clients", clients)
            .start()
            .expect("a Redis server");
        Self { certificates, port, server }
    }

    fn pem(&self, name: &str) -> Option<Vec<u8>> {
        Some(self.certificates.pem(name).expect("a file"))
    }

    fn options(&self, host: &str, tls: RedisTls) -> RedisOptions {
        let url = format!("rediss://{host}:{}", self.port.number());
        RedisOptions { url, tls, ..options_for(&self.server) }
    }
}

#[tokio::test]
async fn tls_with_own_authority() {
    let lab = Tls::start("no");
    for host in ["127.0.0.1", "localhost"] {
        let tls = RedisTls { ca: lab.pem("ca.pem"), ..RedisTls::default() };
        let tier = RedisTier::connect(lab.options(host, tls)).await.expect("a tier");
        use_all(&tier).await;
        lab.server.flushall().expect("flushed");
    }
    let unknown = RedisTier::connect(lab.options("127.0.0.1", RedisTls::default())).await;
    match unknown {
        Err(TierError::Unavailable(why)) => assert!(why.contains("certificate"), "{why}"),
        other => panic!("{:?}", other.err()),
    }
    // Without TLS to a TLS port.
    let url = format!("redis://{}", lab.port.addr());
    let plain = RedisTier::connect(RedisOptions { url, ..options_for(&lab.server) }).await;
    assert!(plain.is_err());
}

#[tokio::test]
async fn tls_with_client_certificate() {
    let lab = Tls::start("yes");
    let ca = RedisTls { ca: lab.pem("ca.pem"), ..RedisTls::default() };
    let both = RedisTls { cert: lab.pem("client.pem"), key: lab.pem("client.key"), ..ca.clone() };
    let tier = RedisTier::connect(lab.options("127.0.0.1", both)).await.expect("a tier");
    use_all(&tier).await;
    assert!(RedisTier::connect(lab.options("127.0.0.1", ca.clone())).await.is_err());
    let rubbish = RedisTls { cert: Some(b"x".to_vec()), key: Some(b"x".to_vec()), ..ca };
    let why = refusal(lab.options("127.0.0.1", rubbish)).await;
    assert!(why.contains("ca, cert or key can't be used"), "{why}");
}
