package millpond;

import java.nio.ByteBuffer;
import java.util.LinkedHashMap;
import java.util.Map;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StoreQueryParameters;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.errors.InvalidStateStoreException;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.QueryableStoreTypes;
import org.apache.kafka.streams.state.ReadOnlyKeyValueStore;

/** Count, sum and last value per key, in Kafka Streams. */
public final class Aggregate {
    private static final String USAGE = """
            Usage: run Aggregate --topic TOPIC [OPTIONS]

            Folds a topic that Produce wrote into count, sum and last of each key, in a state store of Kafka Streams, until all
            records that the topic held at the start are folded and committed, and prints what that took. Then it opens the
            store once more and adds up all rows: `right` says whether each record was counted once.

            `elapsed_s` and `cpu_s` are from the first record until all are committed, `first_record_s`, `first_answer_s` and
            `caught_up_s` from the start of the process.

              --changelog B           true (usual) or false: whether the store has a changelog topic
              --probe RATE            reads random keys beside the folding, so many a second (0: as fast as one thread can), and
                                      prints how long a read took, once it began
              --keys N                below which the keys are that are read; 1000000 unless set
            """ + Streaming.USAGE + """

            To see a recovery, run it twice with the same --app, --state and --member, the first time with --die-at.
            """;

    record Row(long count, long sum, long last) {
        static final Serde<Row> SERDE = Serdes.serdeFrom(
                (topic, row) -> row == null
                        ? null
                        : ByteBuffer.allocate(24).putLong(row.count).putLong(row.sum).putLong(row.last).array(),
                (topic, bytes) -> {
                    if (bytes == null) {
                        return null;
                    }
                    var from = ByteBuffer.wrap(bytes);
                    return new Row(from.getLong(), from.getLong(), from.getLong());
                });

        Row with(byte[] value) {
            var amountAndNumber = ByteBuffer.wrap(value);
            return new Row(count + 1, sum + amountAndNumber.getLong(), amountAndNumber.getLong());
        }
    }

    private static Topology topology(Streaming streaming) {
        var rows = Materialized.<Long, Row, KeyValueStore<Bytes, byte[]>>as("rows")
                .withKeySerde(Serdes.Long())
                .withValueSerde(Row.SERDE);
        if (streaming.options.choice("changelog", "true", "false").equals("false")) {
            rows = rows.withLoggingDisabled();
        }
        var builder = new StreamsBuilder();
        streaming.noticed(builder.stream(streaming.topic, Consumed.with(Serdes.Long(), Serdes.ByteArray())))
                .groupByKey()
                .aggregate(() -> new Row(0, 0, 0), (key, value, row) -> row.with(value), rows);
        return builder.build(streaming.settings());
    }

    private static ReadOnlyKeyValueStore<Long, Row> rows(KafkaStreams streams) throws InterruptedException {
        var asked = StoreQueryParameters.fromNameAndType("rows", QueryableStoreTypes.<Long, Row>keyValueStore());
        while (true) {
            try {
                var rows = streams.store(asked);
                rows.get(0L);
                return rows;
            } catch (InvalidStateStoreException notYet) {
                Thread.sleep(5);
            }
        }
    }

    public static void main(String[] arguments) throws Exception {
        var options = new Options(arguments, USAGE);
        try (var cluster = new Cluster(options.bootstrap())) {
            var streaming = new Streaming(options, cluster);
            var streams = streaming.start(topology(streaming));
            var rows = rows(streams);
            double firstAnswer = Usage.seconds();
            var probe = options.has("probe") ? new Probe(options, rows, streaming) : null;
            double caughtUp = streaming.awaitAllTaken();
            var line = new LinkedHashMap<String, Object>();
            if (probe != null) {
                line.put("reads", probe.ended());
            }
            var measured = streaming.finish(streams, cluster, "Aggregate");
            measured.put("first_answer_s", firstAnswer);
            measured.put("caught_up_s", caughtUp);
            measured.putAll(line);
            measured.putAll(check(streaming));
            Options.print(measured);
            streaming.cleanUp(cluster, "-rows-changelog");
        }
        // Threads of Kafka Streams' that are still about are of no interest.
        System.exit(0);
    }

    /**
     * Adds up all rows as a process finds them that opens the store. Its threads get their partitions one after the other, and
     * a part of the rows is not there until all have theirs: so it is done again for a while if the sums are wrong.
     */
    private static Map<String, Object> check(Streaming streaming) throws Exception {
        long records = streaming.total();
        var expected = new Row(records, Input.sum(records), records - 1);
        var streams = streaming.start(topology(streaming));
        try {
            var found = sums(rows(streams));
            for (int tries = 0; tries < 100 && !found.total.equals(expected); tries++) {
                Thread.sleep(200);
                found = sums(rows(streams));
            }
            var line = new LinkedHashMap<String, Object>();
            line.put("right", found.total.equals(expected));
            line.put("rows", found.keys);
            line.put("counted", found.total.count);
            line.put("counted_too_often", found.total.count - records);
            line.put("sum", found.total.sum);
            return line;
        } finally {
            Streaming.close(streams);
        }
    }

    private record Sums(Row total, long keys) {}

    private static Sums sums(ReadOnlyKeyValueStore<Long, Row> rows) {
        var total = new Row(0, 0, 0);
        long keys = 0;
        try (var all = rows.all()) {
            while (all.hasNext()) {
                var row = all.next().value;
                total = new Row(total.count + row.count, total.sum + row.sum, Math.max(total.last, row.last));
                keys++;
            }
        } catch (InvalidStateStoreException moved) {
            return new Sums(new Row(0, 0, 0), 0);
        }
        return new Sums(total, keys);
    }
}
