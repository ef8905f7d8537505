//! Kafka's wire format: frames, generated messages, record batches, error codes.
