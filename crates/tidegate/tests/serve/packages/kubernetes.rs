//! The manifests and the image: they parse, each name in them exists, and their configuration is valid.

use serde::Deserialize as _;
use serde_json::Value;

use super::{Service, read, repository, wait};
use crate::first_hour::Desk;
use crate::stack::DEADLINE;

const FOLDER: &str = "packaging/kubernetes";

/// The password that a test's secret has.
const PASSWORD: &str = "hunter2-of-the-shop";

/// Returns the documents of a YAML file.
fn documents(file: &str) -> Vec<Value> {
    let text = read(&format!("{FOLDER}/{file}"));
    let documents = serde_yaml_ng::Deserializer::from_str(&text);
    let documents: Result<_, _> = documents.map(Value::deserialize).collect();
    documents.unwrap_or_else(|err| panic!("{file}: {err}"))
}

fn document(file: &str) -> Value {
    documents(file).into_iter().next().expect("a document")
}

fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    let list = value.pointer(pointer).and_then(Value::as_array);
    list.unwrap_or_else(|| panic!("{pointer} is no list in {value:#}"))
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    let text = value.pointer(pointer).and_then(Value::as_str);
    text.unwrap_or_else(|| panic!("{pointer} is no text in {value:#}"))
}

fn configuration() -> toml::Table {
    let map = document("configmap.yaml");
    text(&map, "/data/tidegate.toml").parse().expect("TOML")
}

fn pod() -> Value {
    document("deployment.yaml")["spec"]["template"]["spec"].clone()
}

/// Returns the key and the path of each file of the secret.
fn secret_files() -> Vec<(String, String)> {
    let pod = pod();
    let sources = list(&pod, "/volumes/0/projected/sources");
    let secret = sources.iter().find(|source| source["secret"].is_object()).expect("a secret");
    let items = list(secret, "/secret/items").iter();
    items.map(|item| (text(item, "/key").to_owned(), text(item, "/path").to_owned())).collect()
}

#[test]
fn every_manifest_listed_with_kind() {
    let listed = document("kustomization.yaml");
    let mut listed: Vec<&str> =
        list(&listed, "/resources").iter().filter_map(Value::as_str).collect();
    listed.sort_unstable();
    let files = std::fs::read_dir(repository(FOLDER)).expect("a folder").flatten();
    let files = files.map(|file| file.file_name().to_string_lossy().into_owned());
    let mut files: Vec<String> = files.filter(|name| name != "kustomization.yaml").collect();
    files.sort_unstable();
    assert_eq!(listed, files);
    for document in files.iter().flat_map(|file| documents(file)) {
        assert!(document["kind"].is_string() && document["apiVersion"].is_string(), "{document}");
    }
}

/// `tidegate check` accepts the configuration, with the files of the secret where the pod has them.
#[test]
fn configuration_of_map_accepted() {
    let desk = Desk::new();
    std::fs::create_dir(desk.path("secrets")).expect("a folder");
    let map = document("configmap.yaml");
    desk.write("tidegate.toml", text(&map, "/data/tidegate.toml"));
    for (_, path) in secret_files() {
        desk.write(&path, PASSWORD);
    }
    std::fs::remove_file(desk.path("secrets/tokens.toml")).expect("a file of the secret");
    let token = desk.run(&["token", "create", "monitoring", "--role", "viewer"]);
    assert_eq!(token.code, Some(0), "the help of the manifest: {token:?}");
    let check = desk.run(&["check"]);
    assert_eq!(check.code, Some(0), "{check:?}");
    assert!(!check.text().contains(PASSWORD), "{check:?}");
    for (key, path) in secret_files() {
        std::fs::remove_file(desk.path(&path)).expect("a file");
        let named = configuration().to_string().contains(&path);
        assert!(named, "the configuration does not use {key} at {path}");
    }
}

#[test]
fn ports_of_container_are_those_of_configuration() {
    let (pod, configuration) = (pod(), configuration());
    for port in list(&pod, "/containers/0/ports") {
        let name = text(port, "/name");
        let address = configuration["listen"][name].as_str().expect(name);
        let number = port["containerPort"].as_u64().expect("a number");
        assert_eq!(address, format!(":{number}"), "{name}");
        let image = read("packaging/Containerfile");
        let exposed = image.lines().find(|line| line.starts_with("EXPOSE")).expect("EXPOSE");
        assert!(exposed.split(' ').any(|port| port == number.to_string()), "{exposed}");
    }
    let names: Vec<&str> =
        list(&pod, "/containers/0/ports").iter().map(|port| text(port, "/name")).collect();
    let labels = document("deployment.yaml")["spec"]["template"]["metadata"]["labels"].clone();
    for service in documents("service.yaml") {
        assert_eq!(service["spec"]["selector"], labels, "{service:#}");
        for port in list(&service, "/spec/ports") {
            assert!(names.contains(&text(port, "/targetPort")), "{port}");
        }
    }
    let deployment = document("deployment.yaml");
    assert_eq!(deployment["spec"]["selector"]["matchLabels"], labels);
    let budget = document("poddisruptionbudget.yaml");
    assert_eq!(budget["spec"]["selector"]["matchLabels"], labels);
}

