//! A real Apache Kafka for tests: fetch, start, stop.
