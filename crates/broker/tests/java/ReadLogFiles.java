// Prints what Kafka's own classes read in the files of a log: `ReadLogFiles FILE...`, a line for each batch, index entry and producer, behind a
// line with the file's name. Ends with an exception where a checksum or an index is wrong.

import java.io.File;
import org.apache.kafka.common.record.internal.FileLogInputStream;
import org.apache.kafka.common.record.internal.FileRecords;
import org.apache.kafka.common.record.internal.Record;
import org.apache.kafka.storage.internals.log.OffsetIndex;
import org.apache.kafka.storage.internals.log.ProducerStateManager;
import org.apache.kafka.storage.internals.log.TimeIndex;

public class ReadLogFiles {
    public static void main(String[] files) throws Exception {
        for (String name : files) {
            File file = new File(name);
            System.out.println("file " + file.getName());
            String kind = name.substring(name.lastIndexOf('.') + 1);
            long base = Long.parseLong(file.getName().substring(0, 20));
            switch (kind) {
                case "log" -> readBatches(file);
                case "index" -> readOffsets(file, base);
                case "timeindex" -> readTimes(file, base);
                case "snapshot" -> readProducers(file);
                default -> throw new IllegalArgumentException(name);
            }
        }
    }

    static void readBatches(File file) throws Exception {
        try (FileRecords records = FileRecords.open(file)) {
            for (FileLogInputStream.FileChannelRecordBatch batch : records.batches()) {
                batch.ensureValid();
                int count = 0;
                for (Record record : batch) {
                    record.ensureValid();
                    count++;
                }
                System.out.printf("batch %d %d %d %d%n", batch.baseOffset(), batch.lastOffset(), batch.position(), count);
            }
        }
    }

    static void readOffsets(File file, long base) throws Exception {
        try (OffsetIndex index = new OffsetIndex(file, base, -1, false)) {
            index.sanityCheck();
            for (int at = 0; at < index.entries(); at++) {
                System.out.printf("offset %d %d%n", index.entry(at).offset(), index.entry(at).position());
            }
        }
    }

    static void readTimes(File file, long base) throws Exception {
        try (TimeIndex index = new TimeIndex(file, base, -1, false)) {
            index.sanityCheck();
            for (int at = 0; at < index.entries(); at++) {
                System.out.printf("time %d %d%n", index.entry(at).timestamp(), index.entry(at).offset());
            }
        }
    }

    static void readProducers(File file) throws Exception {
        for (var entry : ProducerStateManager.readSnapshot(file)) {
            for (var batch : entry.batchMetadata()) {
                System.out.printf("producer %d %d %d %d%n", entry.producerId(), entry.producerEpoch(), batch.lastSeq(), batch.lastOffset());
            }
        }
    }
}
