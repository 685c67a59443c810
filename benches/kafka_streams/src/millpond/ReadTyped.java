package millpond;

import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.Map;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/** Reads a topic with Kafka's own deserializers. */
public final class ReadTyped {
    private static final String USAGE = """
            Usage: run ReadTyped --topic TOPIC [OPTIONS]

            Prints the records that a topic holds, each as a line of JSON with its partition, offset, timestamp, key, value and
            headers, in the order of each partition, up to where it ended at the start.
            """ + Typed.USAGE + """

              --bootstrap HOST:PORT   127.0.0.1:9092 unless set
              --key-type T            string unless set
              --value-type T          string unless set
              --isolation I           read_committed (usual) or read_uncommitted
              --records N             goes on until it has read so many
            """;

    public static void main(String[] arguments) throws Exception {
        var options = new Options(arguments, USAGE);
        var topic = options.text("topic");
        var keys = new Typed(options.choice("key-type", Typed.TYPES));
        var values = new Typed(options.choice("value-type", Typed.TYPES));
        long wanted = options.number("records", 0);
        Map<String, Object> settings = Map.of(
                "bootstrap.servers", options.bootstrap(),
                "isolation.level", options.choice("isolation", "read_committed", "read_uncommitted"));
        try (var consumer = new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer());
                var cluster = new Cluster(options.bootstrap())) {
            var partitions = cluster.ends(topic).keySet();
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            // As its isolation sees them: an open transaction is beyond the end.
            var ends = consumer.endOffsets(partitions);
            long read = 0;
            while (wanted > read
                    || wanted == 0
                            && ends.entrySet().stream().anyMatch(e -> consumer.position(e.getKey()) < e.getValue())) {
                for (var record : consumer.poll(Duration.ofMillis(100))) {
                    if (wanted > 0 ? read < wanted : record.offset() < end(ends, record)) {
                        print(keys, values, record);
                        read++;
                    }
                }
            }
        }
    }

    private static long end(Map<TopicPartition, Long> ends, ConsumerRecord<?, ?> record) {
        return ends.get(new TopicPartition(record.topic(), record.partition()));
    }

    private static void print(Typed keys, Typed values, ConsumerRecord<byte[], byte[]> record) throws Exception {
        var line = new LinkedHashMap<String, Object>();
        line.put("partition", record.partition());
        line.put("offset", record.offset());
        line.put("timestamp", record.timestamp());
        line.put("key", keys.object(record.topic(), record.key()));
        line.put("value", values.object(record.topic(), record.value()));
        var headers = new LinkedHashMap<String, String>();
        for (var header : record.headers()) {
            headers.put(header.key(), header.value() == null ? null : new String(header.value(), StandardCharsets.UTF_8));
        }
        line.put("headers", headers);
        Options.print(line);
    }
}
