//! Two answers beside each other: which fields differ.

use std::collections::BTreeMap;

use bytes::Bytes;
use milena_wire::{ApiKey, Uuid};

use crate::asked::{Answer, Asked};
use crate::batches::Fetched;
use crate::leaves::{Leaf, leaves};
use crate::names::Names;

/// What a client sees of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// A frame without its length.
    Answer(Bytes),
    /// Nothing, and the next request is answered: acks=0.
    Nothing,
    /// The connection is closed.
    Closed,
    /// Nothing for so long that a client would give up.
    Silence,
}

/// A field that is not the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    pub api: ApiKey,
    pub version: i16,
    pub path: String,
    pub kafka: String,
    pub ours: String,
}

impl Difference {
    /// Whether the brokers do not hold the same any more.
    pub fn parts_ways(&self) -> bool {
        let is_taken = |code: &str| matches!(code, "NONE (0)" | NO_ANSWER);
        self.api == ApiKey::PRODUCE
            && matches!(crate::leaves::name(&self.path), "error_code" | "outcome")
            && is_taken(&self.kafka) != is_taken(&self.ours)
    }
}

/// The answer of one side as fields with names for what is that broker's own.
pub fn fields(asked: &Asked, version: i16, seen: &Seen, names: &mut Names, served: &[i16]) -> Vec<Leaf> {
    let outcome = |what: &str| vec![("outcome".to_owned(), what.to_owned())];
    let frame = match seen {
        Seen::Answer(frame) => frame.clone(),
        Seen::Nothing => return outcome(NO_ANSWER),
        Seen::Closed => return outcome("closed"),
        Seen::Silence => return outcome("silence"),
    };
    match asked.read_answer(frame, version) {
        Ok(answer) => {
            let fields = all_fields(sorted(answer, names, served), names);
            fields.into_iter().map(|(path, value)| (path.clone(), names.named(&path, &value))).collect()
        }
        Err(error) => outcome(&format!("cannot be read: {error}")),
    }
}

/// Every field that one side has and the other has not, or says otherwise.
pub fn differences(api: ApiKey, version: i16, kafka: &[Leaf], ours: &[Leaf]) -> Vec<Difference> {
    if kafka == ours {
        return Vec::new();
    }
    let by_path = |fields| -> BTreeMap<&str, &str> {
        let fields: &[Leaf] = fields;
        fields.iter().map(|(path, value)| (path.as_str(), value.as_str())).collect()
    };
    let (in_kafka, in_ours) = (by_path(kafka), by_path(ours));
    let only_ours = ours.iter().filter(|(path, _)| !in_kafka.contains_key(path.as_str()));
    let paths = kafka.iter().chain(only_ours).map(|(path, _)| path);
    let value = |found: Option<&&str>| (*found.unwrap_or(&"absent")).to_owned();
    let difference = |path: &String| {
        let (kafka, ours) = (value(in_kafka.get(path.as_str())), value(in_ours.get(path.as_str())));
        (kafka != ours).then(|| Difference { api, version, path: path.clone(), kafka, ours })
    };
    paths.filter_map(difference).collect()
}

/// Lists that Kafka keeps in hash tables have no order of their own; here they get one. APIs that only Kafka serves are left out.
fn sorted(mut answer: Answer, names: &Names, served: &[i16]) -> Answer {
    let id = |id: Uuid| names.asked_topic(id);
    match &mut answer {
        Answer::ApiVersions(answer) => {
            answer.api_keys.retain(|api| served.contains(&api.api_key));
            answer.api_keys.sort_by_key(|api| api.api_key);
        }
        Answer::Metadata(answer) => {
            answer.topics.sort_by(|a, b| (&a.name, id(a.topic_id)).cmp(&(&b.name, id(b.topic_id))));
            for topic in &mut answer.topics {
                topic.partitions.sort_by_key(|partition| partition.partition_index);
            }
        }
        Answer::ListOffsets(answer) => {
            answer.topics.sort_by(|a, b| a.name.cmp(&b.name));
            answer.topics.iter_mut().for_each(|topic| topic.partitions.sort_by_key(|found| found.partition_index));
        }
        Answer::Produce(answer) => {
            answer.responses.sort_by(|a, b| (&a.name, id(a.topic_id)).cmp(&(&b.name, id(b.topic_id))));
            answer.responses.iter_mut().for_each(|topic| topic.partition_responses.sort_by_key(|found| found.index));
        }
        Answer::DeleteTopics(answer) => {
            answer.responses.sort_by(|a, b| (&a.name, id(a.topic_id)).cmp(&(&b.name, id(b.topic_id))));
        }
        Answer::DescribeConfigs(answer) => {
            answer.results.iter_mut().for_each(|result| result.configs.sort_by(|a, b| a.name.cmp(&b.name)));
        }
        Answer::ListConfigResources(answer) => {
            answer
                .config_resources
                .sort_by(|a, b| (a.resource_type, &a.resource_name).cmp(&(b.resource_type, &b.resource_name)));
        }
        Answer::DeleteRecords(answer) => {
            answer.topics.sort_by(|a, b| a.name.cmp(&b.name));
            answer.topics.iter_mut().for_each(|topic| topic.partitions.sort_by_key(|found| found.partition_index));
        }
        Answer::DescribeLogDirs(answer) => {
            for result in &mut answer.results {
                result.topics.sort_by(|a, b| a.name.cmp(&b.name));
                result.topics.iter_mut().for_each(|topic| topic.partitions.sort_by_key(|found| found.partition_index));
            }
        }
        Answer::AlterClientQuotas(answer) => {
            answer.entries.iter_mut().for_each(|entry| entry.entity.sort_by(|a, b| a.entity_type.cmp(&b.entity_type)));
        }
        Answer::DescribeClientQuotas(answer) => {
            for entry in answer.entries.iter_mut().flatten() {
                entry.entity.sort_by(|a, b| a.entity_type.cmp(&b.entity_type));
                entry.values.sort_by(|a, b| a.key.cmp(&b.key));
            }
        }
        Answer::ElectLeaders(answer) => {
            let results = &mut answer.replica_election_results;
            results.sort_by(|a, b| a.topic.cmp(&b.topic));
            results.iter_mut().for_each(|topic| topic.partition_result.sort_by_key(|found| found.partition_id));
        }
        Answer::CreatePartitions(answer) => answer.results.sort_by(|a, b| a.name.cmp(&b.name)),
        Answer::DescribeProducers(answer) => {
            for partition in answer.topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
                partition.active_producers.sort_by_key(|producer| names.asked_producer(producer.producer_id));
            }
        }
        _ => {}
    }
    answer
}

/// Records are compared as batches, since their checksums cover what is legitimately different.
fn all_fields(answer: Answer, names: &Names) -> Vec<Leaf> {
    let Answer::Fetch(mut answer) = answer else { return leaves(&answer) };
    let mut records = Vec::new();
    for (at, topic) in answer.responses.iter_mut().enumerate() {
        for (partition_at, partition) in topic.partitions.iter_mut().enumerate() {
            let place = format!("responses[{at}].partitions[{partition_at}].records");
            if let Some(bytes) = partition.records.take() {
                let fetched = leaves(&Fetched::read(&bytes, names.unpacks, |id| names.asked_producer(id)));
                records.extend(fetched.into_iter().map(|(path, value)| (format!("{place}.{path}"), value)));
            }
        }
    }
    let mut fields = leaves(&answer);
    fields.extend(records);
    fields
}

/// What comes of acks=0.
const NO_ANSWER: &str = "no answer is due";
