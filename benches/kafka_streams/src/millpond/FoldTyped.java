package millpond;

import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.util.LinkedHashMap;
import java.util.Properties;
import java.util.UUID;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StoreQueryParameters;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.QueryableStoreTypes;
import org.apache.kafka.streams.state.ReadOnlyKeyValueStore;

/** Count and last value of each key, in Kafka Streams, exactly once: what is read is what was committed. */
public final class FoldTyped {
    private static final String USAGE = """
            Usage: run FoldTyped --topic TOPIC [OPTIONS]

            Folds what a topic holds at the start in Kafka Streams, and prints a line for each key:

              {"key": 7, "count": 2, "last": "seven"}

            """ + Typed.USAGE + """

              --bootstrap HOST:PORT   127.0.0.1:9092 unless set
              --key-type T            string unless set
              --value-type T          string unless set
            """;

    private record Row(long count, byte[] last) {
        static final Serde<Row> SERDE = Serdes.serdeFrom(
                (topic, row) -> row == null
                        ? null
                        : ByteBuffer.allocate(8 + row.last.length).putLong(row.count).put(row.last).array(),
                (topic, bytes) -> {
                    if (bytes == null) {
                        return null;
                    }
                    var from = ByteBuffer.wrap(bytes);
                    var row = new Row(from.getLong(), new byte[bytes.length - 8]);
                    from.get(row.last);
                    return row;
                });
    }

    public static void main(String[] arguments) throws Exception {
        var options = new Options(arguments, USAGE);
        var topic = options.text("topic");
        var app = "millpond-fold-" + UUID.randomUUID();
        try (var cluster = new Cluster(options.bootstrap())) {
            var ends = cluster.ends(topic);
            var builder = new StreamsBuilder();
            builder.stream(topic, Consumed.with(Serdes.Bytes(), Serdes.ByteArray()))
                    .groupByKey()
                    .aggregate(
                            () -> new Row(0, new byte[0]),
                            (key, value, row) -> new Row(row.count + 1, value),
                            Materialized.<Bytes, Row, KeyValueStore<Bytes, byte[]>>as("rows")
                                    .withKeySerde(Serdes.Bytes())
                                    .withValueSerde(Row.SERDE)
                                    .withLoggingDisabled());
            var streams = new KafkaStreams(builder.build(), settings(options, app));
            streams.setUncaughtExceptionHandler(error -> {
                error.printStackTrace();
                Runtime.getRuntime().halt(1);
                return null;
            });
            streams.start();
            // Ends of transactions included: it commits behind them.
            while (!cluster.committed(app, ends)) {
                Thread.sleep(20);
            }
            var rows = StoreQueryParameters.fromNameAndType("rows", QueryableStoreTypes.<Bytes, Row>keyValueStore());
            print(options, topic, streams.store(rows));
            Streaming.close(streams);
            streams.cleanUp();
        }
        System.exit(0);
    }

    private static Properties settings(Options options, String app) throws Exception {
        var settings = new Properties();
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, options.bootstrap());
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, app);
        settings.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
        settings.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, "100");
        settings.put(StreamsConfig.STATE_DIR_CONFIG, Files.createTempDirectory("kafka-streams-").toString());
        settings.put("auto.offset.reset", "earliest");
        return settings;
    }

    private static void print(Options options, String topic, ReadOnlyKeyValueStore<Bytes, Row> rows) throws Exception {
        var keys = new Typed(options.choice("key-type", Typed.TYPES));
        var values = new Typed(options.choice("value-type", Typed.TYPES));
        try (var all = rows.all()) {
            while (all.hasNext()) {
                var row = all.next();
                var line = new LinkedHashMap<String, Object>();
                line.put("key", keys.object(topic, row.key.get()));
                line.put("count", row.value.count);
                line.put("last", values.object(topic, row.value.last));
                Options.print(line);
            }
        }
    }
}
