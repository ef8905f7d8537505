//! The admin port over sockets: what it does, what it refuses, and whom.

use std::io::{Read, Write};
use std::net::TcpStream;

use milena_broker::{Broker, BrokerOptions, Fault, NodeId};
use milena_wire::messages::produce::request::ProduceRequest;
use serde_json::{Value, json};

use crate::client::{Batch, produce};
use crate::server::{PATIENCE, Socket, start};

fn with_nodes(nodes: u16) -> Broker {
    let options = BrokerOptions { admin: Some("127.0.0.1:0".to_owned()), ..BrokerOptions::default() };
    let broker = start(options.nodes(nodes));
    broker.create_topic("orders", 1).expect("it is new");
    broker
}

fn connect(broker: &Broker) -> TcpStream {
    let stream = TcpStream::connect(broker.admin().expect("it listens")).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("above zero");
    stream
}

fn exchange(broker: &Broker, request: &[u8]) -> String {
    let mut stream = connect(broker);
    stream.write_all(request).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers and closes");
    answer
}

fn status_and_json(answer: &str) -> (u16, Value) {
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer has a head");
    let status = head.split(' ').nth(1).expect("a status").parse().expect("a number");
    (status, serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {body}")))
}

fn ask(broker: &Broker, method: &str, path: &str, body: &str) -> (u16, Value) {
    let length = body.len();
    let request = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{body}");
    status_and_json(&exchange(broker, request.as_bytes()))
}

fn get(broker: &Broker, path: &str) -> Value {
    let (status, value) = ask(broker, "GET", path, "");
    assert_eq!(status, 200, "{value}");
    value
}

fn post(broker: &Broker, path: &str, body: Value) -> Value {
    let (status, value) = ask(broker, "POST", path, &body.to_string());
    assert!(matches!(status, 200 | 201), "{status} {value}");
    value
}

/// Code and offset of a batch, written with acks=1 at a node.
fn produced(broker: &Broker, node: usize, batch: Batch) -> (i16, i64) {
    let address = broker.bootstrap().split(',').nth(node - 1).expect("each node has one");
    let request = ProduceRequest { acks: 1, ..produce("orders", 0, batch) };
    let response = Socket::connect_to(address).ask(9, &request);
    let partition = &response.responses[0].partition_responses[0];
    (partition.error_code, partition.base_offset)
}

#[test]
fn ready_and_cluster_tell_where_everything_is() {
    let broker = with_nodes(2);
    assert_eq!(get(&broker, "/ready"), json!({ "ready": true, "bootstrap": broker.bootstrap() }));
    let cluster = get(&broker, "/cluster");
    assert_eq!(cluster["bootstrap"], broker.bootstrap());
    assert_eq!(cluster["nodes"][1]["id"], 2);
    assert_eq!(cluster["nodes"][1]["process"], "running");
    assert_eq!(cluster["nodes"][1]["lag_ms"], Value::Null);
}

#[test]
fn topics_are_made_shown_and_removed() {
    let broker = with_nodes(2);
    let order = json!({ "name": "t", "partitions": 2, "replication_factor": 1, "configs": { "retention.ms": "5000" } });
    let made = post(&broker, "/topics", order.clone());
    assert_eq!(made["partitions"].as_array().map(Vec::len), Some(2));
    assert_eq!(made["partitions"][1]["replicas"].as_array().map(Vec::len), Some(1));
    assert_eq!(get(&broker, "/topics/t"), made);
    assert_eq!(get(&broker, "/topics").as_array().map(Vec::len), Some(2));
    assert_eq!(ask(&broker, "POST", "/topics", &order.to_string()).0, 400, "it exists");
    assert_eq!(ask(&broker, "DELETE", "/topics/t", "").0, 200);
    assert_eq!(ask(&broker, "DELETE", "/topics/t", "").0, 404);
    let bad = json!({ "name": "t", "configs": { "retention.ms": "soon" } });
    let (status, refused) = ask(&broker, "POST", "/topics", &bad.to_string());
    assert_eq!(status, 400);
    assert!(refused["error"].as_str().expect("a sentence").contains("retention.ms"), "{refused}");
}

#[test]
fn log_and_producers_tell_the_truth_in_pieces_as_large_as_asked_for() {
    let broker = with_nodes(1);
    assert_eq!(produced(&broker, 1, Batch::of(&["a", "b"])), (0, 0));
    assert_eq!(produced(&broker, 1, Batch::stamped(&["c"], 7, 2, 5)), (0, 2));
    let log = get(&broker, "/topics/orders/partitions/0/log?from=1&max=2");
    assert_eq!((&log["start_offset"], &log["high_watermark"], &log["end_offset"]), (&json!(0), &json!(3), &json!(3)));
    let values: Vec<_> = log["records"].as_array().expect("a list").iter().map(|record| &record["value"]).collect();
    assert_eq!(values, ["b", "c"]);
    let last = &log["records"][1];
    assert_eq!((&last["producer_id"], &last["producer_epoch"], &last["sequence"]), (&json!(7), &json!(2), &json!(5)));
    assert_eq!((&last["key"], &last["committed"], &last["batch"]), (&Value::Null, &json!(true), &json!(2)));
    let producers = get(&broker, "/producers");
    assert_eq!(producers, get(&broker, "/topics/orders/partitions/0/producers"));
    assert_eq!((&producers[0]["producer_id"], &producers[0]["batches"][0]["base_offset"]), (&json!(7), &json!(2)));
    assert_eq!(ask(&broker, "GET", "/topics/orders/partitions/1/log", "").0, 404);
    assert_eq!(ask(&broker, "GET", "/topics/orders/partitions/0/log?form=1", "").0, 400, "a misspelt parameter");
}

#[test]
fn nodes_freeze_thaw_stop_start_and_lag_and_leaders_move() {
    let broker = with_nodes(3);
    let first = usize::try_from(broker.leader("orders", 0).expect("somebody leads").0).expect("a number");
    let other = first % 3 + 1;
    assert_eq!(post(&broker, &format!("/nodes/{other}/freeze"), json!({}))["process"], "frozen");
    let (status, refused) = ask(&broker, "POST", &format!("/nodes/{other}/freeze"), "");
    assert_eq!((status, refused["error"].as_str().is_some_and(|why| why.contains("thaw"))), (409, true), "{refused}");
    assert_eq!(post(&broker, &format!("/nodes/{other}/thaw"), json!({}))["process"], "waking");
    post(&broker, "/topics/orders/partitions/0/leader", json!({ "node": other }));
    assert_eq!(broker.leader("orders", 0).map(|node| node.0 as usize), Some(other));
    assert_eq!(
        ask(&broker, "POST", "/topics/orders/partitions/0/leader", &json!({ "node": other }).to_string()).0,
        409
    );
    assert_eq!(post(&broker, &format!("/nodes/{first}/stop"), json!({ "clean": true }))["process"], "stopped");
    assert_eq!(broker.isr("orders", 0).map(|isr| isr.len()), Some(2));
    assert_eq!(post(&broker, &format!("/nodes/{first}/start"), json!({}))["process"], "running");
    assert_eq!(ask(&broker, "POST", &format!("/nodes/{first}/start"), "").0, 409);
    assert_eq!(post(&broker, "/nodes/1/lag", json!({ "time_ms": 5 }))["lag_ms"], 5);
    assert_eq!(post(&broker, "/nodes/1/lag", json!({ "never": true }))["lag_ms"], -1);
    assert_eq!(post(&broker, "/nodes/1/lag", json!({}))["lag_ms"], Value::Null);
    assert_eq!(post(&broker, "/nodes/1/age_metadata", json!({ "time_ms": 7 }))["metadata_age_ms"], 7);
    assert_eq!(ask(&broker, "POST", "/nodes/9/freeze", "").0, 404);
    assert_eq!(ask(&broker, "POST", "/nodes/1/lag", r#"{"time":5}"#).0, 400, "a misspelt field");
}

#[test]
fn faults_are_added_waited_for_listed_and_removed() {
    let broker = with_nodes(1);
    let order =
        json!({ "effect": "refuse", "code": "not_enough_replicas", "api": "produce", "topic": "orders", "times": 1 });
    let fault = post(&broker, "/faults", order);
    assert_eq!(
        (&fault["code"], &fault["api"], &fault["hits"]),
        (&json!("NOT_ENOUGH_REPLICAS"), &json!("Produce"), &json!(0))
    );
    let (status, late) = ask(&broker, "GET", &format!("/faults/{}?hits=1&timeout_ms=1", fault["id"]), "");
    assert_eq!(status, 408, "{late}");
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| get(&broker, &format!("/faults/{}?hits=1&timeout_ms=20000", fault["id"])));
        assert_eq!(produced(&broker, 1, Batch::of(&["a"])).0, 19);
        assert_eq!(waiting.join().expect("it is answered")["over"], true);
    });
    assert_eq!(produced(&broker, 1, Batch::of(&["a"])), (0, 0));
    let id = broker.faults().add(Fault::cut(3));
    let listed = get(&broker, "/faults");
    assert_eq!((listed.as_array().map(Vec::len), &listed[1]["bytes"]), (Some(2), &json!(3)), "those from Rust, too");
    assert_eq!(ask(&broker, "DELETE", &format!("/faults/{id}"), "").0, 200);
    assert_eq!(ask(&broker, "GET", &format!("/faults/{id}"), "").0, 404);
    assert_eq!(ask(&broker, "DELETE", "/faults", "").0, 200);
    assert_eq!(get(&broker, "/faults"), json!([]));
}

