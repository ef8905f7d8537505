//! What is legitimately different between two brokers, as names: topic ids, producer ids, addresses, times.
//!
//! A sequence of requests knows no id, since each broker gives its own. It holds names in their place, which each side replaces by what
//! its broker gave. In answers it is the other way around: an id becomes the name of what it was given for, one that nobody expects
//! becomes "the first one that was seen", and so on. Two answers that differ in more than ids still differ then.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::SocketAddr;

use milena_wire::{ErrorCode, Uuid};

use crate::asked::Asked;
use crate::batches;
use crate::leaves;

/// What stands in a request for the id that a broker gave to the topic of this number.
pub fn topic_id(slot: u32) -> Uuid {
    let mut bytes = *b"same-as-kafka...";
    bytes[12..].copy_from_slice(&slot.to_be_bytes());
    Uuid(bytes)
}

/// What stands in a request for the producer id of this number.
pub fn producer_id(slot: u32) -> i64 {
    PRODUCERS + i64::from(slot)
}

/// What stands in a request for the fetch session of this number.
pub fn session_id(slot: u32) -> i32 {
    SESSIONS + i32::try_from(slot).expect("there are few")
}

/// The names of one side.
#[derive(Clone, Debug, Default)]
pub struct Names {
    topics: BTreeMap<u32, Uuid>,
    producers: BTreeMap<u32, i64>,
    sessions: BTreeMap<u32, i32>,
    /// By kind and value, in the order of their first sight.
    seen: BTreeMap<(&'static str, String), usize>,
    /// The broker's address, as it tells it.
    address: (String, u16),
    /// Whether the broker compresses in its own way what producers wrote.
    pub unpacks: bool,
    /// From when on the broker's clock may stamp what this sequence sees, in milliseconds.
    begun: i64,
}

impl Names {
    /// Of a broker at this address, for a sequence that begins at this time.
    pub fn new(address: SocketAddr, begun: i64) -> Names {
        Names { address: (address.ip().to_string(), address.port()), begun, ..Names::default() }
    }

    pub fn learn_topic(&mut self, slot: u32, id: Uuid) {
        self.topics.insert(slot, id);
    }

    pub fn learn_producer(&mut self, slot: u32, id: i64) {
        self.producers.insert(slot, id);
    }

    /// The name that requests have for an id; other ids are their own.
    pub fn asked_topic(&self, id: Uuid) -> Uuid {
        self.topics.iter().find(|(_, known)| **known == id).map_or(id, |(slot, _)| topic_id(*slot))
    }

    /// The name that requests have for a producer id; other ids are their own.
    pub fn asked_producer(&self, id: i64) -> i64 {
        self.producers.iter().find(|(_, known)| **known == id).map_or(id, |(slot, _)| producer_id(*slot))
    }

    pub fn learn_session(&mut self, slot: u32, id: i32) {
        self.sessions.insert(slot, id);
    }

    fn real_session(&self, id: i32) -> i32 {
        let slot = id.checked_sub(SESSIONS).and_then(|slot| u32::try_from(slot).ok());
        slot.and_then(|slot| self.sessions.get(&slot)).copied().unwrap_or(id)
    }

    fn real_topic(&self, id: Uuid) -> Uuid {
        let known = self.topics.iter().find(|(slot, _)| topic_id(**slot) == id);
        known.map_or(id, |(_, known)| *known)
    }

    fn real_producer(&self, id: i64) -> i64 {
        let slot = id.checked_sub(PRODUCERS).and_then(|slot| u32::try_from(slot).ok());
        slot.and_then(|slot| self.producers.get(&slot)).copied().unwrap_or(id)
    }

    /// The request with this side's ids.
    pub fn real(&self, asked: &Asked) -> Asked {
        let mut asked = asked.clone();
        match &mut asked {
            Asked::Produce(request) => {
                for topic in &mut request.topic_data {
                    topic.topic_id = self.real_topic(topic.topic_id);
                    for data in &mut topic.partition_data {
                        let named = |records| batches::renamed(records, |id| self.real_producer(id));
                        data.records = data.records.as_ref().map(named);
                    }
                }
            }
            Asked::Fetch(request) => {
                request.session_id = self.real_session(request.session_id);
                for topic in &mut request.topics {
                    topic.topic_id = self.real_topic(topic.topic_id);
                }
                for topic in &mut request.forgotten_topics_data {
                    topic.topic_id = self.real_topic(topic.topic_id);
                }
            }
            Asked::Metadata(request) => {
                for topic in request.topics.iter_mut().flatten() {
                    topic.topic_id = self.real_topic(topic.topic_id);
                }
            }
            Asked::DeleteTopics(request) => {
                for topic in &mut request.topics {
                    topic.topic_id = self.real_topic(topic.topic_id);
                }
            }
            Asked::InitProducerId(request) => request.producer_id = self.real_producer(request.producer_id),
            _ => {}
        }
        asked
    }

