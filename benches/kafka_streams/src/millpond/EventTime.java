package millpond;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.file.Files;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.common.serialization.IntegerSerializer;
import org.apache.kafka.common.serialization.LongSerializer;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.TestInputTopic;
import org.apache.kafka.streams.TopologyTestDriver;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.JoinWindows;
import org.apache.kafka.streams.kstream.Joined;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.KTable;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.SessionWindows;
import org.apache.kafka.streams.kstream.SlidingWindows;
import org.apache.kafka.streams.kstream.StreamJoined;
import org.apache.kafka.streams.kstream.Suppressed;
import org.apache.kafka.streams.kstream.TimeWindows;
import org.apache.kafka.streams.kstream.Windowed;
import org.apache.kafka.streams.state.BuiltInDslStoreSuppliers;
import org.apache.kafka.streams.state.Stores;

/** What Kafka Streams makes of logs of one partition where time matters, in its own driver of topologies, without a broker. */
public final class EventTime {
    private static final String USAGE = """
            Usage: run EventTime [--stores memory|rocksdb]

            Reads logs from the standard input, one a line, and prints what came out at the end of each:

              {"size": 10, "hop": 5, "difference": 7, "gap": 6, "before": 5, "after": 9, "grace": 4, "history": 20,
               "records": [[time, key, number, "left" or "right" or null], ..]}

            Milliseconds all of them, keys and numbers integers; null is a record without a value. "left" and "right" are the
            sides of joins, and of joins as of a time the stream and the table; a number below zero of the right side deletes.
            Windows hold the numbers of all records (0 of one without a value):

              {"tumbling": [[start, end, key, [number, ..]], ..], "hopping": .., "sliding": .., "session": ..,
               "inner": [[key, left, right], ..], "left": .., "outer": .., "as_of": .., "left_as_of": ..}
            """;

    /** What came out, by the name of what it came of. */
    private final Map<String, List<Object>> told = new LinkedHashMap<>();

    public static void main(String[] arguments) throws Exception {
        var inMemory = new Options(arguments, USAGE).choice("stores", "memory", "rocksdb").equals("memory");
        var states = Files.createTempDirectory("kafka-streams-").toString();
        var lines = new BufferedReader(new InputStreamReader(System.in));
        for (var line = lines.readLine(); line != null; line = lines.readLine()) {
            Options.print(new EventTime().run(Options.JSON.readTree(line), states, inMemory));
        }
    }

    private Map<String, List<Object>> run(JsonNode log, String states, boolean inMemory) {
        var builder = new StreamsBuilder();
        windows(log, builder.stream("all", Consumed.with(Serdes.Integer(), Serdes.Long())));
        var left = builder.stream("left", Consumed.with(Serdes.Integer(), Serdes.Long()));
        var right = builder.stream("right", Consumed.with(Serdes.Integer(), Serdes.Long()));
        joins(log, left, right.filter((key, number) -> number != null));
        asOf(log, left, right);
        try (var driver = new TopologyTestDriver(builder.build(), settings(states, inMemory), Instant.EPOCH)) {
            var all = topic(driver, "all");
            var sides = Map.of("left", topic(driver, "left"), "right", topic(driver, "right"));
            for (var record : log.get("records")) {
                var at = record.get(0).asLong();
                var key = record.get(1).asInt();
                var number = record.get(2).asLong();
                var side = record.get(3);
                all.pipeInput(key, side.isNull() ? null : Math.abs(number), at);
                if (!side.isNull()) {
                    sides.get(side.asText()).pipeInput(key, number < 0 ? null : number, at);
                }
            }
        }
        return told;
    }

