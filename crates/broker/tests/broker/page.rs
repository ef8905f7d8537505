//! The live page: its own script is run, its buttons are pressed, and what they ask for is done.

use std::process::Command;

use milena_broker::{Broker, BrokerOptions, Effect, ErrorCode, NewTopic, NodeId, PartitionIndex, Process};

use crate::server::start;

#[test]
fn buttons_and_forms_of_the_page_do_what_they_say() {
    if Command::new("node").arg("--version").output().is_err() {
        println!("skipped: there is no node to run the page's script");
        return;
    }
    let racks = vec!["north".to_owned(), "south".to_owned()];
    let options = BrokerOptions { admin: Some("127.0.0.1:0".to_owned()), racks, ..BrokerOptions::default() };
    let broker = start(options.nodes(3));
    broker.create_topic_with(NewTopic::new("orders").replication_factor(2)).expect("it is new");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/broker/page.js");
    let page = format!("http://{}", broker.admin().expect("it listens"));
    let ran = Command::new("node").args([script, &page]).output().expect("it was just there");
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    what_was_asked_for_is_done(&broker);
}

fn what_was_asked_for_is_done(broker: &Broker) {
    assert_eq!(broker.look(|cluster| cluster.process(NodeId(3))), Some(Process::Running));
    assert_eq!(broker.isr("orders", 0), Some(vec![NodeId(3), NodeId(1)]));
    let faults = broker.faults().list();
    assert_eq!(faults.len(), 8, "{faults:?}");
    assert_eq!(faults[0].fault.effect, Effect::Refuse(ErrorCode::NOT_ENOUGH_REPLICAS));
    for entry in &faults {
        let fault = &entry.fault;
        assert_eq!((fault.topic.as_deref(), fault.partition), (Some("orders"), Some(PartitionIndex(0))));
        assert_eq!((fault.node, fault.client.as_deref()), (Some(NodeId(1)), Some("me")));
        assert_eq!((fault.skip, fault.times), (2, Some(4)));
        assert_eq!(fault.lasting, Some(std::time::Duration::from_secs(90)));
    }
}
