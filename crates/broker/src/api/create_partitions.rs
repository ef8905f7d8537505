//! CreatePartitions: topics grow, each wholly or not at all (KIP-195). What is there already stays where it is.

use std::collections::BTreeSet;

use milena_wire::ErrorCode;
use milena_wire::messages::create_partitions::request::{
    CreatePartitionsAssignment, CreatePartitionsRequest, CreatePartitionsTopic,
};
use milena_wire::messages::create_partitions::response::{CreatePartitionsResponse, CreatePartitionsTopicResult};

use super::fault::{Fault, code_and_text};
use crate::cluster::Cluster;
use crate::ids::{NodeId, PartitionIndex};
use crate::moment::Moment;
use crate::nodes::Nodes;

impl Cluster {
    pub(super) fn create_partitions_asked(
        &mut self,
        now: Moment,
        request: &CreatePartitionsRequest,
    ) -> CreatePartitionsResponse {
        let mut seen = BTreeSet::new();
        let repeated: BTreeSet<&str> =
            request.topics.iter().map(|topic| &*topic.name).filter(|name| !seen.insert(*name)).collect();
        let once = request.topics.iter().filter(|topic| !repeated.contains(&*topic.name));
        let mut records = 0;
        let mut results: Vec<_> =
            repeated.iter().map(|name| result(name, Err(Fault::invalid_request("Duplicate topic name.")))).collect();
        for topic in once {
            results.push(result(&topic.name, self.grow_asked(now, topic, request.validate_only, &mut records)));
        }
        CreatePartitionsResponse { results, ..Default::default() }
    }

    fn grow_asked(
        &mut self,
        now: Moment,
        asked: &CreatePartitionsTopic,
        validate_only: bool,
        records: &mut usize,
    ) -> Result<(), Fault> {
        let placed = self.plan_growth(asked, RECORDS_MAX - *records)?;
        *records += placed.len();
        if validate_only {
            return Ok(());
        }
        self.grow_topic(&asked.name, &placed)?;
        self.follow_settings(now, &asked.name);
        Ok(())
    }

    /// The nodes of each partition to be, at most so many.
    fn plan_growth(&self, asked: &CreatePartitionsTopic, most: usize) -> Result<Vec<Vec<NodeId>>, Fault> {
        let name = &*asked.name;
        let topic = self.topics.named(name).ok_or_else(|| Fault::unknown_topic(name))?;
        let before = topic.partitions().len();
        let refused = |message: String| Fault::new(ErrorCode::INVALID_PARTITIONS, message);
        let wanted = usize::try_from(asked.count).unwrap_or(0);
        if wanted == before {
            return Err(refused(format!("Topic already has {before} partition(s).")));
        }
        if wanted < before {
            let count = asked.count;
            return Err(refused(format!(
                "The topic {name} currently has {before} partition(s); {count} would not be an increase."
            )));
        }
        let factor = topic.partitions()[0].replicas().count();
        // Kafka 4.3.1 has no words for it. By its sources it keeps what had fitted by then; here a topic grows wholly or not at all.
        let too_many = Fault::new(ErrorCode::UNKNOWN_SERVER_ERROR, "");
        let placed: Vec<_> = match &asked.assignments {
            Some(assignments) => assigned(&self.nodes, assignments, wanted - before, factor)?,
            None if wanted - before > most => return Err(too_many),
            None => {
                let ids = self.nodes.ids();
                let around = |index: usize| ids.iter().copied().cycle().skip(index % ids.len()).take(factor).collect();
                (before..wanted).map(around).collect()
            }
        };
        match placed.len() {
            added if added > most => Err(too_many),
            added if before + added > TOPIC_PARTITIONS_MAX as usize => {
                Err(refused(format!("a topic cannot have {wanted} partitions; use up to {TOPIC_PARTITIONS_MAX}")))
            }
            _ => Ok(placed),
        }
    }

    /// More partitions behind those that are there, or none.
    fn grow_topic(&mut self, name: &str, placed: &[Vec<NodeId>]) -> Result<(), Fault> {
        let Some(before) = self.topics.named(name).map(|topic| topic.partitions().len()) else {
            return Err(Fault::unknown_topic(name));
        };
        let first = PartitionIndex(i32::try_from(before).unwrap_or(i32::MAX));
        let saved = self.create_partitions(name, first, placed).and_then(|created| {
            if let Some(topic) = self.topics.named_mut(name) {
                topic.partitions.extend(created);
            }
            self.save_topic(name)
        });
        saved.map_err(|error| {
            if let Some(topic) = self.topics.named_mut(name) {
                topic.partitions.truncate(before);
            }
            self.remove_logs(name, first, placed);
            error.into()
        })
    }
}

/// Replicas as the request places them: as many for each partition as the others have, on different nodes that are there.
fn assigned(
    nodes: &Nodes,
    assignments: &[CreatePartitionsAssignment],
    missing: usize,
    factor: usize,
) -> Result<Vec<Vec<NodeId>>, Fault> {
    if assignments.len() != missing {
        return Err(Fault::new(
            ErrorCode::INVALID_REPLICA_ASSIGNMENT,
            format!(
                "Attempted to add {missing} additional partition(s), but only {} assignment(s) were specified.",
                assignments.len()
            ),
        ));
    }
    let replicas = |assigned: &CreatePartitionsAssignment| {
        let replicas = check_replicas(nodes, &assigned.broker_ids)?;
        match replicas.len() == factor {
            true => Ok(replicas),
            false => Err(Fault::new(
                ErrorCode::INVALID_REPLICA_ASSIGNMENT,
                format!(
                    "The manual partition assignment includes a partition with {} replica(s), but this is not consistent with previous partitions, which have {factor} replica(s).",
                    replicas.len()
                ),
            )),
        }
    };
    assignments.iter().map(replicas).collect()
}

/// At least one, none twice, all there.
pub(super) fn check_replicas(nodes: &Nodes, ids: &[i32]) -> Result<Vec<NodeId>, Fault> {
    let refused = |what: String| {
        let message = format!("The manual partition assignment includes {what}");
        Fault::new(ErrorCode::INVALID_REPLICA_ASSIGNMENT, message)
    };
    if ids.is_empty() {
        return Err(refused("an empty replica list.".to_owned()));
    }
    let mut seen = BTreeSet::new();
    if let Some(repeated) = ids.iter().find(|id| !seen.insert(**id)) {
        return Err(refused(format!("the broker {repeated} more than once.")));
    }
    if let Some(missing) = ids.iter().find(|id| nodes.get(NodeId(**id)).is_none()) {
        return Err(refused(format!("broker {missing}, but no such broker is registered.")));
    }
    Ok(ids.iter().copied().map(NodeId).collect())
}

/// What Kafka's controller writes for one request, a record for each new partition. A topic that has so many grows on by another request.
const RECORDS_MAX: usize = 10_000;
/// What a topic can grow to, by steps; Kafka has no such limit. Each is a log, so a file and a folder; and what a catalogue says is not believed beyond.
pub const TOPIC_PARTITIONS_MAX: i32 = 200_000;

fn result(name: &str, outcome: Result<(), Fault>) -> CreatePartitionsTopicResult {
    // Kafka has no words for a topic that is not there.
    let is_silent = matches!(&outcome, Err(fault) if fault.code == ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    let (error_code, error_message) = code_and_text(outcome);
    CreatePartitionsTopicResult {
        name: name.into(),
        error_code,
        error_message: error_message.filter(|_| !is_silent),
        ..Default::default()
    }
}