    private void windows(JsonNode log, KStream<Integer, Long> stream) {
        var grace = millis(log, "grace");
        var grouped = stream.groupByKey(Grouped.with(Serdes.Integer(), Serdes.Long()));
        var tumbling = TimeWindows.ofSizeAndGrace(millis(log, "size"), grace);
        tell("tumbling", grouped.windowedBy(tumbling)
                .aggregate(() -> "", EventTime::add, Materialized.with(Serdes.Integer(), Serdes.String())));
        tell("hopping", grouped.windowedBy(tumbling.advanceBy(millis(log, "hop")))
                .aggregate(() -> "", EventTime::add, Materialized.with(Serdes.Integer(), Serdes.String())));
        tell("sliding", grouped.windowedBy(SlidingWindows.ofTimeDifferenceAndGrace(millis(log, "difference"), grace))
                .aggregate(() -> "", EventTime::add, Materialized.with(Serdes.Integer(), Serdes.String())));
        tell("session", grouped.windowedBy(SessionWindows.ofInactivityGapAndGrace(millis(log, "gap"), grace))
                .aggregate(() -> "", EventTime::add, (key, one, other) -> one + other,
                        Materialized.with(Serdes.Integer(), Serdes.String())));
    }

    private void joins(JsonNode log, KStream<Integer, Long> left, KStream<Integer, Long> right) {
        var windows = JoinWindows.ofTimeDifferenceAndGrace(millis(log, "after"), millis(log, "grace"))
                .before(millis(log, "before")).after(millis(log, "after"));
        var serdes = StreamJoined.with(Serdes.Integer(), Serdes.Long(), Serdes.Long());
        tellPairs("inner", left.join(right, EventTime::pair, windows, serdes));
        tellPairs("left", left.leftJoin(right, EventTime::pair, windows, serdes));
        tellPairs("outer", left.outerJoin(right, EventTime::pair, windows, serdes));
    }

    private void asOf(JsonNode log, KStream<Integer, Long> stream, KStream<Integer, Long> updates) {
        var store = Stores.persistentVersionedKeyValueStore("rates", millis(log, "history"));
        KTable<Integer, Long> rates = updates.toTable(
                Materialized.<Integer, Long>as(store).withKeySerde(Serdes.Integer()).withValueSerde(Serdes.Long()));
        for (var name : List.of("as_of", "left_as_of")) {
            var joined = Joined.with(Serdes.Integer(), Serdes.Long(), Serdes.Long(), name, millis(log, "grace"));
            tellPairs(name, name.equals("as_of")
                    ? stream.join(rates, EventTime::pair, joined)
                    : stream.leftJoin(rates, EventTime::pair, joined));
        }
    }

    private void tell(String name, KTable<Windowed<Integer>, String> table) {
        var list = told.computeIfAbsent(name, each -> new ArrayList<>());
        table.suppress(Suppressed.untilWindowCloses(Suppressed.BufferConfig.unbounded())).toStream().foreach((windowed, numbers) -> {
            var window = windowed.window();
            var within = numbers == null ? null : Arrays.stream(numbers.trim().split(" ")).map(Long::valueOf).toList();
            list.add(Arrays.asList(window.start(), window.end(), windowed.key(), within));
        });
    }

    private void tellPairs(String name, KStream<Integer, Long[]> pairs) {
        var list = told.computeIfAbsent(name, each -> new ArrayList<>());
        pairs.foreach((key, pair) -> list.add(Arrays.asList(key, pair[0], pair[1])));
    }

    private static String add(int key, Long number, String numbers) {
        return numbers + (number == null ? 0 : number) + " ";
    }

    private static Long[] pair(Long left, Long right) {
        return new Long[] {left, right};
    }

    private static Duration millis(JsonNode log, String name) {
        return Duration.ofMillis(log.get(name).asLong());
    }

    private static TestInputTopic<Integer, Long> topic(TopologyTestDriver driver, String name) {
        return driver.createInputTopic(name, new IntegerSerializer(), new LongSerializer());
    }

    private static Properties settings(String states, boolean inMemory) {
        var settings = new Properties();
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, "event-time");
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, "127.0.0.1:1");
        settings.put(StreamsConfig.STATE_DIR_CONFIG, states);
        settings.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, "0");
        if (inMemory) {
            settings.put(
                    StreamsConfig.DSL_STORE_SUPPLIERS_CLASS_CONFIG,
                    BuiltInDslStoreSuppliers.InMemoryDslStoreSuppliers.class);
        }
        // Closing is not to wait for a clock.
        settings.put(StreamsConfig.InternalConfig.EMIT_INTERVAL_MS_KSTREAMS_OUTER_JOIN_SPURIOUS_RESULTS_FIX, 0L);
        return settings;
    }
}