#[test]
fn fault_of_what_is_not_there_yet_says_so_once() {
    let broker = with_nodes(1);
    let add = |topic: &str, partition: i32| {
        let order = json!({ "effect": "refuse", "code": 3, "topic": topic, "partition": partition });
        post(&broker, "/faults", order)["note"].clone()
    };
    assert_eq!(add("orders", 0), Value::Null);
    let hit = "requests that name it are hit all the same";
    assert_eq!(add("later", 0), json!(format!("there is no topic \"later\" yet; {hit}")));
    assert_eq!(add("orders", 7), json!(format!("topic \"orders\" has 1 partitions and no 7 yet; {hit}")));
    assert_eq!(produced(&broker, 1, Batch::of(&["a"])).0, 3);
    assert!(get(&broker, "/faults")[1].get("note").is_none());
}

/// Waiting requests took every place, and kept it when their clients had left.
#[test]
fn who_waits_leaves_room_and_the_place_with_the_connection() {
    let broker = with_nodes(1);
    let never = broker.faults().add(Fault::close_before().client("nobody"));
    let wait = format!("GET /faults/{never}?hits=1&timeout_ms=60000 HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let waiting: Vec<TcpStream> = (0..32)
        .map(|_| {
            let mut stream = connect(&broker);
            stream.write_all(wait.as_bytes()).expect("it reads");
            stream
        })
        .collect();
    // Those before it are read by then: all tasks of the port take turns.
    let one_more = || ask(&broker, "GET", &format!("/faults/{never}?hits=1&timeout_ms=1"), "");
    let refused = std::iter::repeat_with(one_more).take(1000).find(|(status, _)| *status != 408);
    let (status, why) = refused.expect("all places are taken soon");
    assert_eq!(status, 503, "{why}");
    assert!(why["error"].as_str().is_some_and(|why| why.starts_with("32 requests wait for hits already")), "{why}");
    assert_eq!(get(&broker, "/ready")["ready"], true);
    assert_eq!(get(&broker, &format!("/faults/{never}"))["hits"], 0);
    drop(waiting);
    let given = std::iter::repeat_with(one_more).take(1000).find(|(status, _)| *status != 503);
    assert_eq!(given.expect("places are given back soon").0, 408);
}

#[test]
fn who_finds_all_places_taken_is_told_so() {
    let broker = with_nodes(1);
    let idle: Vec<TcpStream> = (0..64).map(|_| connect(&broker)).collect();
    // Connections are accepted in their order, so this is one too many.
    let (status, why) = ask(&broker, "GET", "/ready", "");
    assert_eq!(status, 503);
    assert!(why["error"].as_str().is_some_and(|why| why.contains("64 requests")), "{why}");
    drop(idle);
    let again = std::iter::repeat_with(|| ask(&broker, "GET", "/ready", "").0).take(1000).find(|status| *status != 503);
    assert_eq!(again, Some(200));
}

#[test]
fn racks_are_shown_and_replicas_moved() {
    let racks = ["a", "b", "a"].map(str::to_owned).to_vec();
    let options = BrokerOptions { admin: Some("127.0.0.1:0".to_owned()), racks, ..BrokerOptions::default() };
    let broker = start(options.nodes(4));
    post(&broker, "/topics", json!({ "name": "orders", "replication_factor": 2 }));
    let cluster = get(&broker, "/cluster");
    let racks: Vec<_> = cluster["nodes"].as_array().expect("a list").iter().map(|node| &node["rack"]).collect();
    assert_eq!(racks, [&json!("a"), &json!("b"), &json!("a"), &Value::Null]);
    let to = "/topics/orders/partitions/0/replicas";
    let moved = post(&broker, to, json!({ "nodes": [3, 2] }));
    let of = |partition: &Value, fields: [&str; 4]| json!(fields.map(|field| partition[field].clone()));
    let fields = ["replicas", "isr", "adding_replicas", "removing_replicas"];
    assert_eq!(of(&moved, fields), json!([[3, 2], [3, 2], [], []]));
    assert_eq!(broker.leader("orders", 0), Some(NodeId(3)), "it is preferred, and the former one has left");
    post(&broker, "/nodes/4/lag", json!({ "never": true }));
    let begun = post(&broker, to, json!({ "nodes": [4] }));
    assert_eq!(of(&begun, fields), json!([[4, 3, 2], [3, 2], [4], [3, 2]]), "it waits for who copies nothing");
    post(&broker, "/nodes/4/lag", json!({}));
    assert_eq!(of(&get(&broker, "/topics/orders")["partitions"][0], fields), json!([[4], [4], [], []]));
    for (path, order, status, why) in [
        (to, json!({ "nodes": [] }), 400, "a partition needs a replica; name at least one node"),
        (to, json!({ "nodes": [1, 1] }), 400, "node 1 is named twice; it can have one replica"),
        (to, json!({ "nodes": [1, 9] }), 404, "there is no node 9; there are: 1, 2, 3, 4"),
        ("/topics/no/partitions/0/replicas", json!({ "nodes": [1] }), 404, "there is no topic \"no\"; make it first"),
    ] {
        assert_eq!(ask(&broker, "POST", path, &order.to_string()), (status, json!({ "error": why })), "{order}");
    }
    let lead = ask(&broker, "POST", "/topics/orders/partitions/0/leader", r#"{"node":4}"#);
    let why = "node 4 cannot be made leader: it leads already; the leader is node 4, in sync: 4";
    assert_eq!(lead, (409, json!({ "error": why })));
}

#[test]
fn who_waits_for_hits_learns_that_there_will_be_none() {
    let broker = with_nodes(1);
    let wait = |id| ask(&broker, "GET", &format!("/faults/{id}?hits=2&timeout_ms=60000"), "");
    let removed = broker.faults().add(Fault::cut(3).client("nobody"));
    let used_up = broker.faults().add(Fault::cut(0).client("test").once());
    std::thread::scope(|scope| {
        let (removed_too_early, told_of_the_end) = (scope.spawn(|| wait(removed)), scope.spawn(|| wait(used_up)));
        Socket::connect_to(broker.bootstrap()).send(9, &produce("orders", 0, Batch::of(&["a"])));
        let (status, over) = told_of_the_end.join().expect("it is answered");
        assert_eq!(
            (status, &over["error"]),
            (409, &json!("fault 2 is over: it has hit 1 requests, and will not hit 2"))
        );
        // Whether it waits already or comes later: the fault is gone.
        assert_eq!(ask(&broker, "DELETE", &format!("/faults/{removed}"), "").0, 200);
        assert_eq!(removed_too_early.join().expect("it is answered").0, 404);
    });
}

#[test]
fn faults_that_make_no_sense_are_refused_in_words() {
    let broker = with_nodes(1);
    for (order, word) in [
        (json!({}), "effect"),
        (json!({ "effect": "explode" }), "lose_answer"),
        (json!({ "effect": "refuse" }), "code"),
        (json!({ "effect": "refuse", "code": "NO_SUCH_CODE" }), "NOT_LEADER_OR_FOLLOWER"),
        (json!({ "effect": "refuse", "code": "NONE" }), "NONE"),
        (json!({ "effect": "refuse", "code": true }), "name or a whole number"),
        (json!({ "effect": "delay" }), "time_ms"),
        (json!({ "effect": "cut", "time_ms": 1 }), "time_ms"),
        (json!({ "effect": "lose_answer", "api": "JoinGroup" }), "Produce"),
        (json!({ "effect": "lose_answer", "time": 1 }), "time"),
        (json!({ "effect": "refuse", "code": 99_999 }), "99999 is no error of Kafka"),
        (json!({ "effect": "refuse", "code": 1.5 }), "name or a whole number"),
        (json!({ "effect": "lose_answer", "node": 77 }), "there is no node 77; there are: 1"),
        (json!({ "effect": "lose_answer", "times": 0 }), "would never hit"),
        (json!({ "effect": "lose_answer", "lasting_ms": 0 }), "would be over at once"),
        (json!({ "effect": "lose_answer", "topic": "orders", "partition": -1 }), "would never hit"),
    ] {
        let (status, refused) = ask(&broker, "POST", "/faults", &order.to_string());
        assert_eq!(status, 400, "{order}");
        assert!(refused["error"].as_str().is_some_and(|why| why.contains(word)), "{order}: {refused}");
    }
    assert_eq!(ask(&broker, "POST", "/faults", &"[".repeat(60_000)).0, 400, "nested as deep as it may be long");
    assert_eq!(broker.faults().list(), []);
}

#[test]
fn connections_are_listed() {
    let broker = with_nodes(1);
    let mut socket = Socket::connect_to(broker.bootstrap());
    socket.ask(9, &produce("orders", 0, Batch::of(&["a"])));
    let connections = get(&broker, "/connections");
    assert_eq!((&connections[0]["client"], &connections[0]["last_api"]), (&json!("test"), &json!("Produce")));
    assert_eq!(connections.as_array().map(Vec::len), Some(1), "the admin port's own are none");
}

#[test]
fn pages_from_elsewhere_steer_nothing() {
    let broker = with_nodes(1);
    let body = r#"{"effect":"lose_answer"}"#;
    let address = broker.admin().expect("it listens");
    for (headers, status) in [
        (format!("Host: {address}\r\nOrigin: http://{address}\r\nSec-Fetch-Site: same-origin"), 201),
        (format!("Host: {address}\r\nOrigin: http://evil.example"), 403),
        (format!("Host: evil.example:{}", address.port()), 403),
        ("Accept: */*".to_owned(), 403),
    ] {
        let request = format!("POST /faults HTTP/1.1\r\n{headers}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        assert_eq!(status_and_json(&exchange(&broker, request.as_bytes())).0, status, "{headers}");
    }
    assert_eq!(broker.faults().list().len(), 1);
    let preflight = format!("OPTIONS /faults HTTP/1.1\r\nHost: {address}\r\nOrigin: http://evil.example\r\n\r\n");
    assert!(!exchange(&broker, preflight.as_bytes()).to_ascii_lowercase().contains("access-control-allow"));
}

#[test]
fn page_is_one_file_that_loads_nothing_from_elsewhere() {
    let broker = with_nodes(1);
    let page = exchange(&broker, b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
    assert!(page.starts_with("HTTP/1.1 200") && page.contains("text/html"), "{page}");
    assert!(page.contains("default-src 'none'") && page.contains("X-Frame-Options: DENY"));
    assert!(!page.contains("http://") && !page.contains("https://") && !page.contains("src="), "nothing is loaded");
}

#[test]
fn what_is_not_there_says_what_is() {
    let broker = with_nodes(1);
    for (method, path, status, word) in [
        ("GET", "/nothing", 404, "/faults"),
        ("PUT", "/faults", 405, "POST"),
        ("POST", "/cluster", 405, "GET"),
        ("GET", "/nodes/1/freeze", 405, "POST"),
        ("GET", "/topics/no", 404, "POST /topics"),
        ("GET", "/faults/x", 404, "GET /faults"),
        ("GET", "/faults/1?hits=-1", 400, "number"),
        ("POST", "/nodes/x/freeze", 404, "node"),
        ("DELETE", "/faults?id=1", 400, "nothing is taken behind ?"),
        ("GET", "/topics?name=x", 400, "nothing is taken behind ?"),
    ] {
        let (got, refused) = ask(&broker, method, path, "");
        assert_eq!(got, status, "{method} {path}: {refused}");
        assert!(refused["error"].as_str().is_some_and(|why| why.contains(word)), "{method} {path}: {refused}");
    }
    for body in ["[]", "null", "[\"t\"]", "7"] {
        let (status, refused) = ask(&broker, "POST", "/topics", body);
        assert_eq!((status, &refused["error"]), (400, &json!("the body must be a JSON object, in {}")), "{body}");
    }
    broker.faults().add(Fault::close_before().client("nobody"));
    assert_eq!(ask(&broker, "DELETE", "/faults", r#"{"id":1}"#).0, 400, "it would be taken for a wish");
    assert_eq!(broker.faults().list().len(), 1);
}

#[test]
fn head_is_answered_as_get_without_the_body() {
    let broker = with_nodes(1);
    for path in ["/", "/ready", "/nothing"] {
        let asked =
            |method| exchange(&broker, format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes());
        let (got, head) = (asked("GET"), asked("HEAD"));
        assert_eq!(got.split_once("\r\n\r\n").map(|(head, _)| format!("{head}\r\n\r\n")), Some(head), "{path}");
    }
}

/// What a route refuses here has a reason of its own: an empty order, a state that does not fit.
#[test]
fn every_documented_route_is_there() {
    let broker = with_nodes(1);
    let page = include_str!("../../../../docs/broker.md");
    let mut tried = 0;
    for line in
        page.lines().filter(|line| ["GET", "POST", "DELETE"].iter().any(|of| line.starts_with(&format!("| `{of}`"))))
    {
        let mut words = line.split('`').skip(1).step_by(2);
        let (method, path) = (words.next().expect("a method"), words.next().expect("a path"));
        if path == "/" {
            continue;
        }
        let id = broker.faults().add(Fault::cut(0).client("nobody"));
        broker.create_topic("t", 1).ok();
        let path = path.replace("NAME", "t").replace("/N/", "/0/").replace("faults/ID", &format!("faults/{id}"));
        let (status, answer) = ask(&broker, method, &path.replace("ID", "1"), "");
        assert!(![404, 405].contains(&status), "{method} {path}: {status} {answer}");
        tried += 1;
    }
    assert!(tried > 20, "the page has lost its table");
}

#[test]
fn hostile_bytes_are_refused_and_the_broker_serves_on() {
    let broker = with_nodes(1);
    for request in [
        "\u{0}\u{1}\u{2}\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n".to_owned(),
        format!("GET /{} HTTP/1.1\r\n", "a".repeat(40_000)),
        "POST /faults HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
            .to_owned(),
    ] {
        let (status, _) = status_and_json(&exchange(&broker, request.as_bytes()));
        assert!((400..500).contains(&status), "{status}");
    }
    // More than are served at once, and none of them ends its request.
    let idle: Vec<TcpStream> = (0..80).map(|_| connect(&broker)).collect();
    assert_eq!(produced(&broker, 1, Batch::of(&["a"])), (0, 0));
    drop(idle);
    let mut alive = connect(&broker);
    alive.write_all(b"GET /ready HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("it reads");
    let mut answer = String::new();
    // It may be turned away while the others are still leaving.
    while alive.read_to_string(&mut answer).is_err() || !answer.starts_with("HTTP/1.1 200") {
        answer.clear();
        alive = connect(&broker);
        alive.write_all(b"GET /ready HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("it reads");
    }
    assert!(answer.contains("\"ready\":true"), "{answer}");
}

#[test]
fn port_is_closed_by_default_and_with_the_broker() {
    assert_eq!(start(BrokerOptions::default()).admin(), None);
    let broker = with_nodes(1);
    let address = broker.admin().expect("it listens");
    broker.stop();
    assert!(TcpStream::connect(address).is_err());
}
