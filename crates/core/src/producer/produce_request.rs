//! The Produce request as it goes over the wire: small fields in one buffer, record bytes linked where they lie.
//!
//! Written by hand, because the generated message would copy every batch. A test holds it against the generated one.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use milena_wire::frame::{self, RequestHeader};
use milena_wire::messages::produce::response::{PartitionProduceResponse, ProduceResponse};
use milena_wire::records::BATCH_HEADER_BYTES;
use milena_wire::{ApiKey, EncodeError, ErrorCode, UnknownTags, Uuid, Writer};

use super::back::TopicRef;
use super::body::{Body, ChunkSource};
use super::verdict::{Acks, Answer};
use crate::ids::{LeaderEpoch, NodeId, PartitionIndex};
use crate::metadata::Address;

/// Bytes for a socket: written from front to back, never changed.
#[derive(Debug, Default)]
pub struct Transmit {
    fields: Vec<u8>,
    pieces: Vec<Piece>,
    len: usize,
}

#[derive(Debug)]
enum Piece {
    Fields(Range<usize>),
    Body(Arc<Body>),
}

impl Transmit {
    /// A frame in one piece.
    pub fn whole(fields: Vec<u8>) -> Self {
        let len = fields.len();
        Self { pieces: vec![Piece::Fields(0..len)], fields, len }
    }

    /// Bytes in all.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The bytes in order, as pieces for a vectored write.
    pub fn slices(&self) -> impl Iterator<Item = &[u8]> {
        self.pieces.iter().flat_map(|piece| {
            let (fields, body) = match piece {
                Piece::Fields(range) => (Some(&self.fields[range.clone()]), None),
                Piece::Body(body) => (None, Some(body.slices())),
            };
            fields.into_iter().chain(body.into_iter().flatten())
        })
    }

    /// Ends the transmit. Whoever lets go of a batch's bytes last gives their memory back.
    pub fn give_back(self, chunks: &(impl ChunkSource + ?Sized)) {
        for piece in self.pieces {
            if let Piece::Body(body) = piece
                && let Some(body) = Arc::into_inner(body)
            {
                body.give_back(chunks);
            }
        }
    }
}

/// One batch of a request.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) topic: TopicRef,
    pub(super) index: PartitionIndex,
    pub(super) header: [u8; BATCH_HEADER_BYTES],
    pub(super) body: Arc<Body>,
}

/// What surrounds the batches of a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Envelope<'a> {
    pub(super) client_id: &'a str,
    pub(super) correlation: i32,
    pub(super) version: i16,
    /// How many replicas must have the batches before the broker answers.
    pub(super) acks: Acks,
    /// How long the broker may wait for its followers (rule 27).
    pub(super) timeout: Duration,
}

/// Encodes a request. Entries of one topic must be neighbours.
pub(super) fn encode(envelope: Envelope<'_>, entries: &[Entry]) -> Result<Transmit, EncodeError> {
    let topics = || entries.chunk_by(|a, b| a.topic == b.topic);
    let mut writer = PiecewiseWriter::begin(envelope)?;
    writer.w.array_length(topics().count())?;
    topics().try_for_each(|entries| writer.topic(entries))?;
    writer.tags()?;
    writer.finish()
}

struct PiecewiseWriter {
    version: i16,
    w: Writer,
    pieces: Vec<Piece>,
    /// Fields up to here are in `pieces`.
    piece_start: usize,
    body_bytes: usize,
}

impl PiecewiseWriter {
    fn begin(envelope: Envelope<'_>) -> Result<Self, EncodeError> {
        let header = RequestHeader {
            api_key: ApiKey::PRODUCE,
            api_version: envelope.version,
            correlation_id: envelope.correlation,
            client_id: Some(envelope.client_id.into()),
            unknown_tags: UnknownTags::default(),
        };
        let mut w = frame::begin_frame();
        header.write(&mut w)?;
        w.set_flexible(ApiKey::PRODUCE.is_flexible(envelope.version));
        w.nullable_string(None)?;
        w.int16(match envelope.acks {
            Acks::All => -1,
            Acks::Leader => 1,
            Acks::None => 0,
        });
        w.int32(i32::try_from(envelope.timeout.as_millis()).unwrap_or(i32::MAX));
        Ok(Self { version: envelope.version, w, pieces: Vec::with_capacity(8), piece_start: 0, body_bytes: 0 })
    }

    fn topic(&mut self, entries: &[Entry]) -> Result<(), EncodeError> {
        self.topic_key(&entries[0].topic)?;
        self.w.array_length(entries.len())?;
        entries.iter().try_for_each(|entry| self.partition(entry))?;
        self.tags()
    }

    fn topic_key(&mut self, topic: &TopicRef) -> Result<(), EncodeError> {
        if self.version >= TOPIC_IDS_FROM {
            self.w.uuid(topic.id);
            return Ok(());
        }
        self.w.string(&topic.name)
    }

    fn partition(&mut self, entry: &Entry) -> Result<(), EncodeError> {
        self.w.int32(entry.index.0);
        self.w.bytes_length(BATCH_HEADER_BYTES + entry.body.len())?;
        self.w.raw(&entry.header);
        self.body_bytes += entry.body.len();
        self.end_piece();
        self.pieces.push(Piece::Body(Arc::clone(&entry.body)));
        self.tags()
    }

    fn tags(&mut self) -> Result<(), EncodeError> {
        self.w.unknown_tags(&UnknownTags::default())
    }

    fn end_piece(&mut self) {
        let end = self.w.position();
        if end > self.piece_start {
            self.pieces.push(Piece::Fields(self.piece_start..end));
        }
        self.piece_start = end;
    }

