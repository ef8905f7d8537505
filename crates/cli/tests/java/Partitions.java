// Prints the partition that Java's producer chooses for each key: a key per line of stdin in hex, a number per line of
// stdout. Usage: Partitions.java PARTITIONS

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.util.HexFormat;
import org.apache.kafka.clients.producer.internals.BuiltInPartitioner;

public class Partitions {
    public static void main(String[] arguments) throws Exception {
        int partitions = Integer.parseInt(arguments[0]);
        var keys = new BufferedReader(new InputStreamReader(System.in));
        var out = new StringBuilder();
        for (String line = keys.readLine(); line != null; line = keys.readLine()) {
            out.append(BuiltInPartitioner.partitionForKey(HexFormat.of().parseHex(line), partitions)).append('\n');
        }
        new PrintStream(System.out, true).print(out);
    }
}
