//! The broker's side: requests are served one at a time per connection, and refused where a fault says so.

use milena_broker::{Cluster, ClusterConfig, Event, Memory, Node, NodeId, PartitionIndex, ProduceFault};

use crate::faults::FaultKind;
use crate::history::{AttemptId, AttemptState, Place};
use crate::network::{LinkId, Network};
use crate::request::{hide_offsets, verdicts_of, version_of};
use crate::scenario::{HOST, PORT};
use crate::stage::Stage;

pub(crate) fn open(stage: &Stage) -> Cluster {
    let node = Node { id: NODE, host: HOST.to_owned(), port: PORT };
    let config = ClusterConfig { seed: stage.scenario.seed, ..ClusterConfig::with_node(node) };
    Cluster::open(config, Box::new(Memory), stage.broker_clock()).expect("an empty cluster in memory opens")
}

/// The only node.
pub(crate) const NODE: NodeId = NodeId(1);

pub(crate) fn create_topic(stage: &mut Stage, cluster: &mut Cluster, number: usize) {
    let topic = &stage.scenario.topics[number];
    let id = cluster.create_topic(&topic.name, topic.partitions).expect("the scenario's topics can be created");
    stage.topic_ids.insert(id, number);
}

/// Serves the oldest request of a connection.
pub(crate) fn serve(stage: &mut Stage, net: &mut Network, cluster: &mut Cluster, link: LinkId) {
    let Some((connection, frame, attempts)) = net.next_request(link) else { return };
    let hidden = refuse_some(stage, cluster, &attempts);
    let version = version_of(&frame).unwrap_or_default();
    cluster.handle_frame(stage.broker_clock(), connection, frame);
    match cluster.poll_event(stage.broker_clock()) {
        Some(Event::Response { frame, .. }) => {
            let frame = if hidden.is_empty() { frame } else { hide_offsets(stage, &frame, version, &hidden) };
            let verdicts = verdicts_of(stage, &frame, version, &attempts);
            for (attempt, code, base_offset) in &verdicts {
                stage.note(format_args!("broker answers attempt {}: {code} at {base_offset}", attempt.0));
                let state = AttemptState::Answered { code: *code, base_offset: *base_offset };
                stage.history.attempt(*attempt).state = state;
            }
            net.respond(stage, link, Some(&frame), verdicts);
        }
        Some(Event::Close { reason, .. }) => {
            stage.history.fault(format!("the broker closes a connection: {reason}"));
            net.respond(stage, link, None, Vec::new());
        }
        None => {
            stage.history.fault("a request was not answered at once".to_owned());
            net.respond(stage, link, None, Vec::new());
        }
    }
}

/// Gives the partitions whose answer must not tell the offset of an append.
fn refuse_some(stage: &mut Stage, cluster: &mut Cluster, attempts: &[AttemptId]) -> Vec<Place> {
    let mut hidden = Vec::new();
    for attempt in attempts {
        let (place, first) = (stage.history.attempt(*attempt).place, stage.history.attempt(*attempt).first);
        let Some(refusal) = stage.faults.refuses(stage.now, first) else { continue };
        let fault = ProduceFault { code: refusal.code, appended: refusal.is_appended, times: 1 };
        let is_there = cluster.plant(&stage.scenario.topics[place.0].name, PartitionIndex(place.1), fault);
        assert!(is_there, "attempts are made on partitions that exist");
        let felt = stage.scenario.latency.1 * 4;
        stage.faults.strike(FaultKind::Refused, stage.now, stage.now + felt);
        stage.faults.note_refusal(place, refusal.code);
        if refusal.is_silent {
            hidden.push(place);
        }
        stage.note(format_args!(
            "attempt {} is refused with {}, appended: {}",
            attempt.0, refusal.code, refusal.is_appended
        ));
    }
    hidden
}