    fn finish(mut self) -> Result<Transmit, EncodeError> {
        self.end_piece();
        let fields = frame::end_frame(self.w, self.body_bytes)?;
        let len = fields.len() + self.body_bytes;
        Ok(Transmit { fields, pieces: self.pieces, len })
    }
}

/// Produce names topics by id from this version on (KIP-516).
pub(super) const TOPIC_IDS_FROM: i16 = 13;

fn partition_of<'a>(
    response: &'a ProduceResponse,
    version: i16,
    topic: &TopicRef,
    index: PartitionIndex,
) -> Option<&'a PartitionProduceResponse> {
    let same_topic =
        |name: &str, id: Uuid| if version >= TOPIC_IDS_FROM { id == topic.id } else { *name == *topic.name };
    let mut topics = response.responses.iter().filter(|told| same_topic(&told.name, told.topic_id));
    topics.find_map(|told| told.partition_responses.iter().find(|partition| partition.index == index.0))
}

/// The answer for one partition, if the response has it.
pub(super) fn answer_for(
    response: &ProduceResponse,
    version: i16,
    topic: &TopicRef,
    index: PartitionIndex,
) -> Option<Answer> {
    let found = partition_of(response, version, topic, index)?;
    Some(Answer {
        error: ErrorCode(found.error_code),
        base_offset: found.base_offset,
        log_append_time: found.log_append_time_ms,
        log_start_offset: found.log_start_offset,
        bad_records: bad_records(found),
    })
}

/// The places that a broker names, ascending and each once; a negative one is none.
fn bad_records(told: &PartitionProduceResponse) -> Vec<u32> {
    let places = told.record_errors.iter().filter_map(|error| u32::try_from(error.batch_index).ok());
    let places: BTreeSet<u32> = places.collect();
    places.into_iter().collect()
}

/// Who leads the partition now, as the broker that refused it knows it (KIP-951).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaderHint {
    /// Of the topic that was asked for: leader epochs compare within one topic id only.
    pub topic_id: Uuid,
    /// The leader.
    pub leader: NodeId,
    /// Of that leader.
    pub epoch: LeaderEpoch,
    /// Where it listens, if the broker told.
    pub address: Option<Address>,
}

/// The hint in an answer, if there is one.
pub(super) fn leader_hint(
    response: &ProduceResponse,
    version: i16,
    topic: &TopicRef,
    index: PartitionIndex,
) -> Option<LeaderHint> {
    let told = &partition_of(response, version, topic, index)?.current_leader;
    let is_known = told.leader_id >= 0 && told.leader_epoch >= 0;
    let endpoint = response.node_endpoints.iter().find(|endpoint| endpoint.node_id == told.leader_id);
    let address = endpoint.and_then(|endpoint| {
        let port = u16::try_from(endpoint.port).ok()?;
        Some(Address { host: Arc::from(&*endpoint.host), port })
    });
    let (leader, epoch) = (NodeId(told.leader_id), LeaderEpoch(told.leader_epoch));
    is_known.then_some(LeaderHint { topic_id: topic.id, leader, epoch, address })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::producer::body::Chunk;
    use bytes::Bytes;
    use milena_wire::messages::produce::request::{PartitionProduceData, ProduceRequest, TopicProduceData};

    fn entry(topic: &str, index: i32, body: &[&'static [u8]]) -> Entry {
        Entry {
            topic: TopicRef { name: Arc::from(topic), id: Uuid([topic.len() as u8; 16]) },
            index: PartitionIndex(index),
            header: [index as u8; BATCH_HEADER_BYTES],
            body: Arc::new(Body::new(
                body.iter().map(|piece| Chunk::Linked(Bytes::from_static(piece))).collect(),
                Arc::default(),
            )),
        }
    }

    fn generated(version: i16, entries: &[Entry]) -> Vec<u8> {
        let topics = entries.chunk_by(|a, b| a.topic == b.topic).map(|entries| TopicProduceData {
            name: if version < TOPIC_IDS_FROM { entries[0].topic.name.to_string().into() } else { "".into() },
            topic_id: if version < TOPIC_IDS_FROM { Uuid::ZERO } else { entries[0].topic.id },
            partition_data: entries
                .iter()
                .map(|entry| PartitionProduceData {
                    index: entry.index.0,
                    records: Some(
                        [&entry.header[..]].into_iter().chain(entry.body.slices()).collect::<Vec<_>>().concat().into(),
                    ),
                    ..PartitionProduceData::default()
                })
                .collect(),
            ..TopicProduceData::default()
        });
        let request =
            ProduceRequest { acks: -1, timeout_ms: 2000, topic_data: topics.collect(), ..ProduceRequest::default() };
        frame::encode_request("me", 7, version, &request).expect("fits")
    }

    #[test]
    fn the_linked_encoding_is_the_generated_one_byte_for_byte_in_every_version() {
        for version in ApiKey::PRODUCE.stable_versions().expect("known") {
            let entries = || {
                vec![entry("a", 0, &[b"one", b"two"]), entry("a", 3, &[b"three"]), entry("topic-b", 1, &[&[7; 300]])]
            };
            let timeout = Duration::from_secs(2);
            let envelope = Envelope { client_id: "me", correlation: 7, version, acks: Acks::All, timeout };
            let transmit = encode(envelope, &entries()).expect("fits");
            let bytes: Vec<u8> = transmit.slices().collect::<Vec<_>>().concat();
            assert_eq!(bytes.len(), transmit.len());
            assert_eq!(bytes, generated(version, &entries()), "version {version}");
        }
    }
}
