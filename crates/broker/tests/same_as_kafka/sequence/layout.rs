//! Where partitions are and what they hold: CreatePartitions, DescribeTopicPartitions, ElectLeaders, reassignments, DescribeLogDirs,
//! DeleteRecords.

use milena_wire::ApiKey;
use milena_wire::messages::alter_partition_reassignments::request::{
    AlterPartitionReassignmentsRequest, ReassignablePartition, ReassignableTopic,
};
use milena_wire::messages::create_partitions::request::{
    CreatePartitionsAssignment, CreatePartitionsRequest, CreatePartitionsTopic,
};
use milena_wire::messages::delete_records::request::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic,
};
use milena_wire::messages::describe_log_dirs::request::{DescribableLogDirTopic, DescribeLogDirsRequest};
use milena_wire::messages::describe_topic_partitions::request::{Cursor, DescribeTopicPartitionsRequest, TopicRequest};
use milena_wire::messages::elect_leaders::request::{ElectLeadersRequest, TopicPartitions};
use milena_wire::messages::list_partition_reassignments::request::{
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsTopics,
};

use super::{Author, PartitionModel, Then, TopicNeeded};

impl Author<'_> {
    pub(super) fn create_partitions(&mut self) {
        let version = self.version(ApiKey::CREATE_PARTITIONS);
        let Some((topic, _)) = self.place() else { return self.create_topics() };
        let (name, before) = (self.topics[topic].name.clone(), self.topics[topic].partitions.len() as i32);
        let mut asked = CreatePartitionsTopic { name: name.as_str().into(), count: before + 1, ..Default::default() };
        let by = |nodes: &[i32]| CreatePartitionsAssignment { broker_ids: nodes.to_vec(), ..Default::default() };
        let (mut grows, mut is_large) = (true, false);
        match self.chance.below(11) {
            0 => (asked.count, grows) = (before, false),
            1 => (asked.count, grows) = (self.chance.pick(&[0, -1, before - 1]), false),
            2 => (asked.name, grows) = (self.missing_name().as_str().into(), false),
            3 => (asked.assignments, grows) = (Some(vec![by(&[7])]), false),
            4 => (asked.assignments, grows) = (Some(vec![by(&[1]), by(&[1])]), false),
            5 => (asked.assignments, grows) = (Some(vec![by(&[])]), false),
            6 => asked.assignments = Some(vec![by(&[1])]),
            // As many as one request can have, and more. They are only looked at: nobody wants so many logs.
            7 => (asked.count, is_large) = (before + self.chance.pick(&[9_999, 10_000, 10_001, 20_000]), true),
            _ => {}
        }
        let validate_only = is_large || self.chance.one_in(4);
        let mut topics = vec![asked.clone()];
        if self.chance.one_in(10) {
            topics.push(asked);
            grows = false;
        }
        let slot = self.topics[topic].slot;
        let request = CreatePartitionsRequest { topics, timeout_ms: 20_000, validate_only, ..Default::default() };
        let step = self.ask("more partitions", version, request);
        if grows && !validate_only {
            step.then = Then::Grown(TopicNeeded { slot, name, partitions: before + 1, configs: Vec::new() });
            self.topics[topic].partitions.push(PartitionModel::default());
        }
    }

    pub(super) fn describe_partitions(&mut self) {
        let version = self.version(ApiKey::DESCRIBE_TOPIC_PARTITIONS);
        let mut names: Vec<String> = self.topics.iter().map(|topic| topic.name.clone()).collect();
        if self.chance.one_in(3) {
            names.push(self.missing_name());
        }
        if self.chance.one_in(8) {
            names.push(names[0].clone());
        }
        let cursor = self.chance.one_in(4).then(|| Cursor {
            topic_name: self.chance.pick(&names).as_str().into(),
            partition_index: self.chance.pick(&[0, 1, 5, -1]),
            ..Default::default()
        });
        let topic = |name: &String| TopicRequest { name: name.as_str().into(), ..Default::default() };
        let request = DescribeTopicPartitionsRequest {
            topics: names.iter().map(topic).collect(),
            response_partition_limit: self.chance.pick(&[2000, 2000, 1, 2, 0, -1]),
            cursor,
            ..Default::default()
        };
        self.ask("partitions, page by page", version, request);
    }

    pub(super) fn elect_leaders(&mut self) {
        let version = self.version(ApiKey::ELECT_LEADERS);
        let topics = self.named_partitions().into_iter().map(|(name, partitions)| TopicPartitions {
            topic: name.as_str().into(),
            partitions,
            ..Default::default()
        });
        let request = ElectLeadersRequest {
            election_type: if version >= 1 { self.chance.weighted(&[(4, 0), (4, 1), (1, 5)]) } else { 0 },
            topic_partitions: Some(topics.collect()),
            timeout_ms: 20_000,
            ..Default::default()
        };
        self.ask("elections", version, request);
    }

    pub(super) fn reassign(&mut self) {
        let named = self.named_partitions();
        if self.chance.one_in(2) {
            let version = self.version(ApiKey::LIST_PARTITION_REASSIGNMENTS);
            let topic = |(name, partition_indexes): (String, Vec<i32>)| ListPartitionReassignmentsTopics {
                name: name.as_str().into(),
                partition_indexes,
                ..Default::default()
            };
            let topics = (!self.chance.one_in(4)).then(|| named.into_iter().map(topic).collect());
            let request = ListPartitionReassignmentsRequest { timeout_ms: 20_000, topics, ..Default::default() };
            self.ask("what moves", version, request);
            return;
        }
        let version = self.version(ApiKey::ALTER_PARTITION_REASSIGNMENTS);
        let wanted = [Some(vec![1]), Some(vec![7]), Some(Vec::new()), Some(vec![1, 1]), Some(vec![-1]), None];
        let topics = named.into_iter().map(|(name, partitions)| ReassignableTopic {
            name: name.as_str().into(),
            partitions: partitions
                .into_iter()
                .map(|partition_index| ReassignablePartition {
                    partition_index,
                    replicas: self.chance.pick(&wanted),
                    ..Default::default()
                })
                .collect(),
            ..Default::default()
        });
        let topics = topics.collect();
        let request = AlterPartitionReassignmentsRequest {
            timeout_ms: 20_000,
            topics,
            allow_replication_factor_change: version < 1 || self.chance.one_in(2),
            ..Default::default()
        };
        self.ask("moves", version, request);
    }

    pub(super) fn describe_log_dirs(&mut self) {
        let version = self.version(ApiKey::DESCRIBE_LOG_DIRS);
        let topics = self.named_partitions().into_iter().map(|(name, partitions)| DescribableLogDirTopic {
            topic: name.as_str().into(),
            partitions,
            ..Default::default()
        });
        let request = DescribeLogDirsRequest { topics: Some(topics.collect()), ..Default::default() };
        self.ask("how large logs are", version, request);
    }

    pub(super) fn delete_records(&mut self) {
        let version = self.version(ApiKey::DELETE_RECORDS);
        let mut topics = Vec::new();
        for (name, partitions) in self.named_partitions() {
            let mut asked = Vec::new();
            for partition_index in partitions {
                let model = self.topics.iter().find(|topic| topic.name == name);
                let place = usize::try_from(partition_index).ok();
                let end = model.and_then(|topic| topic.partitions.get(place?)).map_or(0, |partition| partition.end);
                let offset = self.chance.pick(&[0, 1, end / 2, end, -1, end + 50, -2]);
                asked.push(DeleteRecordsPartition { partition_index, offset, ..Default::default() });
            }
            topics.push(DeleteRecordsTopic { name: name.as_str().into(), partitions: asked, ..Default::default() });
        }
        let request = DeleteRecordsRequest { topics, timeout_ms: 5_000, ..Default::default() };
        self.ask("old records go", version, request);
    }

    /// Some partitions of some topics, most of which are there.
    fn named_partitions(&mut self) -> Vec<(String, Vec<i32>)> {
        let mut named = Vec::new();
        if let Some((topic, partition)) = self.place() {
            let mut partitions = vec![partition as i32];
            if self.chance.one_in(5) {
                partitions.push(self.chance.pick(&[-1, 40]));
            }
            named.push((self.topics[topic].name.clone(), partitions));
        }
        if self.chance.one_in(5) {
            named.push((self.missing_name(), vec![0]));
        }
        named
    }
}
