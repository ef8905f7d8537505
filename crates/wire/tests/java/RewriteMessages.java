// Reads messages with Kafka's own classes and writes them again. Lines of standard input:
//
//     name readVersion writeVersion bytes
//
// with the bytes in hex; `default` in their place stands for a message that nobody has set a field of. The answer to a line is a line:
// the bytes in hex (`-` for none), `refused` and the reason where the version written cannot carry what is set, or `failed` and the
// reason where the bytes were not this message.

import java.io.BufferedReader;
import java.io.BufferedWriter;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.OutputStreamWriter;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.HexFormat;
import org.apache.kafka.common.errors.UnsupportedVersionException;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.protocol.MessageUtil;

public class RewriteMessages {
    public static void main(String[] arguments) throws IOException {
        var in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.US_ASCII));
        var out = new BufferedWriter(new OutputStreamWriter(System.out, StandardCharsets.US_ASCII));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            out.write(answer(line.split(" ")).replace('\n', ' '));
            out.write('\n');
        }
        out.flush();
    }

    private static String answer(String[] fields) {
        Message message;
        try {
            message = read(fields[0], Short.parseShort(fields[1]), fields[3]);
        } catch (ReflectiveOperationException | RuntimeException error) {
            return "failed " + error;
        }
        try {
            ByteBuffer written = MessageUtil.toByteBufferAccessor(message, Short.parseShort(fields[2])).buffer();
            return written.hasRemaining() ? HexFormat.of().formatHex(MessageUtil.byteBufferToArray(written)) : "-";
        } catch (UnsupportedVersionException | NullPointerException error) {
            return "refused " + error;
        } catch (RuntimeException error) {
            return "failed " + error;
        }
    }

    private static Message read(String name, short version, String bytes) throws ReflectiveOperationException {
        var type = Class.forName("org.apache.kafka.common.message." + name + "Data");
        Message message = (Message) type.getDeclaredConstructor().newInstance();
        if (bytes.equals("default")) {
            return message;
        }
        var in = new ByteBufferAccessor(ByteBuffer.wrap(bytes.equals("-") ? new byte[0] : HexFormat.of().parseHex(bytes)));
        message.read(in, version);
        if (in.remaining() > 0) {
            throw new IllegalArgumentException(in.remaining() + " bytes are left over");
        }
        return message;
    }
}
