// Writes records of at most a kilobyte to a topic, until so many bytes are written. Ends with an error when one is not
// taken within three seconds. Usage: FillBytes.java BOOTSTRAP TOPIC BYTES

import java.util.Map;
import java.util.concurrent.Future;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.ByteArraySerializer;

public class FillBytes {
    public static void main(String[] arguments) throws Exception {
        long left = Long.parseLong(arguments[2]);
        Map<String, Object> properties = Map.of(
                "bootstrap.servers", arguments[0],
                "delivery.timeout.ms", "3000",
                "request.timeout.ms", "2000",
                "linger.ms", "0",
                "max.block.ms", "10000");
        int size = (int) Math.min(1024, Math.max(1, left / 3));
        try (var producer = new KafkaProducer<>(properties, new ByteArraySerializer(), new ByteArraySerializer())) {
            Future<?> last = null;
            for (; left > 0; left -= size) {
                last = producer.send(new ProducerRecord<>(arguments[1], new byte[size]));
            }
            last.get();
        }
    }
}
