//! FindCoordinator: there is none yet, neither for groups nor for transactions, and the answer says so.
//!
//! The code is the one that Kafka gives while a coordinator cannot be found.

use milena_wire::ErrorCode;
use milena_wire::messages::find_coordinator::request::FindCoordinatorRequest;
use milena_wire::messages::find_coordinator::response::{Coordinator, FindCoordinatorResponse};

pub(super) fn answer(request: &FindCoordinatorRequest, version: i16) -> FindCoordinatorResponse {
    let (code, message) = match request.key_type {
        0 => (ErrorCode::COORDINATOR_NOT_AVAILABLE, "this broker does not coordinate groups"),
        1 => (ErrorCode::COORDINATOR_NOT_AVAILABLE, "this broker does not coordinate transactions"),
        2 => (ErrorCode::COORDINATOR_NOT_AVAILABLE, "this broker does not coordinate share groups"),
        _ => (ErrorCode::INVALID_REQUEST, "unknown type of coordinator key"),
    };
    if version < BATCHES_SINCE {
        return FindCoordinatorResponse {
            error_code: code.0,
            error_message: Some(message.into()),
            node_id: -1,
            port: -1,
            ..Default::default()
        };
    }
    let coordinator = |key: &str| Coordinator {
        key: key.into(),
        node_id: -1,
        port: -1,
        error_code: code.0,
        error_message: Some(message.into()),
        ..Default::default()
    };
    FindCoordinatorResponse {
        coordinators: request.coordinator_keys.iter().map(|key| coordinator(key)).collect(),
        ..Default::default()
    }
}

/// The first version that asks for several keys at once (KIP-699).
const BATCHES_SINCE: i16 = 4;
