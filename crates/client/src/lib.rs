//! A Kafka producer whose caller learns, by its deadline, what became of every record.
