//! A Kafka broker in a process: for tests, and for laptops that have no Kafka.
