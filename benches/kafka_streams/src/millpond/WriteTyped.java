package millpond;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.Map;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** Writes records with Kafka's own serializers. */
public final class WriteTyped {
    private static final String USAGE = """
            Usage: run WriteTyped --topic TOPIC [OPTIONS]

            Writes each line of the standard input to a topic, and waits until all are acknowledged. A line is an object:

              {"key": 7, "value": "seven", "partition": 0, "timestamp": 1700000000000, "headers": {"by": "hand"}}

            of which any part may be left out. With --transaction there are two other lines, "commit" and "abort", which end a
            transaction; the next record begins one. What was not committed at the end is left open as it is.
            """ + Typed.USAGE + """

              --bootstrap HOST:PORT   127.0.0.1:9092 unless set
              --key-type T            string unless set
              --value-type T          string unless set
              --transaction ID        transactional.id
              --compression C         none unless set
            """;

    private final KafkaProducer<byte[], byte[]> producer;
    private final boolean transactional;
    private boolean open;

    private WriteTyped(KafkaProducer<byte[], byte[]> producer, boolean transactional) {
        this.producer = producer;
        this.transactional = transactional;
    }

    public static void main(String[] arguments) throws Exception {
        var options = new Options(arguments, USAGE);
        var topic = options.text("topic");
        var keys = new Typed(options.choice("key-type", Typed.TYPES));
        var values = new Typed(options.choice("value-type", Typed.TYPES));
        Map<String, Object> settings = new HashMap<>();
        settings.put("bootstrap.servers", options.bootstrap());
        settings.put("compression.type", options.text("compression", "none"));
        if (options.has("transaction")) {
            settings.put("transactional.id", options.text("transaction"));
        }
        var producer = new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer());
        var writer = new WriteTyped(producer, options.has("transaction"));
        if (writer.transactional) {
            producer.initTransactions();
        }
        long records = 0;
        var lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (var line = lines.readLine(); line != null; line = lines.readLine()) {
            var node = Options.JSON.readTree(line);
            if (node.isTextual()) {
                writer.end(node.textValue());
            } else if (node.isObject()) {
                writer.write(record(topic, keys, values, node));
                records++;
            }
        }
        producer.flush();
        Options.print(Map.of("program", "WriteTyped", "records", records));
        // To close the producer would abort what is open.
        Runtime.getRuntime().halt(0);
    }

    private static ProducerRecord<byte[], byte[]> record(String topic, Typed keys, Typed values, JsonNode node)
            throws Exception {
        var partition = node.has("partition") ? node.get("partition").intValue() : null;
        var timestamp = node.has("timestamp") ? node.get("timestamp").longValue() : null;
        var key = keys.bytes(topic, node.get("key"));
        var value = values.bytes(topic, node.get("value"));
        var record = new ProducerRecord<>(topic, partition, timestamp, key, value);
        for (var header : node.path("headers").properties()) {
            record.headers().add(header.getKey(), header.getValue().textValue().getBytes(StandardCharsets.UTF_8));
        }
        return record;
    }

    private void write(ProducerRecord<byte[], byte[]> record) throws Exception {
        if (transactional && !open) {
            producer.beginTransaction();
            open = true;
        }
        producer.send(record, (written, error) -> {
            if (error != null) {
                error.printStackTrace();
                Runtime.getRuntime().halt(1);
            }
        });
    }

    private void end(String how) {
        if (!transactional || !how.equals("commit") && !how.equals("abort")) {
            throw Options.wrong("\"" + how + "\" is not a record, and ends no transaction");
        }
        if (open && how.equals("commit")) {
            producer.commitTransaction();
        } else if (open) {
            producer.flush();
            producer.abortTransaction();
        }
        open = false;
    }
}
