//! What requests and answers carry, read from their bytes: the truth about attempts does not come from the client.

use bytes::Bytes;
use milena_wire::frame::{RequestHeader, decode_request, decode_response, encode_response};
use milena_wire::messages::fetch::request::FetchRequest;
use milena_wire::messages::metadata::response::{MetadataResponse, MetadataResponsePartition, MetadataResponseTopic};
use milena_wire::messages::produce::request::ProduceRequest;
use milena_wire::messages::produce::response::{BatchIndexAndErrorMessage, PartitionProduceResponse, ProduceResponse};
use milena_wire::records::{self, BatchHeader};
use milena_wire::{ApiKey, DecodeError, ErrorCode, Reader, Uuid};

use crate::history::{AttemptId, Carried, Place, RecordId, Road, WireStamp};
use crate::network::LinkId;
use crate::stage::Stage;
use crate::workload::identify;
use milena_core::ids::NodeId;

/// A request on its way, or waiting at the broker.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) key: ApiKey,
    pub(crate) version: i16,
    /// Its batches, if it is a Produce request.
    pub(crate) attempts: Vec<AttemptId>,
    /// Answers that must not be the broker's own in every respect.
    pub(crate) retouched: Vec<Retouched>,
}

/// What an answer says.
#[derive(Clone, Debug, Default)]
pub(crate) struct News {
    /// Of the batches of a request.
    pub(crate) verdicts: Vec<(AttemptId, ErrorCode, i64)>,
    pub(crate) leaders: Vec<Leading>,
}

/// Who leads a partition, as an answer has it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Leading {
    pub(crate) place: Place,
    pub(crate) topic_id: Uuid,
    pub(crate) epoch: i32,
    pub(crate) node: NodeId,
}

/// How a partition's part of an answer is changed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Retouched {
    pub(crate) place: Place,
    /// The offset is not told.
    pub(crate) is_silent: bool,
    /// So many records, from the second on every other one, are named as the bad ones.
    pub(crate) bad_records: u32,
    /// Success is told as DUPLICATE_SEQUENCE_NUMBER.
    pub(crate) is_duplicate: bool,
}

/// Reads a frame that is handed over, and registers its batches. The frame has its length.
pub(crate) fn asked(stage: &mut Stage, frame: &Bytes, link: LinkId, node: NodeId) -> Asked {
    match read(stage, frame) {
        Ok((header, acks, carried)) => {
            let now = stage.now;
            let road = Road { link, node, acks };
            let attempts = carried.iter().map(|carried| stage.history.handed(now, carried, road)).collect();
            Asked { key: header.api_key, version: header.api_version, attempts, retouched: Vec::new() }
        }
        Err(what) => {
            stage.history.blame(format!("the client sends what cannot be read: {what}"));
            Asked { key: ApiKey(-1), version: 0, attempts: Vec::new(), retouched: Vec::new() }
        }
    }
}

fn read(stage: &Stage, frame: &Bytes) -> Result<(RequestHeader, i16, Vec<Carried>), String> {
    let mut reader = Reader::new(frame.slice(4..));
    let header = RequestHeader::read(&mut reader).map_err(text)?;
    if header.api_key != ApiKey::PRODUCE {
        return Ok((header, 0, Vec::new()));
    }
    let request: ProduceRequest = decode_request(reader, header.api_version).map_err(text)?;
    let mut found = Vec::new();
    for topic in &request.topic_data {
        let number = place_of(stage, &topic.name, topic.topic_id).ok_or("a topic that does not exist")?;
        for partition in &topic.partition_data {
            let bytes = partition.records.clone().ok_or("a partition without records")?;
            found.push(carried((number, partition.index), bytes)?);
        }
    }
    Ok((header, request.acks, found))
}

fn text(error: DecodeError) -> String {
    error.to_string()
}

fn carried(place: Place, bytes: Bytes) -> Result<Carried, String> {
    let header = BatchHeader::read(&bytes).map_err(|error| error.to_string())?;
    let stamp =
        WireStamp { producer_id: header.producer_id, epoch: header.producer_epoch, sequence: header.base_sequence };
    let mut ids: Vec<RecordId> = Vec::new();
    for batch in records::batches(bytes) {
        for record in batch.map_err(|error| error.to_string())?.records() {
            let record = record.map_err(|error| error.to_string())?;
            ids.push(identify(&record).ok_or("a record that nobody made")?);
        }
    }
    if ids.is_empty() { Err("a batch without records".to_owned()) } else { Ok(Carried { place, records: ids, stamp }) }
}

fn place_of(stage: &Stage, name: &str, id: Uuid) -> Option<usize> {
    let by_name = || stage.scenario.topics.iter().position(|topic| topic.name == name);
    stage.topic_ids.get(&id).copied().or_else(by_name)
}

