//! DeleteTopics, and removing a topic for any other reason.
//!
//! A topic is gone once the catalogue does not name it; its files follow. Whoever waits for its data is told.

use std::collections::BTreeMap;

use milena_wire::messages::delete_topics::request::{DeleteTopicState, DeleteTopicsRequest};
use milena_wire::messages::delete_topics::response::{DeletableTopicResult, DeleteTopicsResponse};
use milena_wire::{ErrorCode, Uuid};

use super::TopicRef;
use crate::catalogue::CatalogueChange;
use crate::cluster::Cluster;
use crate::ids::{NodeId, PartitionIndex};
use crate::storage::StorageError;

impl Cluster {
    pub(super) fn delete_topics(&mut self, request: &DeleteTopicsRequest, version: i16) -> DeleteTopicsResponse {
        let asked: Vec<DeleteTopicState> = match version {
            STATES_SINCE.. => request.topics.clone(),
            _ => request.topic_names.iter().map(|name| by_name(name)).collect(),
        };
        let mut times = BTreeMap::new();
        for state in &asked {
            *times.entry((state.name.as_deref(), state.topic_id)).or_insert(0) += 1;
        }
        let mut responses = Vec::with_capacity(asked.len());
        for state in &asked {
            let is_named_once = |state: &DeleteTopicState| state.name.is_some() == state.topic_id.is_zero();
            // Who names a topic twice is answered once, and the topic stays.
            let deleted = match times.get_mut(&(state.name.as_deref(), state.topic_id)) {
                _ if !is_named_once(state) => Err(Refusal::naming(state)),
                Some(1) => self.delete_asked(state),
                Some(0) | None => continue,
                Some(times) => {
                    *times = 0;
                    Err(Refusal::repeated(state))
                }
            };
            responses.push(result(state, deleted));
        }
        DeleteTopicsResponse { responses, ..Default::default() }
    }

    fn delete_asked(&mut self, asked: &DeleteTopicState) -> Result<(String, Uuid), Refusal> {
        let (topic, unknown) = match &asked.name {
            Some(name) => (TopicRef::Name(name), "This server does not host this topic-partition."),
            None => (TopicRef::Id(asked.topic_id), "This server does not host this topic ID."),
        };
        let unknown = Refusal { code: topic.unknown(), message: Some(unknown) };
        let found = self.find_topic(topic).ok_or(unknown)?;
        let (name, id) = (found.name.clone(), found.id);
        let failed = |_: StorageError| Refusal { code: ErrorCode::KAFKA_STORAGE_ERROR, message: None };
        self.remove_topic(&name).map_err(failed)?;
        Ok((name, id))
    }

    pub(crate) fn remove_topic(&mut self, name: &str) -> Result<bool, StorageError> {
        let Some(topic) = self.topics.remove(name) else {
            return Ok(false);
        };
        if let Err(error) = self.save_changes(&[CatalogueChange::TopicGone { name: name.to_owned() }]) {
            self.topics.insert(topic);
            return Err(error);
        }
        let id = topic.id;
        let replicas: Vec<Vec<NodeId>> = topic.partitions.iter().map(|it| it.replicas().collect()).collect();
        drop(topic);
        self.remove_logs(name, PartitionIndex(0), &replicas);
        self.changed.insert(id);
        Ok(true)
    }
}

/// Why a topic is not deleted, in Kafka's words.
#[derive(Clone, Copy, Debug)]
struct Refusal {
    code: ErrorCode,
    message: Option<&'static str>,
}

impl Refusal {
    fn naming(asked: &DeleteTopicState) -> Refusal {
        let message = match &asked.name {
            None => "Neither topic name nor id were specified.",
            Some(_) => "You may not specify both topic name and topic id.",
        };
        Refusal { code: ErrorCode::INVALID_REQUEST, message: Some(message) }
    }

    fn repeated(asked: &DeleteTopicState) -> Refusal {
        let message = if asked.name.is_some() { "Duplicate topic name." } else { "Duplicate topic id." };
        Refusal { code: ErrorCode::INVALID_REQUEST, message: Some(message) }
    }
}

fn by_name(name: &str) -> DeleteTopicState {
    DeleteTopicState { name: Some(name.into()), ..Default::default() }
}

fn result(asked: &DeleteTopicState, deleted: Result<(String, Uuid), Refusal>) -> DeletableTopicResult {
    match deleted {
        Ok((name, topic_id)) => DeletableTopicResult { name: Some(name.into()), topic_id, ..Default::default() },
        Err(Refusal { code, message }) => DeletableTopicResult {
            name: asked.name.clone(),
            topic_id: asked.topic_id,
            error_code: code.0,
            error_message: message.map(Into::into),
            ..Default::default()
        },
    }
}

/// The first version that names topics by name or id.
const STATES_SINCE: i16 = 6;