    /// A field of an answer, with names in place of what is this broker's own.
    pub fn named(&mut self, path: &str, value: &str) -> String {
        match leaves::name(path) {
            "producer_id" => self.producer_name(value),
            "topic_id" => self.topic_name(value),
            "session_id" => self.session_name(value),
            "log_dir" if value.starts_with('"') => "the data folder".to_owned(),
            "total_bytes" | "usable_bytes" if value != "-1" => "so many bytes".to_owned(),
            "cluster_id" if value.starts_with('"') => self.seen("cluster", value),
            "host" if value == format!("{:?}", self.address.0) => "the node's host".to_owned(),
            "port" if value == self.address.1.to_string() => "the node's port".to_owned(),
            "error_code" => value.parse().map_or(value.to_owned(), |code| ErrorCode(code).to_string()),
            name if name.contains("timestamp") || name.ends_with("time_ms") => self.time_name(value),
            "error_message" | "batch_index_error_message" => self.named_text(value),
            _ => value.to_owned(),
        }
    }

    fn producer_name(&mut self, value: &str) -> String {
        let slot = value.parse().ok().and_then(|id: i64| self.producers.iter().find(|(_, known)| **known == id));
        match (slot, value) {
            (Some((slot, _)), _) => format!("producer {slot}"),
            (None, "-1" | "0") => value.to_owned(),
            (None, other) => self.seen("producer", other),
        }
    }

    fn session_name(&mut self, value: &str) -> String {
        let slot = self.sessions.iter().find(|(_, known)| known.to_string() == value).map(|(slot, _)| *slot);
        match slot {
            Some(slot) => format!("session {slot}"),
            None if value == "0" => value.to_owned(),
            None => self.seen("session", value),
        }
    }

    fn topic_name(&mut self, value: &str) -> String {
        let slot = self.topics.iter().find(|(_, known)| known.to_string() == value).map(|(slot, _)| *slot);
        match slot {
            Some(slot) => format!("topic {slot}"),
            None if value == Uuid::ZERO.to_string() => "no topic".to_owned(),
            None => self.seen("topic", value),
        }
    }

    /// The time of the append is the broker's own; what the producer wrote is not. Producers write no time of this run.
    fn time_name(&self, value: &str) -> String {
        match value.parse::<i64>() {
            Ok(time) if (self.begun..self.begun + RUN_TIME_MAX).contains(&time) => "the broker's time".to_owned(),
            _ => value.to_owned(),
        }
    }

    /// Ids in sentences.
    fn named_text(&self, value: &str) -> String {
        let mut text = value.to_owned();
        for (slot, id) in &self.topics {
            text = text.replace(&id.to_string(), &format!("<topic {slot}>"));
        }
        for (slot, id) in &self.producers {
            text = text.replace(&format!("producer {id} "), &format!("producer <{slot}> "));
        }
        match text.split_once("should be within [") {
            Some((before, bounds)) => format!("{before}should be within {}", width(bounds)),
            None => text,
        }
    }

    fn seen(&mut self, kind: &'static str, value: &str) -> String {
        let count = self.seen.keys().filter(|(known, _)| *known == kind).count();
        let number = match self.seen.entry((kind, value.to_owned())) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(new) => *new.insert(count),
        };
        format!("{kind} seen as number {number}")
    }
}

/// What is the same of `FROM, TO]`, whenever the broker looked at its clock.
fn width(bounds: &str) -> String {
    let numbers = bounds.trim_end_matches(['"', ']']).split_once(", ");
    let parsed = numbers.and_then(|(from, to)| Some((from.parse::<i64>().ok()?, to.parse::<i64>().ok()?)));
    parsed.map_or(bounds.to_owned(), |(from, to)| format!("{} ms", to.wrapping_sub(from)))
}

/// Far beyond what a broker gives out.
const PRODUCERS: i64 = 0x6D69_6C65_6E61_0000;
const SESSIONS: i32 = 0x6D69_0000;
/// Longer than any run, and shorter than what lies between it and the times that producers write.
const RUN_TIME_MAX: i64 = 30 * 60 * 1000;
