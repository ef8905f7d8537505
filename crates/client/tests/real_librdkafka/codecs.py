"""Writes the records that `real_codecs/common.rs` describes by librdkafka and a codec, or prints those of a topic.

    codecs.py write BOOTSTRAP RECORDS CODEC    to the topic librdkafka-CODEC
    codecs.py read BOOTSTRAP RECORDS TOPIC     from its only partition, one value a line
"""

import sys

import confluent_kafka
from confluent_kafka import Consumer, Producer, TopicPartition


def value(topic, number):
    filler = 100_000 if number % 1000 == 999 else number % 200
    return f"{topic}:{number}:{'x' * filler}"


def write(servers, records, codec):
    topic = "librdkafka-" + codec
    failed = []
    producer = Producer({
        "bootstrap.servers": servers,
        "compression.type": codec,
        "batch.size": 200_000,
        "linger.ms": 50,
        "enable.idempotence": True,
    })
    for number in range(records):
        told = lambda error, _: error and failed.append(error)
        producer.produce(topic, value(topic, number).encode(), on_delivery=told)
        producer.poll(0)
    left = producer.flush(60)
    if left or failed:
        sys.exit(f"{left} were not written, and {failed}")
    print(f"librdkafka {confluent_kafka.libversion()[0]} wrote {records} records by {codec}")


def read(servers, records, topic):
    consumer = Consumer({"bootstrap.servers": servers, "group.id": "nobody", "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic, 0, 0)])
    found = 0
    while found < records:
        message = consumer.poll(30)
        if message is None:
            sys.exit(f"no record came for 30 s after {found}")
        if message.error():
            sys.exit(str(message.error()))
        print(message.value().decode())
        found += 1
    consumer.close()


command, servers, records, what = sys.argv[1:]
{"write": write, "read": read}[command](servers, int(records), what)
