//! Answers to the control connection that are not the truth any more, or errors.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use milena_core::ids::NodeId;
use milena_core::metadata::Address;
use milena_wire::frame::{decode_response, encode_response};
use milena_wire::messages::init_producer_id::request::InitProducerIdRequest;
use milena_wire::messages::metadata::request::MetadataRequest;
use milena_wire::messages::metadata::response::MetadataResponse;
use milena_wire::{ApiKey, ErrorCode};

use crate::faults::{Fault, Scope, StrikeId};
use crate::request::{Asked, Leading, leaders_of};
use crate::stage::Stage;

/// Remembers what was told before.
#[derive(Debug, Default)]
pub(super) struct Liar {
    told: VecDeque<MetadataResponse>,
    /// Lies that hold until the truth is told.
    open: Vec<StrikeId>,
}

/// So many answers are remembered to be told again.
const TOLD_MAX: usize = 12;

impl Liar {
    /// The same answer, or another one, with the leaders that it tells. The frame has its length.
    pub(super) fn retell(&mut self, stage: &mut Stage, asked: &Asked, frame: Bytes) -> (Bytes, Vec<Leading>) {
        match asked.key {
            ApiKey::METADATA => self.metadata(stage, asked.version, &frame),
            ApiKey::INIT_PRODUCER_ID => (identity(stage, asked.version, &frame).unwrap_or(frame), Vec::new()),
            _ => (frame, Vec::new()),
        }
    }

    fn metadata(&mut self, stage: &mut Stage, version: i16, frame: &Bytes) -> (Bytes, Vec<Leading>) {
        let decoded = decode_response::<MetadataRequest>(frame.slice(4..), version);
        let (header, mut truth) = decoded.expect("the broker answers in the version that it was asked in");
        readdress(&mut truth, &stage.addresses);
        let told = self.lie(stage, version, &truth);
        if told.is_none() {
            let felt = stage.now + stage.scenario.latency.1 * 4;
            self.open.drain(..).for_each(|strike| stage.faults.strikes.close(strike, felt));
        }
        let response = told.unwrap_or_else(|| truth.clone());
        note_errors(stage, &response);
        let leaders = leaders_of(stage, &response);
        self.told.push_back(truth);
        if self.told.len() > TOLD_MAX {
            self.told.pop_front();
        }
        let frame = encode_response(header.correlation_id, version, &response);
        (Bytes::from(frame.expect("what was decoded can be encoded")), leaders)
    }

    fn lie(&mut self, stage: &mut Stage, version: i16, truth: &MetadataResponse) -> Option<MetadataResponse> {
        let now = stage.now;
        let (fault, lie) = if stage.faults.strikes_now(now, Fault::StaleMetadata) {
            (Fault::StaleMetadata, self.older(stage, truth)?)
        } else if stage.faults.strikes_now(now, Fault::MetadataRefused) {
            (Fault::MetadataRefused, refused(stage, truth))
        } else if version >= REBOOTSTRAP_SINCE && stage.faults.strikes_now(now, Fault::Rebootstrap) {
            (Fault::Rebootstrap, MetadataResponse { error_code: REBOOTSTRAP_REQUIRED.0, ..MetadataResponse::default() })
        } else {
            return None;
        };
        stage.note(format_args!("{fault}"));
        self.open.push(stage.faults.strikes.open(fault, Scope::Everything, now));
        Some(lie)
    }

    /// What was told before of the topics that are asked for now: a broker that lags tells old leaders with old epochs.
    fn older(&self, stage: &mut Stage, truth: &MetadataResponse) -> Option<MetadataResponse> {
        let place = stage.faults.dice().below(self.told.len() as u64) as usize;
        let older = self.told.get(place)?;
        let mut lie = truth.clone();
        for topic in &mut lie.topics {
            if let Some(known) = older.topics.iter().find(|known| known.name == topic.name) {
                *topic = known.clone();
            }
        }
        Some(lie)
    }
}

/// What the client is told of topics may be the cause of an outcome.
fn note_errors(stage: &mut Stage, response: &MetadataResponse) {
    for told in &response.topics {
        let number = stage.scenario.topics.iter().position(|topic| told.name.as_deref() == Some(&*topic.name));
        let partitions = told.partitions.iter().map(|partition| partition.error_code);
        let codes = [told.error_code].into_iter().chain(partitions).map(ErrorCode).filter(|code| !code.is_none());
        stage
            .told_of_topics
            .extend(number.into_iter().flat_map(|number| codes.clone().map(move |code| (number, code))));
    }
}

/// Brokers that moved are told where they are now.
fn readdress(response: &mut MetadataResponse, addresses: &BTreeMap<NodeId, Address>) {
    for broker in &mut response.brokers {
        if let Some(address) = addresses.get(&NodeId(broker.node_id)) {
            broker.host = (&*address.host).into();
            broker.port = i32::from(address.port);
        }
    }
}

/// Errors for the answer as a whole, for a topic, or for a partition.
fn refused(stage: &mut Stage, truth: &MetadataResponse) -> MetadataResponse {
    let dice = stage.faults.dice();
    let mut lie = truth.clone();
    for topic in &mut lie.topics {
        match dice.below(4) {
            0 => {
                let code = dice.pick(&[ErrorCode::LEADER_NOT_AVAILABLE, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION]);
                topic.error_code = code.0;
                topic.partitions.clear();
            }
            1 => {
                topic.error_code = ErrorCode::TOPIC_AUTHORIZATION_FAILED.0;
                topic.partitions.clear();
            }
            2 => {
                for partition in &mut topic.partitions {
                    partition.error_code = ErrorCode::LEADER_NOT_AVAILABLE.0;
                    partition.leader_id = -1;
                }
            }
            _ => {}
        }
    }
    lie
}

fn identity(stage: &mut Stage, version: i16, frame: &Bytes) -> Option<Bytes> {
    if !stage.faults.strikes_now(stage.now, Fault::IdentityRefused) {
        return None;
    }
    let decoded = decode_response::<InitProducerIdRequest>(frame.slice(4..), version);
    let (header, mut response) = decoded.expect("the broker answers in the version that it was asked in");
    response.error_code = stage.faults.dice().pick(&IDENTITY_REFUSALS).0;
    response.producer_id = -1;
    response.producer_epoch = -1;
    let code = ErrorCode(response.error_code);
    // A client that may not have one asks again after seconds.
    let felt = if code == ErrorCode::CLUSTER_AUTHORIZATION_FAILED { REFUSED } else { stage.scenario.retry.max * 2 };
    let until = stage.now + felt;
    stage.faults.strikes.add(Fault::IdentityRefused, Scope::Everything, stage.now, until);
    stage.note(format_args!("no producer id: {code}"));
    Some(Bytes::from(encode_response(header.correlation_id, version, &response).expect("small")))
}

/// The client waits so long at most when it is told that it may not.
const REFUSED: Duration = Duration::from_secs(6);

const IDENTITY_REFUSALS: [ErrorCode; 4] = [
    ErrorCode::COORDINATOR_LOAD_IN_PROGRESS,
    ErrorCode::COORDINATOR_NOT_AVAILABLE,
    ErrorCode::CLUSTER_AUTHORIZATION_FAILED,
    ErrorCode::UNKNOWN_SERVER_ERROR,
];

/// Metadata tells errors of the answer as a whole from this version on (KIP-1102).
const REBOOTSTRAP_SINCE: i16 = 13;
const REBOOTSTRAP_REQUIRED: ErrorCode = ErrorCode(129);
