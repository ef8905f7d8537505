// Fills topics with what milena does not write itself. `controlled`: two transactions and their markers, the second aborted;
// `compressed`: a record with the name of its codec by each; `trimmed`: five records, of which the first three are
// deleted. Usage: FillOddly.java BOOTSTRAP

import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArraySerializer;

public class FillOddly {
    private static String bootstrap;

    public static void main(String[] arguments) throws Exception {
        bootstrap = arguments[0];
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", bootstrap))) {
            for (String topic : List.of("controlled", "compressed", "trimmed")) {
                admin.createTopics(List.of(new NewTopic(topic, Optional.of(1), Optional.empty()))).all().get();
            }
            control();
            compress();
            for (int number = 0; number < 5; number++) {
                write("trimmed", "none", "" + number);
            }
            var before = Map.of(new TopicPartition("trimmed", 0), RecordsToDelete.beforeOffset(3));
            admin.deleteRecords(before).all().get();
        }
    }

    private static void control() throws Exception {
        try (var producer = producer(Map.of("transactional.id", "odd"))) {
            producer.initTransactions();
            producer.beginTransaction();
            producer.send(record("controlled", "committed"));
            producer.commitTransaction();
            producer.beginTransaction();
            producer.send(record("controlled", "aborted")).get();
            producer.abortTransaction();
        }
        write("controlled", "none", "plain");
    }

    private static void compress() throws Exception {
        for (String codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
            write("compressed", codec, codec);
        }
    }

    private static void write(String topic, String codec, String value) throws Exception {
        try (var producer = producer(Map.of("compression.type", codec))) {
            producer.send(record(topic, value)).get();
        }
    }

    private static KafkaProducer<byte[], byte[]> producer(Map<String, Object> more) {
        Map<String, Object> configuration = new HashMap<>(more);
        configuration.put("bootstrap.servers", bootstrap);
        return new KafkaProducer<>(configuration, new ByteArraySerializer(), new ByteArraySerializer());
    }

    private static ProducerRecord<byte[], byte[]> record(String topic, String value) {
        return new ProducerRecord<>(topic, value.getBytes(StandardCharsets.UTF_8));
    }
}
