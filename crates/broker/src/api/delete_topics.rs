//! DeleteTopics, and removing a topic for any other reason.
//!
//! A topic is gone once the catalogue does not name it; its files follow. Whoever waits for its data is told.

use std::collections::BTreeMap;

use milena_wire::messages::delete_topics::request::{DeleteTopicState, DeleteTopicsRequest};
use milena_wire::messages::delete_topics::response::{DeletableTopicResult, DeleteTopicsResponse};
use milena_wire::{ErrorCode, Uuid};

use super::TopicRef;
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
            // Who names a topic twice is answered once, and the topic stays.
            let deleted = match times.remove(&(state.name.as_deref(), state.topic_id)) {
                Some(1) => self.delete_asked(state),
                Some(_) => Err(ErrorCode::INVALID_REQUEST),
                None => continue,
            };
            responses.push(result(state, deleted));
        }
        DeleteTopicsResponse { responses, ..Default::default() }
    }

    fn delete_asked(&mut self, asked: &DeleteTopicState) -> Result<(String, Uuid), ErrorCode> {
        let topic = match (&asked.name, asked.topic_id) {
            (Some(name), Uuid::ZERO) => TopicRef::Name(name),
            (None, id) if !id.is_zero() => TopicRef::Id(id),
            _ => return Err(ErrorCode::INVALID_REQUEST),
        };
        let found = self.find_topic(topic).ok_or(topic.unknown())?;
        let (name, id) = (found.name.clone(), found.id);
        self.remove_topic(&name).map_err(|_| ErrorCode::KAFKA_STORAGE_ERROR)?;
        Ok((name, id))
    }

    pub(crate) fn remove_topic(&mut self, name: &str) -> Result<bool, StorageError> {
        let Some(topic) = self.topics.remove(name) else {
            return Ok(false);
        };
        if let Err(error) = self.save_catalogue() {
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

fn by_name(name: &str) -> DeleteTopicState {
    DeleteTopicState { name: Some(name.into()), ..Default::default() }
}

fn result(asked: &DeleteTopicState, deleted: Result<(String, Uuid), ErrorCode>) -> DeletableTopicResult {
    match deleted {
        Ok((name, topic_id)) => DeletableTopicResult { name: Some(name.into()), topic_id, ..Default::default() },
        Err(code) => DeletableTopicResult {
            name: asked.name.clone(),
            topic_id: asked.topic_id,
            error_code: code.0,
            ..Default::default()
        },
    }
}

/// The first version that names topics by name or id.
const STATES_SINCE: i16 = 6;
