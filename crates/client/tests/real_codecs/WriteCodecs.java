// Writes the records that `common.rs` describes to the topics `java-CODEC`, by Java's producer and each codec.
// Usage: WriteCodecs.java BOOTSTRAP RECORDS CODEC...

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Future;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.ByteArraySerializer;

public class WriteCodecs {
    public static void main(String[] arguments) throws Exception {
        int records = Integer.parseInt(arguments[1]);
        for (int at = 2; at < arguments.length; at++) {
            Map<String, Object> configuration = Map.of(
                    "bootstrap.servers", arguments[0],
                    "compression.type", arguments[at],
                    "batch.size", "200000",
                    "linger.ms", "50");
            var bytes = new ByteArraySerializer();
            try (var producer = new KafkaProducer<byte[], byte[]>(configuration, bytes, bytes)) {
                write(producer, "java-" + arguments[at], records);
            }
        }
    }

    private static void write(KafkaProducer<byte[], byte[]> producer, String topic, int records) throws Exception {
        List<Future<?>> sent = new ArrayList<>();
        for (int number = 0; number < records; number++) {
            int filler = number % 1000 == 999 ? 100_000 : number % 200;
            String value = topic + ":" + number + ":" + "x".repeat(filler);
            sent.add(producer.send(new ProducerRecord<>(topic, value.getBytes(StandardCharsets.UTF_8))));
        }
        for (Future<?> one : sent) {
            one.get();
        }
    }
}
