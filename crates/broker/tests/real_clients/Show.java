// Java's producer, consumer and admin client through what talk.rs describes.
// Usage: Show.java BOOTSTRAP BASE_TIMESTAMP BURSTS BURST PARTITIONS TOPIC...; a topic's name is its codec.

import java.io.BufferedOutputStream;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.protocol.Errors;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;
import org.apache.kafka.common.utils.AppInfoParser;

public class Show {
    private static final PrintStream OUT =
        new PrintStream(new BufferedOutputStream(System.out, 1 << 16), false, StandardCharsets.UTF_8);
    private static final BufferedReader IN = new BufferedReader(new InputStreamReader(System.in));

    private final String servers;
    private final long base;
    private final int bursts;
    private final int burst;
    private final int partitions;
    private final List<String> topics;

    private Show(String[] arguments) {
        servers = arguments[0];
        base = Long.parseLong(arguments[1]);
        bursts = Integer.parseInt(arguments[2]);
        burst = Integer.parseInt(arguments[3]);
        partitions = Integer.parseInt(arguments[4]);
        topics = List.of(arguments).subList(5, arguments.length);
    }

    public static void main(String[] arguments) throws Exception {
        Show show = new Show(arguments);
        say("uses Java's clients " + AppInfoParser.getVersion());
        try (Admin admin = Admin.create(show.settings())) {
            show.administer(admin);
        }
        show.produce();
        show.consume();
        try (Admin admin = Admin.create(show.settings())) {
            TopicPartition partition = new TopicPartition("none", 0);
            var deleted = admin.deleteRecords(Map.of(partition, RecordsToDelete.beforeOffset(10)));
            say("told earliest " + deleted.lowWatermarks().get(partition).get().lowWatermark() + " once records were deleted");
        }
        OUT.flush();
    }

    private Map<String, Object> settings() {
        return new HashMap<>(Map.of("bootstrap.servers", servers, "request.timeout.ms", 2000, "retry.backoff.ms", 20));
    }

    private void administer(Admin admin) throws Exception {
        List<NewTopic> made = new ArrayList<>();
        for (String topic : topics) {
            made.add(new NewTopic(topic, partitions, (short) 3));
        }
        admin.createTopics(made).all().get();
        var nodes = admin.describeCluster().nodes().get();
        boolean isThere = nodes.contains(admin.describeCluster().controller().get());
        say("told nodes " + nodes.size() + ", a controller is " + (isThere ? "one of them" : "missing"));

        NewTopic topic = new NewTopic("admin", Optional.of(2), Optional.of((short) 3)).configs(Map.of("retention.ms", "3600000"));
        admin.createTopics(List.of(topic)).all().get();
        say("told created");
        say("told created again: " + refusal(admin.createTopics(List.of(topic)).all()));
        say("told " + (admin.listTopics().names().get().contains("admin") ? "listed" : "missing"));
        describe(admin);
        retention(admin);
        alter(admin, AlterConfigOp.OpType.SET, "7200000").get();
        retention(admin);
        alter(admin, AlterConfigOp.OpType.DELETE, "").get();
        retention(admin);
        say("told retention.ms soon: " + refusal(alter(admin, AlterConfigOp.OpType.SET, "soon")));
        admin.createPartitions(Map.of("admin", NewPartitions.increaseTo(4))).all().get();
        describe(admin);
        var fewer = admin.createPartitions(Map.of("admin", NewPartitions.increaseTo(3))).all();
        say("told fewer partitions: " + refusal(fewer));
        admin.deleteTopics(List.of("admin")).all().get();
        say("told deleted");
        say("told described: " + refusal(description(admin)));
    }

    private static void describe(Admin admin) throws Exception {
        TopicDescription description = description(admin).get().get("admin");
        var first = description.partitions().get(0);
        say("told " + description.partitions().size() + " partitions, " + first.replicas().size() + " replicas, "
            + first.isr().size() + " in sync");
    }

    /** The method's name is another since 3.1, and the former one is gone since 4.0. */
    @SuppressWarnings("unchecked")
    private static Future<Map<String, TopicDescription>> description(Admin admin) throws Exception {
        Object result = admin.describeTopics(List.of("admin"));
        for (var method : result.getClass().getMethods()) {
            if (method.getName().equals("allTopicNames")) {
                return (Future<Map<String, TopicDescription>>) method.invoke(result);
            }
        }
        return (Future<Map<String, TopicDescription>>) result.getClass().getMethod("all").invoke(result);
    }

    private static final ConfigResource RESOURCE = new ConfigResource(ConfigResource.Type.TOPIC, "admin");

    private static void retention(Admin admin) throws Exception {
        ConfigEntry entry = admin.describeConfigs(List.of(RESOURCE)).all().get().get(RESOURCE).get("retention.ms");
        boolean isSet = entry.source() == ConfigEntry.ConfigSource.DYNAMIC_TOPIC_CONFIG;
        say("told retention.ms " + entry.value() + (isSet ? ", set" : ", default"));
    }

