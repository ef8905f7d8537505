//! Topics that come and go: Kafka answers before all its parts know, so the next request waits until they do.

use std::collections::BTreeSet;
use std::io;

use milena_wire::messages::alter_client_quotas;
use milena_wire::messages::alter_client_quotas::request::{AlterClientQuotasRequest, EntityData, EntryData, OpData};
use milena_wire::messages::create_topics::request::CreateTopicsRequest;
use milena_wire::messages::delete_topics::request::DeleteTopicsRequest;
use milena_wire::messages::describe_client_quotas::request::{ComponentData, DescribeClientQuotasRequest};
use milena_wire::messages::describe_configs::request::{DescribeConfigsRequest, DescribeConfigsResource};
use milena_wire::messages::list_offsets::request::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use milena_wire::messages::metadata::request::{MetadataRequest, MetadataRequestTopic};
use milena_wire::{ErrorCode, Uuid};

use crate::asked::Answer;
use crate::sequence::{TopicNeeded, creatable};
use crate::side::Side;

/// Creates these topics and waits until they can be used. Gives their ids, in their order.
pub fn create(side: &mut Side, topics: &[&TopicNeeded]) -> io::Result<Vec<Uuid>> {
    let request = CreateTopicsRequest {
        topics: topics.iter().map(|topic| creatable(topic)).collect(),
        timeout_ms: 60_000,
        ..Default::default()
    };
    let Answer::CreateTopics(answer) = side.ask(7, request)? else { return Err(other_answer()) };
    if let Some(refused) = answer.topics.iter().find(|topic| topic.error_code != 0) {
        return Err(io::Error::other(format!("topic {} is refused: {:?}", refused.name, refused.error_message)));
    }
    await_created(side, topics)
}

/// Deletes these topics, as far as they are there.
pub fn delete(side: &mut Side, names: &[&str]) -> io::Result<()> {
    let topic_names = names.iter().map(|name| (*name).into()).collect();
    let request = DeleteTopicsRequest { topic_names, timeout_ms: 60_000, ..Default::default() };
    side.ask(5, request).map(drop)
}

/// Waits until metadata has the topics with leaders, and the leaders know that they lead.
pub fn await_created(side: &mut Side, topics: &[&TopicNeeded]) -> io::Result<Vec<Uuid>> {
    let asked = topics.iter().map(|topic| by_name(&topic.name)).collect();
    let request = MetadataRequest { topics: Some(asked), allow_auto_topic_creation: false, ..Default::default() };
    let answer = side.await_answer(12, request, |answer| match answer {
        Answer::Metadata(answer) => answer.topics.iter().all(|topic| {
            let wanted = topics.iter().find(|wanted| topic.name.as_deref() == Some(wanted.name.as_str()));
            let is_whole = wanted.is_some_and(|wanted| topic.partitions.len() == wanted.partitions as usize);
            let led = topic.partitions.iter().all(|partition| partition.error_code == 0 && partition.leader_id >= 0);
            topic.error_code == 0 && led && is_whole
        }),
        _ => false,
    })?;
    let listed = topics.iter().map(|topic| ListOffsetsTopic {
        name: topic.name.as_str().into(),
        partitions: (0..topic.partitions)
            .map(|partition_index| ListOffsetsPartition { partition_index, timestamp: -1, ..Default::default() })
            .collect(),
        ..Default::default()
    });
    let request = ListOffsetsRequest { replica_id: -1, topics: listed.collect(), ..Default::default() };
    side.await_answer(5, request, |answer| match answer {
        Answer::ListOffsets(answer) => {
            answer.topics.iter().flat_map(|topic| &topic.partitions).all(|partition| partition.error_code == 0)
        }
        _ => false,
    })?;
    let Answer::Metadata(answer) = answer else { return Err(other_answer()) };
    let id = |topic: &&TopicNeeded| {
        let found = answer.topics.iter().find(|found| found.name.as_deref() == Some(topic.name.as_str()));
        found.map(|found| found.topic_id).ok_or_else(other_answer)
    };
    topics.iter().map(id).collect()
}

