//! Clients of others against this broker: Java's, librdkafka through kcat and Python, franz-go. Each creates topics, writes by every codec,
//! and reads by partition, while leaders move, nodes freeze, die and come back; then every record is compared, as the client was told of
//! it, as it read it, and as it lies in the log.
//!
//! Run by `cargo xtask test` and the name of the client's group: `java-clients`, `kcat`, `confluent-kafka`, `franz-go`. Java, Maven, Python
//! and Go bring their own clients.

mod confluent_kafka;
mod franz_go;
mod java_clients;
mod kcat;
mod records;
mod stage;
mod talk;
