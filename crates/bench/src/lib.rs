//! Benchmarks of the producer.
