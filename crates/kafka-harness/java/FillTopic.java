// Creates a topic with one partition and writes three records by Kafka's own clients: one with a key and two headers of
// the same name, one with an empty value, one with neither key nor value. Usage: FillTopic.java BOOTSTRAP TOPIC

import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.ByteArraySerializer;

public class FillTopic {
    private static final long TIMESTAMP = 1_700_000_000_000L;

    public static void main(String[] arguments) throws Exception {
        Map<String, Object> configuration = Map.of("bootstrap.servers", arguments[0]);
        String topic = arguments[1];
        try (Admin admin = Admin.create(configuration)) {
            admin.createTopics(List.of(new NewTopic(topic, Optional.of(1), Optional.empty()))).all().get();
        }
        var bytes = new ByteArraySerializer();
        try (var producer = new KafkaProducer<>(configuration, bytes, bytes)) {
            var full = new ProducerRecord<>(topic, 0, TIMESTAMP, utf8("k"), utf8("a"));
            full.headers().add("h", utf8("1")).add("h", null);
            producer.send(full).get();
            producer.send(new ProducerRecord<>(topic, 0, TIMESTAMP + 1, utf8("k"), utf8(""))).get();
            producer.send(new ProducerRecord<>(topic, 0, TIMESTAMP + 2, null, null, null)).get();
        }
    }

    private static byte[] utf8(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }
}
