//! A real Apache Kafka for tests and tasks: fetched from Maven, started on loopback, stopped, frozen, killed.

mod java;

pub use java::{java, java_available};
