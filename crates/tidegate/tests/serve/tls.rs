//! PostgreSQL over TLS, and logins that change: every connection of a node, on a server that takes no other.

mod mariadb;
mod refusals;

use harness::{Certificates, Postgres};

use crate::stack::{DEADLINE, Node, Stack, tier};

/// Every connection of the node's user is encrypted and needs a password.
const SCRAM: &[&str] = &[
    "hostssl all,replication shop 127.0.0.1/32 scram-sha-256",
    "host all,replication all 127.0.0.1/32 reject",
];

const PRODUCTS: &str = "create table products(id int primary key, name text, category_id int, \
                        price_cents int, currency text); \
                        insert into products select n, 'thing ' || n, n % 10, 1000 + n, 'GBP' \
                        from generate_series(1, 100) n; alter table products owner to shop";

/// A server with TLS and the certificate `name`, on which `hba` decides how the shop's user logs in.
fn stack(certificates: &Certificates, name: &str, hba: &[&str]) -> Stack {
    let postgres = Postgres::builder().tls(certificates, name).expect("certificates").hba(hba);
    let postgres = postgres.start().expect("PostgreSQL starts");
    postgres.psql("create role shop login replication password 'hunter2'").expect("a role");
    postgres.psql("create database shop owner shop").expect("a database");
    postgres.psql_in("shop", PRODUCTS).expect("a table");
    Stack::of_parts(postgres)
}

/// Starts a node that logs in to `host` as `login` with the url's `options`.
fn launch(stack: &Stack, login: &str, host: &str, options: &str) -> Node {
    let address = stack.postgres.addr();
    let from = format!("postgres://shop@{address}/shop");
    let to = format!("postgres://{login}@{host}:{}/shop?{options}", address.port());
    stack.launch(|config| {
        assert!(config.contains(&from), "{config}");
        config.replace(&from, &to)
    })
}

fn price(stack: &Stack, cents: u32) {
    let update = format!("update products set price_cents = {cents} where id = 42");
    stack.postgres.psql_in("shop", &update).expect("updated");
}

fn count(stack: &Stack, sql: &str) -> usize {
    stack.postgres.psql_in("shop", sql).expect("a count").trim().parse().expect("a number")
}

/// Loads, follows, samples and claims, and all of that is encrypted.
fn assert_encrypted(stack: &Stack, node: &Node) {
    node.get(42);
    node.wait("a hit", |node| tier(&node.get(42)) == Some("local"));
    price(stack, 777);
    node.wait("the new price", |node| node.cents(42) == Some(777));
    let sessions =
        "from pg_stat_activity a join pg_stat_ssl s using (pid) where a.usename = 'shop'";
    assert_eq!(count(stack, &format!("select count(*) {sessions} and not s.ssl")), 0);
    assert!(count(stack, &format!("select count(*) {sessions} and s.ssl")) > 2);
    let feed =
        "select count(*) from pg_stat_replication r join pg_stat_ssl s using (pid) where s.ssl";
    assert_eq!(count(stack, feed), 1);
}

#[test]
fn verified_connections_with_channel_binding() {
    let certificates = Certificates::make().expect("certificates");
    let stack = stack(&certificates, "server", SCRAM);
    let ca = certificates.path("ca.pem").display().to_string();
    let options = format!("sslmode=verify-full&sslrootcert={ca}&channel_binding=require");
    let node = launch(&stack, "shop:hunter2", "localhost", &options).ready();
    assert_encrypted(&stack, &node);
}

#[test]
fn direct_negotiation_refused_by_old_server() {
    let certificates = Certificates::make().expect("certificates");
    let stack = stack(&certificates, "server", SCRAM);
    let options = "sslmode=require&sslnegotiation=direct";
    let mut node = launch(&stack, "shop:hunter2", "localhost", options);
    let status = node.process.wait(DEADLINE).expect("exited");
    assert_eq!(status.code(), Some(3), "{}", node.process.lines().join("\n"));
}

