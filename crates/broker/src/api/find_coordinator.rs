//! FindCoordinator: there is none yet, neither for groups nor for transactions, and the answer says so.
//!
//! The code is none of those that Kafka gives while a coordinator cannot be found: those are tried again, and a client that wants a group
//! or a transaction would wait in silence. This one ends it, with the words where the client shows them. But librdkafka's consumers ask
//! for their group's also where they read by partition, as `group.id` is asked of each, and would tell an error of what works:
//! they speak old versions, in which it is answered as Kafka does while there is none.

use milena_wire::ErrorCode;
use milena_wire::messages::find_coordinator::request::FindCoordinatorRequest;
use milena_wire::messages::find_coordinator::response::{Coordinator, FindCoordinatorResponse};

use super::MALFORMED;
use crate::notice::{Coordinated, Notice};

pub(super) fn answer(request: &FindCoordinatorRequest, version: i16) -> FindCoordinatorResponse {
    let (code, message) = match request.key_type {
        0 if version <= LIBRDKAFKA_NEWEST => {
            (ErrorCode::COORDINATOR_NOT_AVAILABLE, "this broker does not coordinate groups")
        }
        0 => (ErrorCode::UNSUPPORTED_VERSION, "this broker does not coordinate groups"),
        1 => (ErrorCode::UNSUPPORTED_VERSION, "this broker does not coordinate transactions"),
        2 => (ErrorCode::UNSUPPORTED_VERSION, "this broker does not coordinate share groups"),
        _ => (ErrorCode::INVALID_REQUEST, MALFORMED),
    };
    // The key of a share group names a partition of a topic, which is looked at before anything else.
    let judged = |key: &str| match request.key_type == SHARE && !is_share_key(key) {
        true if version < BATCHES_SINCE => (ErrorCode::INVALID_REQUEST, MALFORMED),
        true => (ErrorCode::INVALID_REQUEST, ""),
        false => (code, message),
    };
    if version < BATCHES_SINCE {
        let (code, message) = judged(&request.key);
        return FindCoordinatorResponse {
            error_code: code.0,
            error_message: Some(message.into()),
            node_id: -1,
            port: -1,
            ..Default::default()
        };
    }
    let coordinator = |key: &str| {
        let (code, message) = judged(key);
        Coordinator {
            key: key.into(),
            node_id: -1,
            port: -1,
            error_code: code.0,
            error_message: Some(message.into()),
            ..Default::default()
        }
    };
    FindCoordinatorResponse {
        coordinators: request.coordinator_keys.iter().map(|key| coordinator(key)).collect(),
        ..Default::default()
    }
}

/// What the first key is of, where there could be one.
pub(super) fn wanted(request: &FindCoordinatorRequest, version: i16) -> Option<Notice> {
    let of = match request.key_type {
        0 => Coordinated::Group,
        1 => Coordinated::Transaction,
        2 => Coordinated::ShareGroup,
        _ => return None,
    };
    let name = if version < BATCHES_SINCE { Some(&request.key) } else { request.coordinator_keys.first() };
    Some(Notice::CoordinatorWanted { of, name: name?.chars().take(NAME_CHARS_MAX).collect() })
}

/// `GROUP:TOPIC-ID:PARTITION`.
fn is_share_key(key: &str) -> bool {
    let parts: Vec<&str> = key.split(':').collect();
    matches!(parts[..], [group, topic, partition]
        if !group.is_empty() && topic.len() == 22 && partition.parse::<i32>().is_ok_and(|index| index >= 0))
}

const SHARE: i8 = 2;
/// What librdkafka 2.16 speaks; Java's clients since 2.4 and franz-go speak later ones.
const LIBRDKAFKA_NEWEST: i16 = 2;
/// The first version that asks for several keys at once (KIP-699).
const BATCHES_SINCE: i16 = 4;
/// As much as a line has room for; Kafka's own names of topics are no longer.
const NAME_CHARS_MAX: usize = 249;
