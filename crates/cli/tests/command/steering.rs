//! `milena broker` for tests in other languages: one line of JSON, the admin port, an end with its stdin.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use serde_json::{Value, json};

use crate::process::{self, Folder, PATIENCE};

/// A broker as a test in another language starts it.
pub struct Steered {
    child: Child,
    pub bootstrap: String,
    admin: String,
}

impl Steered {
    pub fn start(more: &[&str]) -> Self {
        let arguments =
            ["broker", "--memory", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--json", "--exit-with-stdin"];
        let mut child = Command::new(env!("CARGO_BIN_EXE_milena"))
            .args(arguments)
            .args(more)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the binary was built");
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().expect("is piped")).read_line(&mut line).expect("a line comes");
        let told: Value = serde_json::from_str(&line).expect("it is JSON");
        let text = |name: &str| told[name].as_str().expect("it is told").to_owned();
        Self { bootstrap: text("bootstrap"), admin: text("admin"), child }
    }

    pub fn ask(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let address = self.admin.strip_prefix("http://").expect("it is an address for a browser");
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let head = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: {}\r\n\r\n", body.len());
        let mut stream = TcpStream::connect(address).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("above zero");
        stream.write_all((head + &body).as_bytes()).expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        let (head, body) = answer.split_once("\r\n\r\n").expect("an answer has a head");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        (status, serde_json::from_str(body).expect("every answer is JSON"))
    }

    /// The command, against this broker.
    pub fn run(&self, folder: &Folder, command: &str, stdin: &[u8]) -> crate::process::Ended {
        folder.run(&format!("{command} -b {}", self.bootstrap), stdin)
    }

    pub fn signal(&self, name: &str) {
        process::signal(&self.child, name);
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("it is ours").is_none()
    }

    pub fn await_end(&mut self) -> Option<i32> {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("it is ours") {
                return status.code();
            }
            assert!(Instant::now() < until, "it does not end");
            std::thread::yield_now();
        }
    }
}

impl Drop for Steered {
    fn drop(&mut self) {
        let _has_ended = self.child.kill();
        let _has_ended = self.child.wait();
    }
}

#[test]
fn a_broker_is_started_steered_and_ended_by_another_process() {
    let folder = Folder::new();
    let mut broker = Steered::start(&["--topic", "orders:2", "--topic", "other"]);
    let (status, ready) = broker.ask("GET", "/ready", &Value::Null);
    assert_eq!((status, ready), (200, json!({ "ready": true, "bootstrap": broker.bootstrap })));
    let fault = json!({ "effect": "refuse_after", "code": "REQUEST_TIMED_OUT", "api": "Produce", "topic": "orders", "times": 2 });
    let (status, fault) = broker.ask("POST", "/faults", &fault);
    assert_eq!((status, &fault["hits"]), (201, &json!(0)));
    broker.run(&folder, "produce orders -p 1 -K :", b"k:v\n").with_code(0);
    let (_, fault) = broker.ask("GET", "/faults/1?hits=2&timeout_ms=20000", &Value::Null);
    assert_eq!((&fault["hits"], &fault["over"]), (&json!(2), &json!(true)));
    let (_, log) = broker.ask("GET", "/topics/orders/partitions/1/log", &Value::Null);
    let records = log["records"].as_array().expect("a list");
    assert_eq!(records.len(), 1, "sent three times, written once");
    assert_eq!(
        (&records[0]["key"], &records[0]["value"], &records[0]["sequence"]),
        (&json!("k"), &json!("v"), &json!(0))
    );
    let (_, topics) = broker.ask("GET", "/topics", &Value::Null);
    assert_eq!(topics.as_array().expect("a list").len(), 2);
    drop(broker.child.stdin.take());
    assert_eq!(broker.await_end(), Some(0));
    assert!(TcpStream::connect(&broker.bootstrap).is_err());
}

#[test]
fn without_the_admin_port_the_json_line_says_so_and_bad_topics_are_refused() {
    let folder = Folder::new();
    let mut running = folder.start("broker --memory --listen 127.0.0.1:0 --json --exit-with-stdin");
    running.close_stdin();
    let ended = running.end().with_code(0);
    assert_eq!(ended.json()[0]["admin"], Value::Null);
    let ended = folder.run("broker --memory --listen 127.0.0.1:0 --topic a/b", b"").with_code(2);
    assert!(ended.says("a/b"), "{}", ended.stderr);
    let ended = folder.run("broker --memory --listen 127.0.0.1:0 --admin nowhere:x", b"").with_code(2);
    assert!(ended.says("nowhere:x"), "{}", ended.stderr);
}
