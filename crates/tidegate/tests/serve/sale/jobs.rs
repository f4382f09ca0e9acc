//! Jobs on real nodes: endpoints, workers outside, kills, and `tidegate jobs`.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use harness::Process;
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::stand::{Client, Stand, body, kind, text};
use crate::stack::DEADLINE;

/// A call that an endpoint has had.
#[derive(Clone, Debug)]
struct Received {
    headers: BTreeMap<String, String>,
    body: Value,
}

/// An endpoint of a shop. Its answer is a status; 0: it takes the call and never answers.
struct Endpoint {
    at: SocketAddr,
    status: Arc<Mutex<u16>>,
    calls: Arc<Mutex<Vec<Received>>>,
}

impl Endpoint {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        let at = listener.local_addr().expect("an address");
        let (status, calls) = (Arc::new(Mutex::new(200)), Arc::new(Mutex::new(Vec::new())));
        let (answers, received) = (Arc::clone(&status), Arc::clone(&calls));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (answers, received) = (Arc::clone(&answers), Arc::clone(&received));
                thread::spawn(move || serve(stream, &answers, &received));
            }
        });
        Self { at, status, calls }
    }

    fn answer_with(&self, status: u16) {
        *self.status.lock() = status;
    }

    fn calls(&self) -> Vec<Received> {
        self.calls.lock().clone()
    }

    fn url(&self) -> String {
        format!("http://{}/jobs", self.at)
    }
}

fn serve(stream: TcpStream, status: &Mutex<u16>, calls: &Mutex<Vec<Received>>) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    loop {
        let (mut headers, mut line) = (BTreeMap::new(), String::new());
        reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        loop {
            line.clear();
            reader.read_line(&mut line).ok()?;
            let Some((name, value)) = line.trim().split_once(':') else { break };
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
        let length = headers.get("content-length")?.parse().ok()?;
        let mut content = vec![0; length];
        reader.read_exact(&mut content).ok()?;
        let body = serde_json::from_slice(&content).ok()?;
        calls.lock().push(Received { headers, body });
        let status = *status.lock();
        if status == 0 {
            thread::sleep(DEADLINE);
            return None;
        }
        let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: 2\r\n\r\n{{}}");
        (&stream).write_all(answer.as_bytes()).ok()?;
    }
}

fn jobs_command(stand: &Stand, args: &[&str]) -> (Option<i32>, String) {
    let process = Process::builder(env!("CARGO_BIN_EXE_tidegate")).arg("jobs").args(args);
    let mut process =
        process.arg("--config").arg(stand.any_config()).start().expect("the binary starts");
    let status = process.wait(DEADLINE * 2).expect("exited");
    (status.code(), process.lines().join("\n"))
}

fn stand(kinds: &str) -> Stand {
    let mut stand = Stand::start();
    stand.more = format!("early_refusals = \"0s\"\n{kinds}");
    stand
}

fn enqueue(client: &Client, kind: &str, key: &str, number: usize) -> String {
    let answer = client.post("/v1/jobs", key, &json!({ "kind": kind, "content": { "n": number } }));
    assert_eq!(answer.status, 201, "{answer:?}");
    text(&body(&answer), "job")
}

/// Returns the counts of a kind.
fn counts(client: &Client, kind: &str) -> Value {
    let kinds = body(&client.get("/v1/jobs"))["kinds"].as_array().cloned().unwrap_or_default();
    kinds.into_iter().find(|counts| counts["kind"] == kind).expect("known")
}

fn wait(what: &str, is_true: impl Fn() -> bool) {
    let wait = || {
        thread::sleep(Duration::from_millis(50));
        Ok(is_true().then_some(()))
    };
    harness::until(what, DEADLINE * 2, wait).expect("in time");
}