/// What a client without READ is told instead of a log. The frame has its length.
pub(crate) fn hide(frame: &Bytes, asked: &Asked) -> Bytes {
    let (header, mut response) = decode_response::<FetchRequest>(frame.slice(4..), asked.version)
        .expect("the broker answers in the version that it was asked in");
    for partition in response.responses.iter_mut().flat_map(|topic| &mut topic.partitions) {
        partition.error_code = ErrorCode::TOPIC_AUTHORIZATION_FAILED.0;
        (partition.high_watermark, partition.records) = (-1, None);
    }
    let frame = encode_response(header.correlation_id, asked.version, &response);
    Bytes::from(frame.expect("what was decoded can be encoded"))
}

/// The same answer with its errors as the faults want them. The frame has its length.
pub(crate) fn retouch(stage: &Stage, frame: &Bytes, asked: &Asked) -> Bytes {
    let has_moved = asked.key == ApiKey::PRODUCE && stage.has_moved_brokers();
    if asked.retouched.is_empty() && !has_moved {
        return frame.clone();
    }
    let (header, mut response) = decode_response::<ProduceRequest>(frame.slice(4..), asked.version)
        .expect("the broker answers in the version that it was asked in");
    for endpoint in &mut response.node_endpoints {
        if let Some(address) = stage.addresses.get(&NodeId(endpoint.node_id)) {
            endpoint.host = (&*address.host).into();
            endpoint.port = i32::from(address.port);
        }
    }
    for (place, partition) in partitions_mut(stage, &mut response) {
        let wanted = asked.retouched.iter().find(|wanted| wanted.place == place);
        if wanted.is_some_and(|wanted| wanted.is_duplicate) && partition.error_code == 0 {
            partition.error_code = ErrorCode::DUPLICATE_SEQUENCE_NUMBER.0;
            partition.base_offset = -1;
            partition.log_append_time_ms = -1;
        } else if let Some(wanted) = wanted.filter(|_| partition.error_code != 0) {
            if wanted.is_silent {
                partition.base_offset = -1;
            }
            let named = (0..wanted.bad_records).map(|number| number as i32 * 2);
            let error = |index| BatchIndexAndErrorMessage { batch_index: index, ..Default::default() };
            partition.record_errors.extend(named.map(error));
        }
    }
    let frame = encode_response(header.correlation_id, asked.version, &response);
    Bytes::from(frame.expect("what was decoded can be encoded"))
}

fn partitions_mut<'a>(
    stage: &'a Stage,
    response: &'a mut ProduceResponse,
) -> impl Iterator<Item = (Place, &'a mut PartitionProduceResponse)> {
    response.responses.iter_mut().flat_map(|topic| {
        let number = place_of(stage, &topic.name, topic.topic_id);
        let partitions = topic.partition_responses.iter_mut();
        partitions.filter_map(move |partition| Some(((number?, partition.index), partition)))
    })
}

/// What a Produce answer says. The frame has its length.
pub(crate) fn news_of(stage: &Stage, frame: &Bytes, asked: &Asked) -> News {
    if asked.attempts.is_empty() {
        return News::default();
    }
    let decoded = decode_response::<ProduceRequest>(frame.slice(4..), asked.version);
    let Ok((_, mut response)) = decoded else { return News::default() };
    let mut news = News::default();
    for (place, partition) in partitions_mut(stage, &mut response) {
        let of_place = |id: &&AttemptId| stage.history.attempts.get(**id).place == place;
        if let Some(attempt) = asked.attempts.iter().find(of_place) {
            news.verdicts.push((*attempt, ErrorCode(partition.error_code), partition.base_offset));
        }
        // KIP-951: a broker that does not lead says who does.
        let hint = &partition.current_leader;
        let topic_id = stage.topic_ids.iter().rev().find(|(_, number)| **number == place.0).map(|(id, _)| *id);
        if let Some(topic_id) = topic_id.filter(|_| hint.leader_id >= 0) {
            news.leaders.push(Leading { place, topic_id, epoch: hint.leader_epoch, node: NodeId(hint.leader_id) });
        }
    }
    news
}

/// What a Metadata answer says.
pub(crate) fn leaders_of(stage: &Stage, response: &MetadataResponse) -> Vec<Leading> {
    let topics = response.topics.iter().filter_map(|topic| {
        let number = stage.scenario.topics.iter().position(|known| topic.name.as_deref() == Some(&*known.name))?;
        Some((number, topic))
    });
    let partitions = topics.flat_map(|(number, topic)| topic.partitions.iter().map(move |told| (number, topic, told)));
    let led = partitions.filter(|(.., told)| told.leader_id >= 0);
    let leading = |(number, topic, told): (usize, &MetadataResponseTopic, &MetadataResponsePartition)| Leading {
        place: (number, told.partition_index),
        topic_id: topic.topic_id,
        epoch: told.leader_epoch,
        node: NodeId(told.leader_id),
    };
    led.map(leading).collect()
}
