//! What requests and answers carry, read from their bytes: the truth about attempts does not come from the client.

use bytes::Bytes;
use milena_wire::frame::{RequestHeader, decode_request, decode_response, encode_response};
use milena_wire::messages::produce::request::ProduceRequest;
use milena_wire::records;
use milena_wire::{ApiKey, DecodeError, ErrorCode, Reader};

use crate::history::{AttemptId, Place, RecordId};
use crate::network::Verdicts;
use crate::stage::Stage;
use crate::workload::identify;

/// Registers every batch of a request that is handed over; none for requests other than Produce. The frame has its length.
pub(crate) fn attempts_of(stage: &mut Stage, frame: &Bytes) -> Vec<AttemptId> {
    match batches_of(stage, frame) {
        Ok(batches) => batches.into_iter().map(|(place, ids)| stage.history.handed(stage.now, place, &ids)).collect(),
        Err(what) => {
            stage.history.fault(format!("the client sends what cannot be read: {what}"));
            Vec::new()
        }
    }
}

fn batches_of(stage: &Stage, frame: &Bytes) -> Result<Vec<(Place, Vec<RecordId>)>, String> {
    let mut reader = Reader::new(frame.slice(4..));
    let header = RequestHeader::read(&mut reader).map_err(text)?;
    if header.api_key != ApiKey::PRODUCE {
        return Ok(Vec::new());
    }
    let request: ProduceRequest = decode_request(reader, header.api_version).map_err(text)?;
    let mut found = Vec::new();
    for topic in &request.topic_data {
        let number = place_of(stage, &topic.name, topic.topic_id).ok_or("a topic that does not exist")?;
        for partition in &topic.partition_data {
            let bytes = partition.records.clone().ok_or("a partition without records")?;
            found.push(((number, partition.index), records_of(bytes)?));
        }
    }
    Ok(found)
}

fn text(error: DecodeError) -> String {
    error.to_string()
}

fn records_of(bytes: Bytes) -> Result<Vec<RecordId>, String> {
    let mut ids = Vec::new();
    for batch in records::batches(bytes) {
        for record in batch.map_err(|error| error.to_string())?.records() {
            let record = record.map_err(|error| error.to_string())?;
            ids.push(identify(&record).ok_or("a record that nobody made")?);
        }
    }
    Ok(ids)
}

fn place_of(stage: &Stage, name: &str, id: milena_wire::Uuid) -> Option<usize> {
    let by_name = || stage.scenario.topics.iter().position(|topic| topic.name == name);
    stage.topic_ids.get(&id).copied().or_else(by_name)
}

/// The version of a request frame without its length.
pub(crate) fn version_of(frame: &Bytes) -> Option<i16> {
    RequestHeader::read(&mut Reader::new(frame.clone())).ok().map(|header| header.api_version)
}

/// The same answer without the offsets beside the errors of these partitions. The frame has its length.
pub(crate) fn hide_offsets(stage: &Stage, frame: &Bytes, version: i16, places: &[Place]) -> Bytes {
    let (header, mut response) = decode_response::<ProduceRequest>(frame.slice(4..), version)
        .expect("the broker answers in the version that it was asked in");
    for topic in &mut response.responses {
        let number = place_of(stage, &topic.name, topic.topic_id);
        for partition in &mut topic.partition_responses {
            if number.is_some_and(|number| places.contains(&(number, partition.index))) && partition.error_code != 0 {
                partition.base_offset = -1;
            }
        }
    }
    let frame = encode_response(header.correlation_id, version, &response);
    Bytes::from(frame.expect("what was decoded can be encoded"))
}

/// What a Produce answer says about each attempt. The frame has its length.
pub(crate) fn verdicts_of(stage: &Stage, frame: &Bytes, version: i16, attempts: &[AttemptId]) -> Verdicts {
    if attempts.is_empty() {
        return Vec::new();
    }
    let Ok((_, response)) = decode_response::<ProduceRequest>(frame.slice(4..), version) else { return Vec::new() };
    let mut verdicts = Vec::new();
    for topic in &response.responses {
        let Some(number) = place_of(stage, &topic.name, topic.topic_id) else { continue };
        for partition in &topic.partition_responses {
            let place = (number, partition.index);
            let of_place = |id: &&AttemptId| stage.history.attempts[id.0 as usize].place == place;
            if let Some(attempt) = attempts.iter().find(of_place) {
                verdicts.push((*attempt, ErrorCode(partition.error_code), partition.base_offset));
            }
        }
    }
    verdicts
}