/// Waits until nothing of the topic is told or served any more: a broker lets go of one partition after the other.
pub fn await_deleted(side: &mut Side, name: &str, partitions: i32) -> io::Result<()> {
    let unknown = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.0;
    let request =
        MetadataRequest { topics: Some(vec![by_name(name)]), allow_auto_topic_creation: false, ..Default::default() };
    side.await_answer(12, request, |answer| match answer {
        Answer::Metadata(answer) => answer.topics.iter().all(|topic| topic.error_code == unknown),
        _ => false,
    })?;
    let partition = |partition_index| ListOffsetsPartition { partition_index, timestamp: -1, ..Default::default() };
    let partitions = (0..partitions).map(partition).collect();
    let topics = vec![ListOffsetsTopic { name: name.into(), partitions, ..Default::default() }];
    let request = ListOffsetsRequest { replica_id: -1, topics, ..Default::default() };
    side.await_answer(5, request, |answer| match answer {
        Answer::ListOffsets(answer) => {
            answer.topics.iter().flat_map(|topic| &topic.partitions).all(|partition| partition.error_code == unknown)
        }
        _ => false,
    })?;
    Ok(())
}

/// Waits until both list the same settings of a topic, and Kafka's log has heard of them.
pub fn await_same_settings(kafka: &mut Side, ours: &mut Side, topic: &str) -> io::Result<()> {
    let resource = DescribeConfigsResource { resource_type: 2, resource_name: topic.into(), ..Default::default() };
    let resource = DescribeConfigsResource { configuration_keys: None, ..resource };
    let request = DescribeConfigsRequest { resources: vec![resource], ..Default::default() };
    let wanted = settings(&ours.ask(1, request.clone())?);
    if kafka.await_answer(1, request.clone(), |answer| settings(answer) == wanted).is_err() {
        let theirs = settings(&kafka.ask(1, request)?);
        return Err(io::Error::other(format!("settings in Kafka {theirs:?}, here {wanted:?}")));
    }
    pass_barrier(kafka, topic)
}

/// A broker lists a change before its logs have heard of it, and takes changes one after the other: once it lists a later one, the earlier one is
/// everywhere.
fn pass_barrier(kafka: &mut Side, name: &str) -> io::Result<()> {
    let user: Box<str> = format!("barrier-{name}").into();
    let component =
        ComponentData { entity_type: "user".into(), match_type: 0, match_: Some(user.clone()), ..Default::default() };
    let listed = DescribeClientQuotasRequest { components: vec![component], strict: true, ..Default::default() };
    let before = quotas(&kafka.ask(1, listed.clone())?);
    let entity = EntityData { entity_type: "user".into(), entity_name: Some(user), ..Default::default() };
    let value = if before.is_empty() { 1e12 } else { 0.0 };
    let op = OpData { key: "producer_byte_rate".into(), value, remove: !before.is_empty(), ..Default::default() };
    let entry = EntryData { entity: vec![entity], ops: vec![op], ..Default::default() };
    kafka.ask(1, AlterClientQuotasRequest { entries: vec![entry], ..Default::default() })?;
    kafka.await_answer(1, listed, |answer| quotas(answer) != before).map(drop)
}

/// Those that were set for the topic.
fn settings(answer: &Answer) -> BTreeSet<(String, Option<String>)> {
    let Answer::DescribeConfigs(answer) = answer else { return BTreeSet::new() };
    let set = answer.results.iter().flat_map(|result| &result.configs).filter(|config| config.config_source == 1);
    set.map(|config| (config.name.to_string(), config.value.as_deref().map(str::to_owned))).collect()
}

/// Waits until both tell the same quotas of who was given some.
pub fn await_same_quotas(
    kafka: &mut Side,
    ours: &mut Side,
    of: &alter_client_quotas::response::EntryData,
) -> io::Result<()> {
    let component = |entity: &alter_client_quotas::response::EntityData| ComponentData {
        entity_type: entity.entity_type.clone(),
        match_type: 0,
        match_: entity.entity_name.clone(),
        ..Default::default()
    };
    let components = of.entity.iter().map(component).collect();
    let request = DescribeClientQuotasRequest { components, strict: true, ..Default::default() };
    let wanted = quotas(&ours.ask(1, request.clone())?);
    kafka.await_answer(1, request, |answer| quotas(answer) == wanted)?;
    Ok(())
}

fn quotas(answer: &Answer) -> BTreeSet<(String, String)> {
    let Answer::DescribeClientQuotas(answer) = answer else { return BTreeSet::new() };
    let values = answer.entries.iter().flatten().flat_map(|entry| &entry.values);
    values.map(|value| (value.key.to_string(), value.value.to_string())).collect()
}

fn by_name(name: &str) -> MetadataRequestTopic {
    MetadataRequestTopic { name: Some(name.into()), ..Default::default() }
}

fn other_answer() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "another answer than was asked for")
}
