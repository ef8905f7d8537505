//! The deciding machines of a Kafka producer: no sockets, no clock, no threads.