#[test]
fn endpoint_gets_signed_jobs_and_failed_ones_again() {
    let endpoint = Endpoint::start();
    let stand = stand(&format!(
        "[jobs.mail]\nclass = \"high\"\nurl = \"{}\"\nsecret_file = \"secret\"\nretry_delay = \"100ms\"\n",
        endpoint.url()
    ));
    stand.file("secret", "whsec_jobs");
    let node = stand.node();
    let client = stand.client(&node);
    let job = enqueue(&client, "mail", "k1", 1);
    assert_eq!(enqueue(&client, "mail", "k1", 1), job);
    wait("the call", || !endpoint.calls().is_empty());
    let first = endpoint.calls().remove(0);
    assert_eq!(first.body, json!({ "n": 1 }));
    let header = |name: &str| first.headers.get(name).cloned().unwrap_or_default();
    assert_eq!(header("idempotency-key"), format!("job-{job}"));
    assert_eq!((header("job-kind"), header("job-attempt")), ("mail".to_owned(), "1".to_owned()));
    assert!(header("job-signature").starts_with("t="), "{first:?}");
    wait("the end", || counts(&client, "mail")["done"] == 1);
    endpoint.answer_with(500);
    enqueue(&client, "mail", "k2", 2);
    wait("a retry", || endpoint.calls().len() >= 3);
    endpoint.answer_with(204);
    wait("the end", || counts(&client, "mail")["done"] == 2);
    endpoint.answer_with(422);
    enqueue(&client, "mail", "k3", 3);
    wait("a dead letter", || counts(&client, "mail")["dead"] == 1);
    let (status, output) = jobs_command(&stand, &["list", "--dead", "mail", "--json"]);
    assert_eq!(status, Some(0), "{output}");
    assert!(output.contains("422") && output.contains("{\\\"n\\\":3}"), "{output}");
    endpoint.answer_with(200);
    let (status, output) = jobs_command(&stand, &["replay", "mail"]);
    assert_eq!((status, &*output), (Some(0), "1 dead letters of mail run again"));
    wait("the end", || counts(&client, "mail")["done"] == 3);
    stand.audit();
}

/// Two nodes; the one that has the leases is killed in the middle of its calls. No job is lost.
#[test]
fn killed_node_loses_no_job() {
    let endpoint = Endpoint::start();
    let kinds =
        format!("[jobs.mail]\nclass = \"high\"\nurl = \"{}\"\ntimeout = \"1s\"\n", endpoint.url());
    let stand = stand(&kinds);
    let mut first = stand.node();
    let client = stand.client(&first);
    endpoint.answer_with(0);
    for number in 0..20 {
        enqueue(&client, "mail", &format!("k{number}"), number);
    }
    wait("calls in flight", || endpoint.calls().len() >= 10);
    first.process.kill9().expect("killed");
    endpoint.answer_with(200);
    let second = stand.node();
    let client = stand.client(&second);
    wait("all done", || counts(&client, "mail")["done"] == 20);
    let calls = endpoint.calls();
    let mut numbers: Vec<u64> = calls.iter().filter_map(|call| call.body["n"].as_u64()).collect();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers, (0..20).collect::<Vec<u64>>());
    stand.audit();
}

/// A pause survives restarts, holds for all nodes, and loses nothing.
#[test]
fn paused_kind_runs_after_resume_only() {
    let endpoint = Endpoint::start();
    let stand = stand(&format!("[jobs.mail]\nurl = \"{}\"\n", endpoint.url()));
    let node = stand.node();
    let (status, output) = jobs_command(&stand, &["pause", "mail"]);
    assert_eq!((status, &*output), (Some(0), "mail is paused"));
    let client = stand.client(&node);
    enqueue(&client, "mail", "k1", 1);
    drop(node);
    let node = stand.node();
    let client = stand.client(&node);
    enqueue(&client, "mail", "k2", 2);
    thread::sleep(Duration::from_secs(1));
    assert_eq!(endpoint.calls().len(), 0);
    assert_eq!(
        (&counts(&client, "mail")["waiting"], &counts(&client, "mail")["run"]),
        (&json!(2), &json!("paused"))
    );
    let (status, _) = jobs_command(&stand, &["resume", "mail"]);
    assert_eq!(status, Some(0));
    wait("all done", || counts(&client, "mail")["done"] == 2);
    let (status, output) = jobs_command(&stand, &["drain", "mail", "--json"]);
    assert_eq!(status, Some(0), "{output}");
    let refused = client.post("/v1/jobs", "k3", &json!({ "kind": "mail", "content": 1 }));
    assert_eq!((refused.status, &*kind(&refused)), (409, "kind-draining"));
    let (status, output) = jobs_command(&stand, &["pause", "nothing"]);
    assert_eq!(status, Some(1), "{output}");
    stand.audit();
}

