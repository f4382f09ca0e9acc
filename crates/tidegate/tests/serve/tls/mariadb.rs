//! MariaDB over TLS.

use harness::Certificates;

use crate::mariadb::Stack;
use crate::stack::DEADLINE;

#[test]
fn required_transport_encrypted_and_verified() {
    let certificates = Certificates::make().expect("certificates");
    let at = |name: &str| certificates.path(name).display().to_string();
    let stack = Stack::with_settings(&[
        ("ssl-cert", &at("server.pem")),
        ("ssl-key", &at("server.key")),
        ("ssl-ca", &at("ca.pem")),
    ]);
    stack.mariadb.sql("alter user shop require ssl").expect("altered");
    let url = stack.mariadb.url_as("shop:secret", "shop");
    let with = |options: String| {
        stack.launch_with(|config| config.replace(&url, &format!("{url}?{options}")))
    };
    let node = with(format!("ssl-mode=VERIFY_IDENTITY&ssl-ca={}", at("ca.pem"))).ready();
    node.get(42);
    stack.price(777);
    node.wait("the new price", |node| node.cents(42) == Some(777));
    drop(node);
    let others = Certificates::make().expect("certificates");
    let other = others.path("ca.pem").display().to_string();
    for (options, part) in [
        (format!("ssl-mode=VERIFY_IDENTITY&ssl-ca={other}"), "not signed by an authority that"),
        ("ssl-mode=DISABLED".to_owned(), "Access denied"),
    ] {
        let mut node = with(options);
        let status = node.process.wait(DEADLINE).expect("exited");
        let output = node.process.lines().join("\n");
        assert_eq!(status.code(), Some(3), "{output}");
        assert!(output.contains(part) && !output.contains("secret"), "{output}");
    }
}
