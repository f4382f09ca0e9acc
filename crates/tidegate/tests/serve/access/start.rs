//! Starts that would leave a listener open to all.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::{create_token, guarded, run, text};
use crate::stack::{DEADLINE, Stack};

/// Makes the admin listener, or the data API, reachable for other machines.
fn reachable(config: &str, listener: &str) -> String {
    let line = config.lines().find(|line| line.starts_with(listener)).expect("a listener");
    config.replace(line, &line.replace("127.0.0.1", "0.0.0.0"))
}

#[test]
fn reachable_listener_needs_tokens() {
    let stack = Stack::start();
    for listener in ["admin", "data"] {
        let mut node = stack.launch(|config| reachable(&config, listener));
        let status = node.process.wait(DEADLINE).expect("exited");
        let output = node.process.lines().join("\n");
        assert_eq!(status.code(), Some(3), "{output}");
        for part in
            [&format!("listen.{listener}: "), "0.0.0.0", "tidegate token create", "127.0.0.1"]
        {
            assert!(output.contains(part), "{part}: {output}");
        }
    }
    let folder = tempfile::tempdir().expect("a folder");
    let config = |config: String| guarded(&reachable(&config, "admin"), folder.path());
    fs::write(folder.path().join("tidegate.toml"), config(stack.config(ports().each_ref())))
        .expect("written");

    let mut node = stack.launch(config);
    let status = node.process.wait(DEADLINE).expect("exited");
    let output = node.process.lines().join("\n");
    assert_eq!(status.code(), Some(3), "{output}");
    assert!(output.contains("no such file; make it with `tidegate token create"), "{output}");

    create_token(folder.path(), &["monitoring", "--role", "viewer"]);
    let mut node = stack.launch(config);
    node.process.wait_for_http(node.admin, "/readyz", DEADLINE).expect("it starts");
}

#[test]
fn unprotected_files_refuse_the_start() {
    let stack = Stack::start();
    let folder = tempfile::tempdir().expect("a folder");
    let config = |config: String| guarded(&config, folder.path());
    fs::write(folder.path().join("tidegate.toml"), config(stack.config(ports().each_ref())))
        .expect("written");
    create_token(folder.path(), &["monitoring", "--role", "viewer"]);
    for name in ["tokens.toml", "audit.log"] {
        let path = folder.path().join(name);
        let mode = |mode| fs::set_permissions(&path, fs::Permissions::from_mode(mode));
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        mode(0o666).expect("changed");
        let mut node = stack.launch(config);
        let status = node.process.wait(DEADLINE).expect("exited");
        let output = node.process.lines().join("\n");
        assert_eq!(status.code(), Some(3), "{output}");
        assert!(output.contains("run `chmod 600"), "{output}");
        mode(0o600).expect("changed");
    }
    let list = run(folder.path(), &[], &["token", "list"]);
    assert!(text(&list).contains("monitoring"), "{}", text(&list));
}

fn ports() -> [harness::Port; 3] {
    [(); 3].map(|()| harness::Port::reserve().expect("a free port"))
}
