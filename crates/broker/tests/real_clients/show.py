"""confluent-kafka, and so librdkafka, through what talk.rs describes.

    show.py BOOTSTRAP BASE_TIMESTAMP BURSTS BURST PARTITIONS TOPIC...    a topic's name is its codec
"""

import sys

import confluent_kafka
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ConfigSource,
    NewPartitions,
    NewTopic,
    ResourceType,
)

servers = sys.argv[1]
base, bursts, burst, partitions = map(int, sys.argv[2:6])
topics = sys.argv[6:]
records = bursts * burst


def say(line):
    sys.stdout.write(line + "\n")


def wait():
    """The cluster is upset until this returns."""
    say("wait")
    sys.stdout.flush()
    if not sys.stdin.readline():
        sys.exit("nobody listens")


def settings(**more):
    common = {
        "bootstrap.servers": servers,
        "socket.timeout.ms": 2000,
        "retry.backoff.ms": 20,
        "reconnect.backoff.ms": 20,
        "topic.metadata.refresh.fast.interval.ms": 20,
    }
    return common | {name.replace("_", "."): value for name, value in more.items()}


def only(futures):
    (future,) = futures.values()
    return future


def refusal(future):
    try:
        future.result()
        return "accepted"
    except KafkaException as failed:
        return f"error {failed.args[0].code()}"


def administer():
    admin = AdminClient(settings())
    for made in admin.create_topics([NewTopic(topic, partitions, 3) for topic in topics]).values():
        made.result()
    cluster = admin.describe_cluster().result()
    is_there = cluster.controller.id in [node.id for node in cluster.nodes]
    say(f"told nodes {len(cluster.nodes)}, a controller is {'one of them' if is_there else 'missing'}")

    topic = NewTopic("admin", 2, 3, config={"retention.ms": "3600000"})
    only(admin.create_topics([topic])).result()
    say("told created")
    say(f"told created again: {refusal(only(admin.create_topics([topic])))}")
    say(f"told {'listed' if 'admin' in admin.list_topics().topics else 'missing'}")
    describe(admin)
    retention(admin)
    alter(admin, AlterConfigOpType.SET, "7200000").result()
    retention(admin)
    alter(admin, AlterConfigOpType.DELETE, None).result()
    retention(admin)
    say(f"told retention.ms soon: {refusal(alter(admin, AlterConfigOpType.SET, 'soon'))}")
    only(admin.create_partitions([NewPartitions("admin", 4)])).result()
    describe(admin)
    say(f"told fewer partitions: {refusal(only(admin.create_partitions([NewPartitions('admin', 3)])))}")
    only(admin.delete_topics(["admin"])).result()
    say("told deleted")
    say(f"told described: {refusal(description(admin))}")


def description(admin):
    return only(admin.describe_topics(confluent_kafka.TopicCollection(["admin"])))


def describe(admin):
    found = description(admin).result().partitions
    say(f"told {len(found)} partitions, {len(found[0].replicas)} replicas, {len(found[0].isr)} in sync")


def retention(admin):
    resource = ConfigResource(ResourceType.TOPIC, "admin")
    entry = only(admin.describe_configs([resource])).result()["retention.ms"]
    is_set = ConfigSource(entry.source) == ConfigSource.DYNAMIC_TOPIC_CONFIG
    say(f"told retention.ms {entry.value}, {'set' if is_set else 'default'}")


def alter(admin, how, value):
    entry = ConfigEntry("retention.ms", value, incremental_operation=how)
    resource = ConfigResource(ResourceType.TOPIC, "admin", incremental_configs=[entry])
    return only(admin.incremental_alter_configs([resource]))


def value(topic, partition, number):
    filler = 70_000 if number % 100 == 99 else number % 200
    return f"{topic}:{partition}:{number}:{'x' * filler}"


def produce():
    producers = {
        topic: Producer(settings(compression_type=topic, enable_idempotence=True, linger_ms=2)) for topic in topics
    }

    unanswered = [burst * len(topics) * partitions] * bursts

    def told(number):
        def ended(error, message):
            if error:
                sys.exit(f"record {number} of {message.topic()}: {error}")
            # None when librdkafka takes a batch for written because one behind it was.
            offset = "unknown" if message.offset() is None else message.offset()
            say(f"acked {message.topic()} {message.partition()} {number} {offset}")
            unanswered[number // burst] -= 1

        return ended

    for round in range(bursts):
        for number in range(round * burst, (round + 1) * burst):
            for topic, producer in producers.items():
                for partition in range(partitions):
                    producer.produce(
                        topic,
                        value(topic, partition, number),
                        f"k{number}",
                        partition,
                        on_delivery=told(number),
                        timestamp=base + number,
                        headers=[("h", topic)],
                    )
                producer.poll(0)
        # See stage.rs. librdkafka ends for good where a restarted node does not recognise one batch of several, so none is left.
        while unanswered[round]:
            for producer in producers.values():
                producer.poll(0.01)
        wait()
    for producer in producers.values():
        if producer.flush(60):
            sys.exit("not all was written within a minute")


def next_message(consumer):
    """What is worth another try is told as an error too; the rest is one."""
    message = consumer.poll(20)
    if message is None:
        sys.exit("no record came for 20 s")
    error = message.error()
    if error and error.code() not in (KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError._TIMED_OUT):
        sys.exit(str(error))
    return None if error else message


def consume():
    consumer = Consumer(
        settings(
            group_id="nobody",
            enable_auto_commit=False,
            fetch_message_max_bytes=20_000,
            queued_min_messages=100,
        )
    )
    consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for topic in topics for p in range(partitions)])
    found, waits = 0, 0
    while found < len(topics) * partitions * records:
        if message := next_message(consumer):
            show(message)
            found += 1
        if found >= (waits + 1) * 1000:
            waits += 1
            wait()
    # Nothing comes behind the last one.
    for message in consumer.consume(10, 0.2):
        show(message)
    for partition in range(partitions):
        look(consumer, partition)
    consumer.close()


def show(message):
    headers = dict(message.headers())
    say(
        f"read {message.topic()} {message.partition()} {message.offset()} {message.timestamp()[1]} "
        f"{message.key().decode()} {headers['h'].decode()} {message.value().decode()}"
    )


def look(consumer, partition):
    """The third number is of a record that was read there, not only looked up."""
    earliest, latest = consumer.get_watermark_offsets(TopicPartition("gzip", partition))
    (middle,) = consumer.offsets_for_times([TopicPartition("gzip", partition, base + records // 2)])
    consumer.assign([TopicPartition("gzip", partition, OFFSET_BEGINNING)])
    # Only where reading has begun may one seek.
    while not next_message(consumer):
        pass
    consumer.seek(TopicPartition("gzip", partition, middle.offset))
    while not (message := next_message(consumer)):
        pass
    say(f"told gzip {partition}: earliest {earliest}, latest {latest}, since the middle {message.offset()}")


say(f"uses confluent-kafka {confluent_kafka.__version__} with librdkafka {confluent_kafka.libversion()[0]}")
administer()
produce()
consume()
# A client that nobody holds any more answers nothing.
admin = AdminClient(settings())
# A partition may be without a leader for longer than the time that a request has by default, socket.timeout.ms.
deleted = only(admin.delete_records([TopicPartition("none", 0, 10)], request_timeout=60)).result()
say(f"told earliest {deleted.low_watermark} once records were deleted")