/// A certificate that is trusted itself, although it has the form of an authority's.
#[test]
fn self_signed_certificate_trusted_itself() {
    let certificates = Certificates::make().expect("certificates");
    let stack = stack(&certificates, "self-signed", SCRAM);
    let own = certificates.path("self-signed.pem").display().to_string();
    let options = format!("sslmode=verify-full&sslrootcert={own}");
    let node = launch(&stack, "shop:hunter2", "localhost", &options).ready();
    assert_encrypted(&stack, &node);
    let mut node = launch(&stack, "shop:hunter2", "127.0.0.1", &options);
    let status = node.process.wait(DEADLINE).expect("exited");
    let output = node.process.lines().join("\n");
    assert_eq!(status.code(), Some(3), "{output}");
    assert!(output.contains("not for `127.0.0.1`"), "{output}");
}

#[test]
fn client_certificate_logs_in() {
    let certificates = Certificates::make().expect("certificates");
    let hba = ["hostssl all,replication shop 127.0.0.1/32 cert"];
    let stack = stack(&certificates, "server", &hba);
    let at = |name: &str| certificates.path(name).display().to_string();
    let options = format!(
        "sslmode=verify-ca&sslrootcert={}&sslcert={}&sslkey={}",
        at("ca.pem"),
        at("client.pem"),
        at("client.key")
    );
    let node = launch(&stack, "shop", "127.0.0.1", &options).ready();
    assert_encrypted(&stack, &node);
}

#[test]
fn default_mode_takes_what_server_takes() {
    let certificates = Certificates::make().expect("certificates");
    for (hba, encrypted) in [
        ("hostssl all,replication shop 127.0.0.1/32 trust", true),
        ("hostnossl all,replication shop 127.0.0.1/32 trust", false),
    ] {
        let stack = stack(&certificates, "server", &[hba]);
        for options in ["", "sslmode=prefer", "sslmode=allow"] {
            let _node = launch(&stack, "shop", "127.0.0.1", options).ready();
            let sessions = "select count(*) from pg_stat_activity a join pg_stat_ssl s using (pid) \
                            where a.usename = 'shop' and";
            assert_eq!(count(&stack, &format!("{sessions} s.ssl <> {encrypted}")), 0, "{options}");
            assert!(count(&stack, &format!("{sessions} s.ssl = {encrypted}")) > 2, "{options}");
        }
    }
}

/// The administrator changes the password and its file, and ends all sessions.
#[test]
fn rotated_password_used_without_restart() {
    let certificates = Certificates::make().expect("certificates");
    let stack = stack(&certificates, "server", SCRAM);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("password");
    std::fs::write(&file, "hunter2\n").expect("written");
    let address = stack.postgres.addr();
    let from = format!("postgres://shop@{address}/shop\"");
    let to = format!(
        "postgres://shop@{address}/shop?sslmode=require\"\npassword_file = \"{}\"",
        file.display()
    );
    let node = stack.launch(|config| config.replace(&from, &to)).ready();
    node.get(42);
    let rotate = "alter role shop password 'hunter3'; select pg_terminate_backend(pid) \
                  from pg_stat_activity where usename = 'shop'";
    stack.postgres.psql(rotate).expect("rotated");
    price(&stack, 777);
    std::fs::write(&file, "hunter3\n").expect("written");
    node.wait("the new price", |node| node.cents(42) == Some(777));
    node.wait("a feed", |_| count(&stack, "select count(*) from pg_stat_replication") == 1);
    let log = node.process.lines().join("\n");
    assert!(!log.contains("hunter"), "{log}");
}

/// The url is in the environment, and no output has its password.
#[test]
fn url_from_environment_not_printed() {
    let certificates = Certificates::make().expect("certificates");
    let stack = stack(&certificates, "server", SCRAM);
    let address = stack.postgres.addr();
    let url = format!("postgres://shop:hunter2@{address}/shop?sslmode=require");
    let env = [("SHOP_URL".into(), url.into())];
    let edit =
        |config: String| config.replace(&format!("postgres://shop@{address}/shop"), "$SHOP_URL");
    let node = stack.launch_with_env(&env, edit).ready();
    node.get(42);
    let shown = format!("{}\n{}", node.process.lines().join("\n"), node.status());
    assert!(!shown.contains("hunter2"), "{shown}");
    let mut node = stack.launch(edit);
    let status = node.process.wait(DEADLINE).expect("exited");
    let output = node.process.lines().join("\n");
    assert_eq!(status.code(), Some(3), "{output}");
    assert!(output.contains("source.shop.url: the environment variable `SHOP_URL`"), "{output}");
}
