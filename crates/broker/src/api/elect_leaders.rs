//! ElectLeaders: preferred leaders lead again, or partitions that nobody leads get any replica that is alive (KIP-183, KIP-460).

use milena_wire::ErrorCode;
use milena_wire::messages::elect_leaders::request::ElectLeadersRequest;
use milena_wire::messages::elect_leaders::response::{ElectLeadersResponse, PartitionResult, ReplicaElectionResult};

use super::fault::{Fault, code_and_text};
use crate::cluster::Cluster;
use crate::ids::{NodeId, PartitionIndex};
use crate::leadership::{Election, Leadership};
use crate::moment::Moment;
use crate::nodes::Nodes;
use crate::partition::Partition;

/// Which leader is wanted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The first of the replicas.
    Preferred,
    /// Any, where there is none.
    Unclean,
}

impl Cluster {
    pub(super) fn elect_leaders(&mut self, now: Moment, request: &ElectLeadersRequest) -> ElectLeadersResponse {
        let kind = match request.election_type {
            0 => Ok(Kind::Preferred),
            1 => Ok(Kind::Unclean),
            other => Err(Fault::invalid_request(format!("Unknown election type {other}"))),
        };
        let asked: Vec<(String, Vec<i32>)> = match &request.topic_partitions {
            Some(topics) => topics.iter().map(|it| (it.topic.to_string(), it.partitions.clone())).collect(),
            None => {
                let indexes = |count: usize| (0..).take(count).collect();
                self.topics.iter().map(|topic| (topic.name.clone(), indexes(topic.partitions.len()))).collect()
            }
        };
        let is_all = request.topic_partitions.is_none();
        let mut results = Vec::with_capacity(asked.len());
        for (topic, partitions) in asked {
            let mut partition_result = Vec::new();
            for index in partitions {
                let outcome = match &kind {
                    Ok(kind) => self.elect_asked(now, &topic, PartitionIndex(index), *kind),
                    Err(fault) => Err(fault.clone()),
                };
                // Who asks for all is not told of those that have what is wanted.
                let is_idle = matches!(&outcome, Err(fault) if fault.code == ErrorCode::ELECTION_NOT_NEEDED);
                if !(is_all && is_idle) {
                    partition_result.push(result(index, outcome));
                }
            }
            results.push(ReplicaElectionResult { topic: topic.into(), partition_result, ..Default::default() });
        }
        let is_nothing = !is_all && results.is_empty();
        let error_code = kind.err().filter(|_| !is_nothing).map_or(ErrorCode::NONE, |fault| fault.code).0;
        ElectLeadersResponse { error_code, replica_election_results: results, ..Default::default() }
    }

    fn elect_asked(&mut self, now: Moment, topic: &str, index: PartitionIndex, kind: Kind) -> Result<(), Fault> {
        let missing = |message: String| Fault::new(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, message);
        let Self { topics, nodes, .. } = self;
        let topic_found = topics.named_mut(topic).ok_or_else(|| missing(format!("No such topic as {topic}")))?;
        let id = topic_found.id;
        let found = topic_found.partition_mut(index);
        let partition = found.ok_or_else(|| missing(format!("No such partition as {topic}-{index}")))?;
        let next = kind.choose(partition, nodes)?;
        if partition.decide(now.elapsed, next, nodes) {
            self.leadership_changed.insert((id, index));
        }
        self.replicate(now, id, index);
        Ok(())
    }
}

impl Kind {
    fn choose(self, partition: &Partition, nodes: &Nodes) -> Result<Leadership, Fault> {
        let preferred = partition.replicas().next();
        let has_it = match self {
            Kind::Preferred => partition.leader().is_some() && partition.leader() == preferred,
            Kind::Unclean => partition.leader().is_some(),
        };
        if has_it {
            let message = "Leader election not needed for topic partition.";
            return Err(Fault::new(ErrorCode::ELECTION_NOT_NEEDED, message));
        }
        let may_lead = |node: NodeId| nodes.is_eligible(node);
        let (leadership, knows_eligible) = (&partition.leadership, partition.min_insync.is_some());
        let next = match (self, preferred) {
            (Kind::Preferred, Some(first)) if leadership.isr.contains(&first) && may_lead(first) => {
                leadership.led_by(Some(first))
            }
            // Whoever leads goes on; where nobody does, somebody may by now.
            (Kind::Preferred, _) if leadership.leader.is_some() => leadership.clone(),
            (Kind::Preferred, _) => {
                leadership.elected(partition.replicas(), Election { is_unclean: false, knows_eligible, may_lead })
            }
            (Kind::Unclean, _) => {
                leadership.elected(partition.replicas(), Election { is_unclean: true, knows_eligible, may_lead })
            }
        };
        match (next == *leadership, self) {
            (false, _) => Ok(next),
            (true, Kind::Preferred) => {
                Err(Fault::new(ErrorCode::PREFERRED_LEADER_NOT_AVAILABLE, "The preferred leader was not available."))
            }
            (true, Kind::Unclean) => Err(Fault::new(
                ErrorCode::ELIGIBLE_LEADERS_NOT_AVAILABLE,
                "Eligible topic partition leaders are not available.",
            )),
        }
    }
}

fn result(index: i32, outcome: Result<(), Fault>) -> PartitionResult {
    let (error_code, error_message) = code_and_text(outcome);
    PartitionResult { partition_id: index, error_code, error_message, ..Default::default() }
}