#[test]
fn probes_answered_by_node_on_their_port() {
    let service = Service::start("", &[]);
    let pod = pod();
    let container = &pod["containers"][0];
    for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
        let get = &container[probe]["httpGet"];
        assert_eq!(text(get, "/port"), "admin", "{probe}");
        let path = text(get, "/path");
        let answer = harness::http::get(service.node.admin, path, DEADLINE).expect("an answer");
        assert_eq!(answer.status, 200, "{probe}: {path}");
    }
    // A database that is away restarts nothing.
    for probe in ["startupProbe", "livenessProbe"] {
        assert_eq!(text(&container[probe], "/httpGet/path"), "/healthz", "{probe}");
    }
}

/// The pod is killed after its grace period.
#[test]
fn grace_period_covers_stop() {
    let configuration = configuration();
    let delay = configuration["node"]["stop_delay"].as_str().expect("a delay");
    let delay = humantime::parse_duration(delay).expect("a time").as_secs();
    let page = read("docs/configuration.md");
    let drain = page.lines().find(|line| line.starts_with("| `edge.drain_timeout` | `"));
    let drain = drain.and_then(|row| row.split('`').nth(3)).expect("a default");
    let drain = humantime::parse_duration(drain).expect("a time").as_secs();
    let pod = pod();
    let grace = pod["terminationGracePeriodSeconds"].as_u64().expect("a number");
    assert!(grace >= delay + drain + 5, "{grace} s for {delay} s and {drain} s");
    let readiness = &pod["containers"][0]["readinessProbe"];
    let unready = readiness["periodSeconds"].as_u64().zip(readiness["failureThreshold"].as_u64());
    let unready = unready.map(|(period, failures)| period * (failures + 1));
    assert!(
        unready.is_some_and(|unready| unready < delay),
        "the delay ends before the probes fail"
    );
}

/// The pod has nothing but a read-only root, and the token file's group may not write.
#[test]
fn container_restricted_and_files_mounted_whole() {
    let pod = pod();
    let container = &pod["containers"][0];
    assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
    assert_eq!(container["securityContext"]["allowPrivilegeEscalation"], false);
    assert_eq!(container["securityContext"]["capabilities"]["drop"][0], "ALL");
    assert_eq!(
        (&pod["securityContext"]["runAsNonRoot"], &pod["enableServiceLinks"]),
        (&Value::Bool(true), &Value::Bool(false))
    );
    let user = pod["securityContext"]["runAsUser"].as_u64().expect("a number");
    assert_eq!(pod["securityContext"]["fsGroup"].as_u64(), Some(user));
    assert!(read("packaging/container/passwd").contains(&format!("x:{user}:{user}:")));
    assert!(read("packaging/Containerfile").contains(&format!("\nUSER {user}:{user}\n")));
    assert!(read("packaging/kubernetes/deployment.yaml").contains("defaultMode: 0440\n"));
    let mount = &container["volumeMounts"][0];
    assert!(mount["subPath"].is_null(), "a file by subPath never changes");
    let args = list(container, "/args");
    let config = format!("{}/tidegate.toml", text(mount, "/mountPath"));
    assert_eq!(args, [Value::from("serve"), Value::from(config)]);
}

#[test]
fn copied_files_of_image_exist() {
    let image = read("packaging/Containerfile");
    let copies = image.lines().filter_map(|line| line.strip_prefix("COPY "));
    let copied: Vec<&str> = copies
        .filter(|line| !line.starts_with("--from"))
        .flat_map(|line| line.rsplit_once(' ').map(|(files, _)| files.split(' ')))
        .flatten()
        .filter(|file| !file.starts_with("target/"))
        .collect();
    assert!(copied.len() >= 2, "{copied:?}");
    for file in copied {
        assert!(repository(file).exists(), "{file}");
    }
    let entry = image.lines().find_map(|line| line.strip_prefix("CMD [\"serve\", "));
    assert_eq!(entry, Some("\"/etc/tidegate/tidegate.toml\"]"));
}

/// The image's health check, as an engine runs it.
#[test]
fn health_check_of_image_passes_and_fails() {
    let image = read("packaging/Containerfile");
    let check = image
        .lines()
        .map(str::trim)
        .find_map(|line| line.strip_prefix("CMD [\"/usr/bin/tidegate\""));
    let check: Vec<String> =
        serde_json::from_str(&format!("[\"\"{}", check.expect("a health check"))).expect("a list");
    let mut service = Service::start("", &[]);
    let admin = service.node.admin.to_string();
    let desk = Desk::new();
    let run = || {
        let args = check.iter().skip(1).map(String::as_str).chain(["--admin", &admin]);
        desk.run(&args.collect::<Vec<_>>()).code
    };
    assert_eq!(run(), Some(0));
    service.node.process.kill9().expect("killed");
    // Engines keep 2 for themselves.
    wait("a failed check", || matches!(run(), Some(1 | 3)));
}
