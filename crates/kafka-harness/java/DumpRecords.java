// Prints every record of some topics, from the beginning to the end at the moment of its start, one line each after a
// line with the topic's name:
//
//     topic name
//     partition offset timestamp key headers value
//
// A key or value is its length, a colon and its bytes in hex: `3:616263`, `0:` when empty, `-1:` when null. Headers are
// `key=value` joined by commas, in the record's order and with duplicates, or `-` when there are none. Transactions are
// not looked at: records of aborted ones are printed, control records are not. Usage: DumpRecords.java BOOTSTRAP TOPIC...
// Logs in by SASL/PLAIN with the JAAS configuration in KAFKA_HARNESS_JAAS, if there is one.

import java.io.BufferedOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.PartitionInfo;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

public class DumpRecords {
    private static final Duration POLL = Duration.ofSeconds(1);
    private static final int EMPTY_POLLS_MAX = 30;
    private static final byte[] DIGITS = "0123456789abcdef".getBytes(StandardCharsets.US_ASCII);

    public static void main(String[] arguments) throws IOException {
        if (arguments.length < 2) {
            System.err.println("usage: DumpRecords.java BOOTSTRAP TOPIC...");
            System.exit(2);
        }
        try (KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(configuration(arguments[0]));
                OutputStream out = new BufferedOutputStream(System.out, 1 << 16)) {
            for (int at = 1; at < arguments.length; at++) {
                ascii("topic " + arguments[at] + "\n", out);
                dump(consumer, partitions(consumer, arguments[at]), out);
            }
        }
    }

    private static Properties configuration(String bootstrap) {
        Properties properties = new Properties();
        properties.put(ConsumerConfig.BOOTSTRAP_SERVERS_CONFIG, bootstrap);
        properties.put(ConsumerConfig.KEY_DESERIALIZER_CLASS_CONFIG, ByteArrayDeserializer.class.getName());
        properties.put(ConsumerConfig.VALUE_DESERIALIZER_CLASS_CONFIG, ByteArrayDeserializer.class.getName());
        properties.put(ConsumerConfig.ISOLATION_LEVEL_CONFIG, "read_uncommitted");
        properties.put(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "none");
        properties.put(ConsumerConfig.ENABLE_AUTO_COMMIT_CONFIG, "false");
        properties.put(ConsumerConfig.ALLOW_AUTO_CREATE_TOPICS_CONFIG, "false");
        properties.put(ConsumerConfig.MAX_POLL_RECORDS_CONFIG, "10000");
        String jaas = System.getenv("KAFKA_HARNESS_JAAS");
        if (jaas != null) {
            properties.put("security.protocol", "SASL_PLAINTEXT");
            properties.put("sasl.mechanism", "PLAIN");
            properties.put("sasl.jaas.config", jaas);
        }
        return properties;
    }

    private static List<TopicPartition> partitions(KafkaConsumer<?, ?> consumer, String topic) {
        List<TopicPartition> partitions = new ArrayList<>();
        for (PartitionInfo info : consumer.partitionsFor(topic)) {
            partitions.add(new TopicPartition(topic, info.partition()));
        }
        if (partitions.isEmpty()) {
            throw new IllegalStateException("there is no topic " + topic);
        }
        return partitions;
    }

    private static void dump(KafkaConsumer<byte[], byte[]> consumer, List<TopicPartition> partitions, OutputStream out)
            throws IOException {
        consumer.assign(partitions);
        consumer.seekToBeginning(partitions);
        Map<TopicPartition, Long> ends = consumer.endOffsets(partitions);
        int emptyPolls = 0;
        while (!isAtEnd(consumer, ends)) {
            var records = consumer.poll(POLL);
            emptyPolls = records.isEmpty() ? emptyPolls + 1 : 0;
            if (emptyPolls == EMPTY_POLLS_MAX) {
                throw new IllegalStateException("no record came for " + EMPTY_POLLS_MAX + " s before the end " + ends);
            }
            for (ConsumerRecord<byte[], byte[]> record : records) {
                if (record.offset() < ends.get(new TopicPartition(record.topic(), record.partition()))) {
                    print(record, out);
                }
            }
        }
    }

    private static boolean isAtEnd(KafkaConsumer<?, ?> consumer, Map<TopicPartition, Long> ends) {
        for (Map.Entry<TopicPartition, Long> end : ends.entrySet()) {
            if (consumer.position(end.getKey()) < end.getValue()) {
                return false;
            }
        }
        return true;
    }

    private static void print(ConsumerRecord<byte[], byte[]> record, OutputStream out) throws IOException {
        ascii(record.partition() + " " + record.offset() + " " + record.timestamp() + " ", out);
        hex(record.key(), out);
        out.write(' ');
        headers(record, out);
        out.write(' ');
        hex(record.value(), out);
        out.write('\n');
    }

    private static void headers(ConsumerRecord<?, ?> record, OutputStream out) throws IOException {
        boolean first = true;
        for (Header header : record.headers()) {
            if (!first) {
                out.write(',');
            }
            first = false;
            hex(header.key().getBytes(StandardCharsets.UTF_8), out);
            out.write('=');
            hex(header.value(), out);
        }
        if (first) {
            out.write('-');
        }
    }

    private static void hex(byte[] bytes, OutputStream out) throws IOException {
        ascii((bytes == null ? -1 : bytes.length) + ":", out);
        if (bytes != null) {
            byte[] digits = new byte[2 * bytes.length];
            for (int at = 0; at < bytes.length; at++) {
                digits[2 * at] = DIGITS[(bytes[at] >> 4) & 15];
                digits[2 * at + 1] = DIGITS[bytes[at] & 15];
            }
            out.write(digits);
        }
    }

    private static void ascii(String text, OutputStream out) throws IOException {
        out.write(text.getBytes(StandardCharsets.US_ASCII));
    }
}
