//! The metadata of the workspace, from cargo.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
    sync::OnceLock,
};

use serde_json::Value;

/// Returns `cargo metadata` for the platform of this build. Fails when `Cargo.lock` is out of date.
pub(crate) fn metadata() -> &'static Value {
    static METADATA: OnceLock<Value> = OnceLock::new();
    METADATA.get_or_init(|| {
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
        let result = Command::new(cargo)
            .args(["metadata", "--format-version", "1", "--locked", "--filter-platform"])
            .arg(host())
            .current_dir(crate::root())
            .output()
            .expect("cargo runs");
        let complaint = String::from_utf8_lossy(&result.stderr);
        assert!(result.status.success(), "cargo metadata: {complaint}");
        serde_json::from_slice(&result.stdout).expect("cargo writes JSON")
    })
}

fn host() -> String {
    version_line("host: ")
}

/// Returns the version of the toolchain in use, such as `1.95.0`.
pub(crate) fn toolchain() -> String {
    version_line("release: ")
}

fn version_line(name: &str) -> String {
    let result = Command::new("rustc").arg("-vV").output().expect("rustc runs").stdout;
    let text = String::from_utf8_lossy(&result).into_owned();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap_or_else(|| panic!("rustc -vV says {name}")).to_owned()
}

pub(crate) fn packages() -> &'static [Value] {
    list(&metadata()["packages"])
}

/// Returns the crates of this workspace.
pub(crate) fn members() -> Vec<&'static Value> {
    let members = list(&metadata()["workspace_members"]);
    packages().iter().filter(|package| members.contains(&package["id"])).collect()
}

pub(crate) fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

pub(crate) fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// Returns the names of the direct dependencies of `package`: for tests (`dev`) or shipped.
pub(crate) fn direct(package: &Value, dev: bool) -> BTreeSet<&str> {
    list(&package["dependencies"])
        .iter()
        .filter(|dependency| (text(dependency, "kind") == "dev") == dev)
        .map(|dependency| text(dependency, "name"))
        .collect()
}

/// Returns the names of all shipped dependencies of `package`, direct or not, with the path to each.
pub(crate) fn shipped_closure(package: &Value) -> BTreeMap<String, String> {
    let nodes: BTreeMap<&str, &Value> =
        list(&metadata()["resolve"]["nodes"]).iter().map(|node| (text(node, "id"), node)).collect();
    let names: BTreeMap<&str, &str> =
        packages().iter().map(|package| (text(package, "id"), text(package, "name"))).collect();
    let mut paths = BTreeMap::new();
    let mut left = vec![(text(package, "id"), text(package, "name").to_owned())];
    while let Some((id, path)) = left.pop() {
        let shipped = list(&nodes[id]["deps"])
            .iter()
            .filter(|dep| list(&dep["dep_kinds"]).iter().any(|kind| text(kind, "kind") != "dev"));
        for dep in shipped {
            let id = text(dep, "pkg");
            let name = names[id];
            if !paths.contains_key(name) {
                let path = format!("{path} → {name}");
                paths.insert(name.to_owned(), path.clone());
                left.push((id, path));
            }
        }
    }
    paths
}
