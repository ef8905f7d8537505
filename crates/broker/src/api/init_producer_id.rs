//! InitProducerId: a fresh producer id for every idempotent producer.
//!
//! Transactions are not served: a transactional id is refused with a code that no client retries.

use milena_wire::ErrorCode;
use milena_wire::messages::init_producer_id::request::InitProducerIdRequest;
use milena_wire::messages::init_producer_id::response::InitProducerIdResponse;

use crate::cluster::Cluster;

impl Cluster {
    pub(super) fn init_producer_id(&mut self, request: &InitProducerIdRequest) -> InitProducerIdResponse {
        let error =
            |code: ErrorCode| InitProducerIdResponse { error_code: code.0, producer_epoch: -1, ..Default::default() };
        let half_known = (request.producer_id < 0) != (request.producer_epoch < 0);
        match request.transactional_id.as_deref() {
            Some("") => return error(ErrorCode::INVALID_REQUEST),
            Some(_) => return error(ErrorCode::UNSUPPORTED_VERSION),
            None if half_known => return error(ErrorCode::INVALID_REQUEST),
            None => {}
        }
        match self.take_producer_id() {
            Ok(id) => InitProducerIdResponse { producer_id: id.0, producer_epoch: 0, ..Default::default() },
            Err(_) => error(ErrorCode::KAFKA_STORAGE_ERROR),
        }
    }
}
