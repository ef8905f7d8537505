//! Fetch sessions (KIP-227): begun, gone on with, gone on with wrongly, ended.

use milena_wire::ApiKey;
use milena_wire::messages::fetch::request::{FetchPartition, FetchRequest, FetchTopic, ForgottenTopic};

use super::{Author, Then};
use crate::names;

/// A session that was begun.
#[derive(Clone, Copy, Debug)]
pub(super) struct SessionModel {
    slot: u32,
    /// Of the next request.
    epoch: i32,
    version: i16,
}

impl Author<'_> {
    pub(super) fn fetch_in_session(&mut self) {
        let Some(session) = self.session.filter(|_| !self.chance.one_in(12)) else { return self.begin_session() };
        let slot = session.slot;
        let mut request = FetchRequest {
            min_bytes: 1,
            max_bytes: if self.is_repacked { i32::MAX } else { self.chance.pick(&[i32::MAX, i32::MAX, 400]) },
            isolation_level: self.chance.pick(&[0, 0, 1]),
            session_id: names::session_id(slot),
            session_epoch: session.epoch,
            ..Default::default()
        };
        let mut goes_on = true;
        let mut version = session.version;
        match self.chance.below(14) {
            0 => (request.session_epoch, goes_on) = (session.epoch + self.chance.pick(&[1, -1, 7]), false),
            1 => (request.session_id, goes_on) = (4711, false),
            2 => (request.session_epoch, self.session) = (-1, None),
            3 => {
                version = if version >= 13 { 12 } else { 13 };
                goes_on = false;
            }
            _ => {}
        }
        for _ in 0..self.chance.pick(&[0, 0, 0, 1, 1]) {
            let topic = self.some_partition();
            request.topics.extend(topic);
        }
        if self.chance.one_in(6)
            && let Some(topic) = self.some_partition()
        {
            let forgotten = ForgottenTopic {
                topic: topic.topic,
                topic_id: topic.topic_id,
                partitions: topic.partitions.iter().map(|partition| partition.partition).collect(),
                ..Default::default()
            };
            request.forgotten_topics_data.push(forgotten);
        }
        if goes_on && let Some(session) = &mut self.session {
            session.epoch += 1;
        }
        self.ask("a fetch in a session", version, request);
    }

    fn begin_session(&mut self) {
        let version = self.version(ApiKey::FETCH).max(7);
        let slot = self.sessions;
        self.sessions += 1;
        let mut request = FetchRequest { min_bytes: 1, session_id: 0, session_epoch: 0, ..Default::default() };
        for topic in self.topics.iter().filter(|topic| topic.exists) {
            let partitions = (0..).zip(&topic.partitions).map(|(partition, _)| wanted(partition, 0));
            request.topics.push(FetchTopic {
                topic: topic.name.as_str().into(),
                topic_id: topic.id(),
                partitions: partitions.collect(),
                ..Default::default()
            });
        }
        self.session = Some(SessionModel { slot, epoch: 1, version });
        self.ask("a new session", version, request).then = Then::Session(slot);
    }

    fn some_partition(&mut self) -> Option<FetchTopic> {
        let (topic, partition) = self.place()?;
        let model = &self.topics[topic];
        let offset = self.chance.within(0..model.partitions[partition].end + 1);
        let partitions = vec![wanted(partition as i32, offset)];
        Some(FetchTopic { topic: model.name.as_str().into(), topic_id: model.id(), partitions, ..Default::default() })
    }
}

fn wanted(partition: i32, fetch_offset: i64) -> FetchPartition {
    FetchPartition {
        partition,
        fetch_offset,
        current_leader_epoch: -1,
        last_fetched_epoch: -1,
        log_start_offset: -1,
        partition_max_bytes: 1 << 20,
        ..Default::default()
    }
}
