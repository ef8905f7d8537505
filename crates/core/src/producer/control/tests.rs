//! The control machine against brokers and lanes that are played by hand.

mod chaos;
mod identity;
mod link;
mod placement;
mod readiness;
mod rig;
mod scale;
mod topics;

use super::*;
use crate::fault::ConnectionError;
use crate::ids::{Epoch, Identity, NodeId, ProducerId};
use crate::producer::back::TopicRef;
use crate::producer::lane::LeaderHint;
use milena_wire::messages::init_producer_id::request::InitProducerIdRequest;
use milena_wire::messages::init_producer_id::response::InitProducerIdResponse;
use milena_wire::messages::metadata::request::MetadataRequest;
use milena_wire::messages::metadata::response::MetadataResponse;
use milena_wire::{ApiKey, Uuid};
use rig::{MAX_AGE, PAUSE, Rig, TIMEOUT, metadata, metadata_at};
