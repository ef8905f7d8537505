//! What whoever runs the client or the cluster can do about a refusal.

use milena_wire::ErrorCode;

/// None where nobody can do anything but wait or report a bug.
pub(super) fn advice(code: ErrorCode) -> Option<&'static str> {
    Some(match code {
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION => "create the topic",
        ErrorCode::MESSAGE_TOO_LARGE => "raise the topic's max.message.bytes, or send less in one record",
        ErrorCode::RECORD_LIST_TOO_LARGE => "raise the topic's segment.bytes, or lower batch_size",
        ErrorCode::INVALID_TOPIC_EXCEPTION => "clients may not write to this topic",
        ErrorCode::NOT_ENOUGH_REPLICAS => "fewer replicas than min.insync.replicas are in sync: look after the brokers",
        ErrorCode::TOPIC_AUTHORIZATION_FAILED => "grant this client WRITE on the topic",
        ErrorCode::CLUSTER_AUTHORIZATION_FAILED => {
            "grant this client IDEMPOTENT_WRITE on the cluster, or WRITE on any topic from Kafka 2.8 on"
        }
        ErrorCode::INVALID_TIMESTAMP => {
            "the topic's message.timestamp.before.max.ms or message.timestamp.after.max.ms forbids such a timestamp"
        }
        ErrorCode::UNSUPPORTED_FOR_MESSAGE_FORMAT => "raise the topic's message.format.version to 0.11 or later",
        ErrorCode::POLICY_VIOLATION => "a policy of the cluster forbids it",
        ErrorCode::UNSUPPORTED_COMPRESSION_TYPE => "use a codec that the topic allows",
        ErrorCode::INVALID_RECORD => "the topic takes no such record; a compacted one needs keys",
        _ => return None,
    })
}
