//! Connections that are refused: the error names the problem, the place and the remedy, and no password.

use harness::Certificates;

use super::{SCRAM, launch, stack};
use crate::stack::{DEADLINE, Stack};

/// Starts a node that has to exit with 3, and returns its output.
fn refusal(stack: &Stack, host: &str, options: &str) -> String {
    let mut node = launch(stack, "shop:hunter2", host, options);
    let status = node.process.wait(DEADLINE).expect("exited");
    let output = node.process.lines().join("\n");
    assert_eq!(status.code(), Some(3), "{options}: {output}");
    assert!(!output.contains("hunter2"), "{output}");
    output
}

fn assert_refused(stack: &Stack, host: &str, options: &str, parts: &[&str]) {
    let output = refusal(stack, host, options);
    for part in parts {
        assert!(output.contains(part), "{options}: {part:?} is not in:\n{output}");
    }
}

#[test]
fn unusable_certificate_explained() {
    let certificates = Certificates::make().expect("certificates");
    let others = Certificates::make().expect("certificates");
    let ca = certificates.path("ca.pem").display().to_string();
    let verify = format!("sslmode=verify-full&sslrootcert={ca}");
    for (name, parts) in [
        ("other-name", ["is for ", "db.example.com", "not for `127.0.0.1`"]),
        ("nameless", ["names no host", "subjectAltName=DNS:127.0.0.1", "sslmode=verify-ca"]),
        ("expired", ["can't be used", "expired", "renew it"]),
    ] {
        let stack = stack(&certificates, name, SCRAM);
        assert_refused(&stack, "127.0.0.1", &verify, &parts);
        if name != "expired" {
            let options = format!("sslmode=verify-ca&sslrootcert={ca}");
            drop(launch(&stack, "shop:hunter2", "127.0.0.1", &options).ready());
        }
    }
    let stack = stack(&certificates, "server", SCRAM);
    let other = others.path("ca.pem").display().to_string();
    let options = format!("sslmode=require&sslrootcert={other}");
    let unknown = ["not signed by an authority that", &other, "add the certificate"];
    assert_refused(&stack, "127.0.0.1", &options, &unknown);
    let system = ["an authority that this machine trusts", "sslrootcert=FILE"];
    assert_refused(&stack, "localhost", "sslmode=verify-full", &system);
    let missing = ["sslrootcert = /nowhere/ca.pem can't be read", "may read"];
    assert_refused(
        &stack,
        "127.0.0.1",
        "sslmode=verify-full&sslrootcert=/nowhere/ca.pem",
        &missing,
    );
    let key = certificates.path("server.key").display().to_string();
    let options = format!("sslmode=verify-full&sslrootcert={key}");
    assert_refused(&stack, "127.0.0.1", &options, &["has no certificate", "BEGIN CERTIFICATE"]);
}

#[test]
fn server_without_tls_explained() {
    let stack = Stack::start();
    let options = "sslmode=require";
    assert_refused(&stack, "127.0.0.1", options, &["has no TLS", "sslmode=require", "ssl = on"]);
}

#[test]
fn refused_login_explained() {
    let certificates = Certificates::make().expect("certificates");
    let stack = stack(&certificates, "server", SCRAM);
    assert_refused(&stack, "127.0.0.1", "sslmode=disable", &["pg_hba.conf", "no encryption"]);
    stack.postgres.psql("alter role shop password 'other'").expect("changed");
    assert_refused(&stack, "127.0.0.1", "sslmode=require", &["password authentication failed"]);
}

#[test]
fn missing_client_certificate_explained() {
    let certificates = Certificates::make().expect("certificates");
    let stack = stack(&certificates, "server", &["hostssl all,replication shop 127.0.0.1/32 cert"]);
    assert_refused(&stack, "127.0.0.1", "sslmode=require", &["certificate"]);
    let others = Certificates::make().expect("certificates");
    let at = |name: &str| others.path(name).display().to_string();
    let options =
        format!("sslmode=require&sslcert={}&sslkey={}", at("client.pem"), at("client.key"));
    let parts = ["the server refused TLS with the alert", "sslcert"];
    assert_refused(&stack, "127.0.0.1", &options, &parts);
}