    private static Future<Void> alter(Admin admin, AlterConfigOp.OpType how, String value) {
        Collection<AlterConfigOp> ops = List.of(new AlterConfigOp(new ConfigEntry("retention.ms", value), how));
        return admin.incrementalAlterConfigs(Map.of(RESOURCE, ops)).all();
    }

    private static String refusal(Future<?> future) throws InterruptedException {
        try {
            future.get();
            return "accepted";
        } catch (ExecutionException failed) {
            return "error " + Errors.forException(failed.getCause()).code();
        }
    }

    private void produce() throws Exception {
        List<KafkaProducer<String, String>> producers = new ArrayList<>();
        for (String topic : topics) {
            Map<String, Object> settings = settings();
            settings.put("compression.type", topic);
            settings.put("enable.idempotence", true);
            settings.put("acks", "all");
            settings.put("linger.ms", 2);
            producers.add(new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer()));
        }
        for (int round = 0; round < bursts; round++) {
            List<Future<?>> sent = new ArrayList<>();
            for (int number = round * burst; number < (round + 1) * burst; number++) {
                for (int topic = 0; topic < topics.size(); topic++) {
                    for (int partition = 0; partition < partitions; partition++) {
                        sent.add(send(producers.get(topic), topics.get(topic), partition, number));
                    }
                }
            }
            // See stage.rs. Java writes twice where a restarted node does not recognise what it holds, so nothing is left unanswered.
            for (var answer : sent) {
                answer.get();
            }
            await();
        }
        for (var producer : producers) {
            producer.close();
        }
    }

    private Future<?> send(KafkaProducer<String, String> producer, String topic, int partition, int number) {
        String value = value(topic, partition, number);
        var record = new ProducerRecord<>(topic, partition, base + number, "k" + number, value);
        record.headers().add("h", topic.getBytes(StandardCharsets.UTF_8));
        return producer.send(record, (at, failed) -> {
            if (failed != null) {
                failed.printStackTrace();
                Runtime.getRuntime().halt(1);
            }
            say("acked " + topic + " " + partition + " " + number + " " + at.offset());
        });
    }

    private static String value(String topic, int partition, int number) {
        int filler = number % 100 == 99 ? 70_000 : number % 200;
        return topic + ":" + partition + ":" + number + ":" + "x".repeat(filler);
    }

    private void consume() throws Exception {
        Map<String, Object> settings = settings();
        settings.put("max.partition.fetch.bytes", 20_000);
        settings.put("max.poll.records", 200);
        List<TopicPartition> all = new ArrayList<>();
        for (String topic : topics) {
            for (int partition = 0; partition < partitions; partition++) {
                all.add(new TopicPartition(topic, partition));
            }
        }
        try (var consumer = new KafkaConsumer<>(settings, new StringDeserializer(), new StringDeserializer())) {
            consumer.assign(all);
            consumer.seekToBeginning(all);
            int total = all.size() * bursts * burst;
            int found = 0;
            int waits = 0;
            while (found < total) {
                for (var record : consumer.poll(Duration.ofSeconds(1))) {
                    print(record);
                    found++;
                }
                if (found >= (waits + 1) * 1000) {
                    waits++;
                    await();
                }
            }
            // Nothing comes behind the last one.
            consumer.poll(Duration.ofMillis(200)).forEach(Show::print);
            for (int partition = 0; partition < partitions; partition++) {
                look(consumer, new TopicPartition("gzip", partition));
            }
        }
    }

    private static void print(ConsumerRecord<String, String> record) {
        String header = new String(record.headers().lastHeader("h").value(), StandardCharsets.UTF_8);
        say("read " + record.topic() + " " + record.partition() + " " + record.offset() + " " + record.timestamp() + " "
            + record.key() + " " + header + " " + record.value());
    }

    /** The third number is of a record that was read there, not only looked up. */
    private void look(KafkaConsumer<String, String> consumer, TopicPartition partition) {
        long earliest = consumer.beginningOffsets(List.of(partition)).get(partition);
        long latest = consumer.endOffsets(List.of(partition)).get(partition);
        long middle = base + bursts * burst / 2;
        consumer.assign(List.of(partition));
        consumer.seek(partition, consumer.offsetsForTimes(Map.of(partition, middle)).get(partition).offset());
        while (true) {
            for (var record : consumer.poll(Duration.ofSeconds(1))) {
                say("told gzip " + partition.partition() + ": earliest " + earliest + ", latest " + latest
                    + ", since the middle " + record.offset());
                return;
            }
        }
    }

    /** The cluster is upset until this returns. */
    private static void await() throws Exception {
        say("wait");
        OUT.flush();
        if (IN.readLine() == null) {
            throw new IllegalStateException("nobody listens");
        }
    }

    private static void say(String line) {
        synchronized (OUT) {
            OUT.print(line + "\n");
        }
    }
}