/// While an endpoint is away, its kind is not called; others go on, and attempts are not used up.
#[test]
fn kind_of_an_absent_endpoint_waits_and_others_go_on() {
    let (away, there) = (Endpoint::start(), Endpoint::start());
    let stand = stand(&format!(
        "[jobs.slow]\nurl = \"{}\"\nattempts = 20\nretry_delay = \"100ms\"\nretry_delay_max = \"100ms\"\n[jobs.mail]\nurl = \"{}\"\n",
        away.url(),
        there.url()
    ));
    let node = stand.node();
    let client = stand.client(&node);
    away.answer_with(503);
    for number in 0..40 {
        enqueue(&client, "slow", &format!("s{number}"), number);
        enqueue(&client, "mail", &format!("m{number}"), number);
    }
    wait("the other kind", || counts(&client, "mail")["done"] == 40);
    thread::sleep(Duration::from_secs(3));
    // Without the breaker, 40 jobs with a delay of 100 ms would have made some hundred calls by now.
    let calls = away.calls().len();
    assert!(calls < 100, "{calls} calls");
    away.answer_with(200);
    wait("all done", || counts(&client, "slow")["done"] == 40);
    assert_eq!(counts(&client, "slow")["dead"], 0);
    stand.audit();
}

#[test]
fn workers_of_any_language_take_jobs() {
    let stand = stand("[jobs.export]\nclass = \"low\"\n");
    let node = stand.node();
    let client = stand.client(&node);
    let job = enqueue(&client, "export", "k1", 1);
    let claim = json!({ "kind": "export", "lease_seconds": 1, "worker": "w1" });
    let first = body(&client.post("/v1/jobs/claim", "c1", &claim));
    assert_eq!(
        (&first["jobs"][0]["job"], &first["jobs"][0]["content"]),
        (&json!(job), &json!({ "n": 1 }))
    );
    let token = first["jobs"][0]["token"].clone();
    // The worker is slow: its lease runs out, and another worker gets the job.
    let second = Mutex::new(Value::Null);
    wait("the next worker", || {
        let claimed = body(&client.post("/v1/jobs/claim", "c2", &claim));
        *second.lock() = claimed["jobs"][0]["token"].clone();
        !claimed["jobs"][0].is_null()
    });
    let late = client.post(&format!("/v1/jobs/{job}/done"), "d1", &json!({ "token": token }));
    assert_eq!((late.status, &*kind(&late)), (409, "lease-lost"));
    let token = second.into_inner();
    let extended = client.post(
        &format!("/v1/jobs/{job}/extend"),
        "e",
        &json!({ "token": token, "lease_seconds": 60 }),
    );
    assert_eq!(extended.status, 200, "{extended:?}");
    let done = || client.post(&format!("/v1/jobs/{job}/done"), "d2", &json!({ "token": token }));
    assert_eq!((done().status, done().status), (200, 200));
    let unknown = client.post("/v1/jobs", "k2", &json!({ "kind": "exprot", "content": 1 }));
    assert_eq!((unknown.status, &*kind(&unknown)), (404, "unknown-kind"));
    stand.audit();
}

#[test]
fn schedule_makes_one_job_on_two_nodes() {
    let stand = stand("[jobs.report]\nclass = \"low\"\nevery = \"365d\"\n");
    let (first, second) = (stand.node(), stand.node());
    let client = stand.client(&first);
    wait("the job", || counts(&client, "report")["enqueued"] == 1);
    thread::sleep(Duration::from_secs(2));
    assert_eq!(counts(&stand.client(&second), "report")["enqueued"], 1);
    stand.audit();
}
