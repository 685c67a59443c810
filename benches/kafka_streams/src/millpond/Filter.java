package millpond;

import java.time.Duration;
import java.util.Map;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Produced;

/** Every record of a topic written to another, in Kafka Streams. */
public final class Filter {
    private static final String USAGE = """
            Usage: run Filter --topic TOPIC --to TOPIC [OPTIONS]

            Writes every record that a topic holds at the start to another, which is made if there is none, through a filter
            that all pass, until all are committed; prints what that took, from the first record on. Then it reads the
            other topic, committed records only: `right` says whether it got as many.

            """ + Streaming.USAGE;

    public static void main(String[] arguments) throws Exception {
        var options = new Options(arguments, USAGE);
        try (var cluster = new Cluster(options.bootstrap())) {
            var streaming = new Streaming(options, cluster);
            var to = options.text("to");
            cluster.createTopic(to, streaming.ends.size());
            long before = count(options.bootstrap(), cluster, to);
            var builder = new StreamsBuilder();
            streaming.noticed(builder.stream(streaming.topic, Consumed.with(Serdes.ByteArray(), Serdes.ByteArray())))
                    .filter((key, value) -> value.length == Input.VALUE_BYTES)
                    .to(to, Produced.with(Serdes.ByteArray(), Serdes.ByteArray()));
            var streams = streaming.start(builder.build(streaming.settings()));
            var line = streaming.finish(streams, cluster, "Filter");
            long written = count(options.bootstrap(), cluster, to) - before;
            line.put("right", written == streaming.total());
            line.put("written", written);
            Options.print(line);
            streaming.cleanUp(cluster);
        }
        System.exit(0);
    }

    /** How many committed records a topic holds. Offsets do not say: transactions take some for themselves. */
    private static long count(String bootstrap, Cluster cluster, String topic) throws Exception {
        var ends = cluster.ends(topic);
        Map<String, Object> settings = Map.of("bootstrap.servers", bootstrap, "isolation.level", "read_committed");
        long count = 0;
        try (var consumer = new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            consumer.assign(ends.keySet());
            consumer.seekToBeginning(ends.keySet());
            while (ends.entrySet().stream().anyMatch(end -> consumer.position(end.getKey()) < end.getValue())) {
                count += consumer.poll(Duration.ofMillis(100)).count();
            }
        }
        return count;
    }
}
