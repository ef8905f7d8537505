//! What went wrong last on a partition: written by whoever leads it, read when a record ends.
//!
//! Always holds: one per partition, shared by its front, its back and its batches, so that a record that was never
//! claimed has a cause too. Each half is one word, so that noting and reading it cost nothing and wait for nobody.
//!
//! Left out: what is done about it; see `back.rs` and `control.rs`.

// Not `crate::sync`: the word informs and orders nothing, so the models need not try every order of it.
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use milena_wire::ErrorCode;

use super::outcome::{AttemptError, KafkaError};
use crate::ids::NodeId;

/// One partition's leader and last trouble.
#[derive(Debug)]
pub struct Trouble {
    /// A packed node without an error.
    leader: AtomicU64,
    /// A packed node with its error; nothing since the last success.
    last: AtomicU64,
}

impl Trouble {
    /// Of a partition that just appeared: no broker, no error.
    pub fn new() -> Arc<Self> {
        let nothing = || AtomicU64::new(pack(None, None));
        Arc::new(Self { leader: nothing(), last: nothing() })
    }

    /// The partition is led by this broker from now on; the last error, and whose it was, stays until an attempt succeeds.
    pub fn led_by(&self, node: NodeId) {
        self.leader.store(pack(Some(node), None), Ordering::Relaxed);
    }

    /// This went wrong, at this broker, or else at the one that leads.
    pub fn note(&self, node: Option<NodeId>, error: AttemptError) {
        let node = node.or_else(|| self.leader());
        self.last.store(pack(node, Some(error)), Ordering::Relaxed);
    }

    /// An attempt succeeded: what went wrong before explains nothing any more.
    pub fn clear(&self) {
        self.last.store(pack(None, None), Ordering::Relaxed);
    }

    /// What went wrong since the last success and at which broker; if nothing did, the broker that leads.
    pub fn last(&self) -> (Option<NodeId>, Option<AttemptError>) {
        match unpack(self.last.load(Ordering::Relaxed)) {
            (_, None) => (self.leader(), None),
            trouble => trouble,
        }
    }

    fn leader(&self) -> Option<NodeId> {
        unpack(self.leader.load(Ordering::Relaxed)).0
    }
}

const HAS_NODE: u64 = 1 << 63;

/// Node in the low half; above it an error code, then the kind of trouble.
fn pack(node: Option<NodeId>, error: Option<AttemptError>) -> u64 {
    let (kind, code) = match error {
        None => (0, ErrorCode::NONE),
        Some(AttemptError::ConnectionLost) => (1, ErrorCode::NONE),
        Some(AttemptError::RequestTimedOut) => (2, ErrorCode::NONE),
        Some(AttemptError::InvalidAnswer) => (3, ErrorCode::NONE),
        Some(AttemptError::NotConnected) => (4, ErrorCode::NONE),
        Some(AttemptError::NoLeader) => (5, ErrorCode::NONE),
        Some(AttemptError::NoProducerId) => (6, ErrorCode::NONE),
        Some(AttemptError::ProducerIdRefused(code)) => (7, ErrorCode(code.code())),
        Some(AttemptError::Kafka(code)) => (8, ErrorCode(code.code())),
        Some(AttemptError::ConnectionRefused) => (9, ErrorCode::NONE),
        Some(AttemptError::NameNotResolved) => (10, ErrorCode::NONE),
        Some(AttemptError::SpeaksTls) => (11, ErrorCode::NONE),
        Some(AttemptError::NotKafka) => (12, ErrorCode::NONE),
        Some(AttemptError::NoCommonVersion) => (13, ErrorCode::NONE),
        Some(AttemptError::JournalFailed) => (14, ErrorCode::NONE),
    };
    let node = node.map_or(0, |node| HAS_NODE | u64::from(node.0 as u32));
    node | u64::from(code.0 as u16) << 32 | kind << 48
}

fn unpack(word: u64) -> (Option<NodeId>, Option<AttemptError>) {
    let node = (word & HAS_NODE != 0).then_some(NodeId(word as u32 as i32));
    let code = KafkaError::from(ErrorCode((word >> 32) as u16 as i16));
    let error = match (word & !HAS_NODE) >> 48 {
        0 => None,
        1 => Some(AttemptError::ConnectionLost),
        2 => Some(AttemptError::RequestTimedOut),
        3 => Some(AttemptError::InvalidAnswer),
        4 => Some(AttemptError::NotConnected),
        5 => Some(AttemptError::NoLeader),
        6 => Some(AttemptError::NoProducerId),
        7 => Some(AttemptError::ProducerIdRefused(code)),
        8 => Some(AttemptError::Kafka(code)),
        9 => Some(AttemptError::ConnectionRefused),
        10 => Some(AttemptError::NameNotResolved),
        11 => Some(AttemptError::SpeaksTls),
        12 => Some(AttemptError::NotKafka),
        13 => Some(AttemptError::NoCommonVersion),
        14 => Some(AttemptError::JournalFailed),
        kind => unreachable!("kind {kind} is never packed"),
    };
    (node, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_trouble_is_read_as_it_was_noted() {
        let codes =
            [ErrorCode::NONE, ErrorCode::NOT_ENOUGH_REPLICAS, ErrorCode::UNKNOWN_SERVER_ERROR, ErrorCode(i16::MIN)];
        let coded = codes.map(KafkaError::from);
        let plain = [
            AttemptError::ConnectionLost,
            AttemptError::RequestTimedOut,
            AttemptError::InvalidAnswer,
            AttemptError::NotConnected,
            AttemptError::NoLeader,
            AttemptError::NoProducerId,
            AttemptError::ConnectionRefused,
            AttemptError::NameNotResolved,
            AttemptError::SpeaksTls,
            AttemptError::NotKafka,
            AttemptError::NoCommonVersion,
            AttemptError::JournalFailed,
        ];
        let errors =
            plain.into_iter().chain(coded.map(AttemptError::Kafka)).chain(coded.map(AttemptError::ProducerIdRefused));
        for error in errors {
            for node in [0, 1, i32::MAX, -1, i32::MIN].map(NodeId) {
                let trouble = Trouble::new();
                trouble.note(None, error);
                assert_eq!(trouble.last(), (None, Some(error)));
                trouble.note(Some(node), error);
                assert_eq!(trouble.last(), (Some(node), Some(error)));
            }
        }
    }

    #[test]
    fn a_success_clears_the_error_and_a_new_leader_does_not() {
        let trouble = Trouble::new();
        assert_eq!(trouble.last(), (None, None));
        trouble.led_by(NodeId(3));
        trouble.note(None, AttemptError::ConnectionLost);
        trouble.led_by(NodeId(4));
        assert_eq!(trouble.last(), (Some(NodeId(3)), Some(AttemptError::ConnectionLost)), "it was not the new one's");
        trouble.clear();
        assert_eq!(trouble.last(), (Some(NodeId(4)), None));
    }
}
