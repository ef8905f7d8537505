import java.util.TreeMap;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.common.config.ConfigDef;

/** Prints every property of the producer, with its default behind a space where there is one; sorted by name. */
public class ProducerProperties {
    public static void main(String[] arguments) {
        for (ConfigDef.ConfigKey key : new TreeMap<>(ProducerConfig.configDef().configKeys()).values()) {
            boolean hasDefault = key.defaultValue != ConfigDef.NO_DEFAULT_VALUE && key.defaultValue != null;
            String value = hasDefault ? ConfigDef.convertToString(key.defaultValue, key.type) : "";
            System.out.println(value.isEmpty() ? key.name : key.name + " " + value);
        }
    }
}
