//! Fetch, ListOffsets, OffsetForLeaderEpoch, DescribeProducers.

use milena_wire::ApiKey;
use milena_wire::messages::describe_producers::request::{DescribeProducersRequest, TopicRequest};
use milena_wire::messages::fetch::request::{FetchPartition, FetchRequest, FetchTopic};
use milena_wire::messages::list_offsets::request::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use milena_wire::messages::offset_for_leader_epoch::request::{
    OffsetForLeaderEpochRequest, OffsetForLeaderPartition, OffsetForLeaderTopic,
};

use super::{Author, STRANGE_ID};
use crate::names;

impl Author<'_> {
    pub(super) fn fetch(&mut self) {
        let version = self.version(ApiKey::FETCH);
        let mut request = FetchRequest {
            max_wait_ms: 0,
            min_bytes: self.chance.pick(&[0, 1, 1, 100_000]),
            max_bytes: if self.is_repacked {
                i32::MAX
            } else {
                self.chance.pick(&[i32::MAX, i32::MAX, 1 << 20, 400, 1, 0])
            },
            isolation_level: self.chance.pick(&[0, 0, 1]),
            ..Default::default()
        };
        if version >= 11 && self.chance.one_in(6) {
            request.rack_id = "rack1".into();
        }
        let places = self.chance.pick(&[1, 1, 2, 3]);
        for _ in 0..places {
            let topic = self.fetched_topic(version);
            let is_known = |known: &FetchTopic| {
                known.topic == topic.topic && known.partitions[0].partition == topic.partitions[0].partition
            };
            // Who names a partition twice is served otherwise; that is tried, but not all the time.
            if !request.topics.iter().any(is_known) || self.chance.one_in(8) {
                request.topics.push(topic);
            }
        }
        if self.chance.one_in(25) {
            request.topics.clear();
        }
        self.ask("a fetch", version, request);
    }

    fn fetched_topic(&mut self, version: i16) -> FetchTopic {
        let Some((topic, partition)) = self.place() else {
            let name = self.missing_name().into();
            let partitions = vec![FetchPartition { partition_max_bytes: 1000, ..Default::default() }];
            return FetchTopic { topic: name, topic_id: STRANGE_ID, partitions, ..Default::default() };
        };
        let model = &self.topics[topic];
        let end = model.partitions[partition].end;
        let (mut name, mut topic_id) = (model.name.clone(), model.id());
        let gone = model.gone.clone();
        let fetch_offset = match self.chance.below(10) {
            0 => end,
            1 => end + self.chance.within(1..40),
            2 => -1,
            3 => i64::MAX,
            _ => self.chance.within(0..end.max(1) + 1),
        };
        let mut partition = i32::try_from(partition).expect("there are few");
        match self.chance.below(24) {
            0 => partition = self.chance.pick(&[-1, 5, 99]),
            1 => {
                name = self.missing_name();
                // Not the zero id: Kafka fails by itself when another topic follows it.
                topic_id = STRANGE_ID;
            }
            2 | 3 if !gone.is_empty() => topic_id = names::topic_id(self.chance.pick(&gone)),
            _ => {}
        }
        let last_fetched_epoch = match version {
            12.. => self.chance.weighted(&[(10, -1), (3, 0), (1, 1), (1, 7)]),
            _ => -1,
        };
        let asked = FetchPartition {
            partition,
            current_leader_epoch: self.leader_epoch(),
            fetch_offset,
            last_fetched_epoch,
            log_start_offset: self.chance.pick(&[-1, -1, 0, 3]),
            partition_max_bytes: if self.is_repacked {
                1 << 20
            } else {
                self.chance.pick(&[1 << 20, 1 << 20, 500, 100, 1, 0])
            },
            ..Default::default()
        };
        FetchTopic { topic: name.as_str().into(), topic_id, partitions: vec![asked], ..Default::default() }
    }

    /// Every record of every topic.
    pub(super) fn fetch_all(&mut self) {
        let version = self.version(ApiKey::FETCH);
        let mut request = FetchRequest::default();
        for topic in self.topics.iter().filter(|topic| topic.exists) {
            let all = (0..).zip(&topic.partitions).map(|(partition, _)| FetchPartition {
                partition,
                partition_max_bytes: i32::MAX,
                ..Default::default()
            });
            request.topics.push(FetchTopic {
                topic: topic.name.as_str().into(),
                topic_id: topic.id(),
                partitions: all.collect(),
                ..Default::default()
            });
        }
        self.ask("everything", version, request);
    }

    /// Mostly none; else one that may be right, or over, or still to come.
    fn leader_epoch(&mut self) -> i32 {
        self.chance.weighted(&[(12, -1), (4, 0), (1, 1), (1, 2), (1, 100), (1, -2)])
    }

    pub(super) fn list_offsets(&mut self) {
        let version = self.version(ApiKey::LIST_OFFSETS);
        let mut request = ListOffsetsRequest {
            replica_id: self.chance.pick(&[-1, -1, -1, -2]),
            isolation_level: if version >= 2 { self.chance.pick(&[0, 1]) } else { 0 },
            timeout_ms: 1_000,
            ..Default::default()
        };
        for _ in 0..self.chance.pick(&[1, 1, 2]) {
            let topic = self.listed_topic();
            if !request.topics.iter().any(|known| known.name == topic.name) || self.chance.one_in(8) {
                request.topics.push(topic);
            }
        }
        self.ask("offsets by time", version, request);
    }

    fn listed_topic(&mut self) -> ListOffsetsTopic {
        let hour = 3_600_000;
        let base = self.origin.base;
        let timestamp = match self.chance.below(12) {
            0 | 1 => -1,
            2 | 3 => -2,
            4 => -3,
            5 => self.chance.pick(&[-4, -5, -6]),
            6 => self.chance.pick(&[-7, i64::MIN]),
            7 => self.chance.pick(&[0, i64::MAX, base + 10 * hour, base - 100 * 24 * hour]),
            _ => base + self.chance.pick(&[0, -3 * hour, 2 * hour]) + self.chance.within(-1200..1200),
        };
        let (name, mut partition) = match self.place() {
            Some((topic, partition)) => (self.topics[topic].name.clone(), partition as i32),
            None => (self.missing_name(), 0),
        };
        let name = if self.chance.one_in(15) { self.missing_name() } else { name };
        if self.chance.one_in(15) {
            partition = self.chance.pick(&[-1, 2, 77]);
        }
        let current_leader_epoch = self.leader_epoch();
        let asked =
            ListOffsetsPartition { partition_index: partition, current_leader_epoch, timestamp, ..Default::default() };
        let mut partitions = vec![asked.clone()];
        if self.chance.one_in(12) {
            partitions.push(ListOffsetsPartition { timestamp: -1, ..asked });
        }
        ListOffsetsTopic { name: name.as_str().into(), partitions, ..Default::default() }
    }

    pub(super) fn offset_for_leader_epoch(&mut self) {
        let version = self.version(ApiKey::OFFSET_FOR_LEADER_EPOCH);
        let mut request = OffsetForLeaderEpochRequest { replica_id: -1, ..Default::default() };
        for topic in 0..self.topics.len() {
            let partitions =
                (0..self.topics[topic].partitions.len() as i32).map(|partition| OffsetForLeaderPartition {
                    partition: if self.chance.one_in(12) { 44 } else { partition },
                    current_leader_epoch: self.leader_epoch(),
                    leader_epoch: self.chance.pick(&[0, 0, 1, 2, 100, -1, -2]),
                    ..Default::default()
                });
            let partitions = partitions.collect();
            let topic = self.topics[topic].name.as_str().into();
            request.topics.push(OffsetForLeaderTopic { topic, partitions, ..Default::default() });
        }
        if self.chance.one_in(4) {
            let partitions = vec![OffsetForLeaderPartition::default()];
            let topic = self.missing_name().into();
            request.topics.push(OffsetForLeaderTopic { topic, partitions, ..Default::default() });
        }
        self.ask("where epochs end", version, request);
    }

    pub(super) fn describe_producers(&mut self) {
        let mut request = DescribeProducersRequest::default();
        for topic in &self.topics {
            let mut partition_indexes: Vec<i32> = (0..topic.partitions.len() as i32).collect();
            if self.chance.one_in(6) {
                partition_indexes.push(self.chance.pick(&[-1, 2, 50]));
            }
            request.topics.push(TopicRequest {
                name: topic.name.as_str().into(),
                partition_indexes,
                ..Default::default()
            });
        }
        if self.chance.one_in(4) {
            let name = self.missing_name().into();
            request.topics.push(TopicRequest { name, partition_indexes: vec![0], ..Default::default() });
        }
        self.ask("who writes", 0, request);
    }
}
