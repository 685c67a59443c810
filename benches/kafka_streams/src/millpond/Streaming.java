package millpond;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Properties;
import java.util.UUID;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.AtomicLongArray;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.streams.CloseOptions;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.processor.api.ContextualFixedKeyProcessor;
import org.apache.kafka.streams.processor.api.FixedKeyRecord;

/**
 * What the Kafka Streams programs share: their settings, and the measure, which begins with the first record, or the one after
 * the warm-up, and ends when all that the topic held at the start is committed.
 */
final class Streaming {
    static final String USAGE = """
              --bootstrap HOST:PORT   127.0.0.1:9092 unless set
              --mode M                defaults (usual): as Kafka Streams comes; tuned: 2 threads, 512 MB of cache, a commit a
                                      second; the options below change either
              --guarantee G           at_least_once (usual) or exactly_once_v2
              --threads N             num.stream.threads
              --cache-bytes N         statestore.cache.max.bytes
              --commit-ms N           commit.interval.ms
              --transactional B       true or false: enable.transactional.statestores
              --member ID             group.instance.id: a static member, which is known again after a crash
              --app ID                application.id; a new one unless set, of which nothing is left at the end
              --state DIR             state.dir; a new directory unless set, of which nothing is left at the end
              --settings K=V,K=V      any others, as Kafka names them
              --warm-up N             so many records are taken before anything is measured, so that Java has compiled what it
                                      runs
              --die-at N              halts the process, as kill -9 does, after so many records
            """;

    final Options options;
    final String app;
    final String topic;
    final Map<TopicPartition, Long> ends;
    private final Properties settings = new Properties();
    private final Path state;
    /** Of each partition: the offset after the last record that was taken. */
    private final AtomicLongArray taken;
    private final AtomicLong takenHere = new AtomicLong();
    private final long dieAt;
    private final long warmUp;
    private final CountDownLatch allTaken = new CountDownLatch(1);
    private volatile boolean begun;
    private volatile double began;
    private volatile double cpuBefore;
    private volatile long takenBefore;

    Streaming(Options options, Cluster cluster) throws Exception {
        this.options = options;
        topic = options.text("topic");
        ends = cluster.ends(topic);
        taken = new AtomicLongArray(ends.size());
        dieAt = options.number("die-at", Long.MAX_VALUE);
        warmUp = options.number("warm-up", 0);
        app = options.text("app", "millpond-" + UUID.randomUUID());
        if (total() == 0) {
            throw Options.wrong("the topic " + topic + " holds no records");
        }
        // What was committed before a crash does not come again.
        cluster.committed(app).forEach((partition, offset) -> taken.set(partition.partition(), offset));
        looks();
        state = options.has("state") ? Path.of(options.text("state")) : Files.createTempDirectory("kafka-streams-");
        set();
    }

    private void set() {
        boolean tuned = options.choice("mode", "defaults", "tuned").equals("tuned");
        settings.put("auto.offset.reset", "earliest");
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, options.bootstrap());
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, app);
        settings.put(StreamsConfig.STATE_DIR_CONFIG, state.toString());
        settings.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, options.choice("guarantee", "at_least_once", "exactly_once_v2"));
        set("threads", StreamsConfig.NUM_STREAM_THREADS_CONFIG, tuned ? "2" : null);
        set("cache-bytes", StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, tuned ? "536870912" : null);
        set("commit-ms", StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, tuned ? "1000" : null);
        set("transactional", StreamsConfig.TRANSACTIONAL_STATE_STORES_CONFIG, null);
        set("member", "group.instance.id", null);
        if (options.has("settings")) {
            for (var setting : options.text("settings").split(",")) {
                var parts = setting.split("=", 2);
                settings.put(parts[0], parts[1]);
            }
        }
    }

    private void set(String option, String setting, String usual) {
        var value = options.text(option, usual);
        if (value != null) {
            settings.put(setting, value);
        }
    }

    Properties settings() {
        return settings;
    }

    KafkaStreams start(Topology topology) {
        var streams = new KafkaStreams(topology, settings);
        streams.setUncaughtExceptionHandler(error -> {
            error.printStackTrace();
            Runtime.getRuntime().halt(1);
            return null;
        });
        streams.start();
        return streams;
    }

    /** Ends the streams, and leaves the group, so that whoever comes next need not wait until the session is over. */
    static void close(KafkaStreams streams) {
        streams.close(CloseOptions.groupMembershipOperation(CloseOptions.GroupMembershipOperation.LEAVE_GROUP));
    }

    /** The same stream, whose records are noticed as they pass. */
    <K, V> KStream<K, V> noticed(KStream<K, V> stream) {
        return stream.processValues(() -> new ContextualFixedKeyProcessor<K, V, V>() {
            @Override
            public void process(FixedKeyRecord<K, V> record) {
                if (!begun && takenHere.get() >= warmUp) {
                    begin();
                }
                var source = context().recordMetadata().orElseThrow();
                context().forward(record);
                taken.set(source.partition(), source.offset() + 1);
                if (takenHere.incrementAndGet() >= dieAt) {
                    System.err.println("halted after " + dieAt + " records");
                    Runtime.getRuntime().halt(137);
                }
                if (source.offset() + 1 >= ends.get(new TopicPartition(topic, source.partition()))) {
                    looks();
                }
            }
        });
    }

    private synchronized void begin() {
        if (!begun) {
            began = Usage.seconds();
            cpuBefore = Usage.cpuSeconds();
            takenBefore = takenHere.get();
            begun = true;
        }
    }

    private void looks() {
        if (ends.entrySet().stream().allMatch(end -> taken.get(end.getKey().partition()) >= end.getValue()
                || end.getValue() == 0)) {
            allTaken.countDown();
        }
    }

    long total() {
        return ends.values().stream().mapToLong(Long::longValue).sum();
    }

    boolean isAllTaken() {
        return allTaken.getCount() == 0;
    }

    /** Waits until every record has been taken; returns the seconds since the process began. */
    double awaitAllTaken() throws InterruptedException {
        allTaken.await();
        begin();
        return Usage.seconds();
    }

    /** Ends the streams, which commits, waits until that is done, and says what it all took. */
    Map<String, Object> finish(KafkaStreams streams, Cluster cluster, String program) throws Exception {
        double allTaken = awaitAllTaken();
        // It commits at once, however long the interval is.
        var closing = new Thread(() -> close(streams));
        closing.start();
        while (!cluster.committed(app, ends)) {
            Thread.sleep(5);
        }
        double committed = Usage.seconds();
        double cpu = Usage.cpuSeconds() - cpuBefore;
        closing.join();
        long records = takenHere.get() - takenBefore;
        double elapsed = committed - began;
        var line = new LinkedHashMap<String, Object>();
        line.put("program", program);
        line.put("mode", options.text("mode", "defaults"));
        line.put("guarantee", options.text("guarantee", "at_least_once"));
        line.put("records", records);
        line.put("first_record_s", began);
        line.put("taken_s", allTaken - began);
        line.put("elapsed_s", elapsed);
        line.put("records_per_s", records / elapsed);
        line.put("cpu_s", cpu);
        line.put("records_per_cpu_s", records / cpu);
        line.put("cpu_of_process_s", Usage.cpuSeconds());
        line.put("peak_bytes", Usage.peakBytes());
        return line;
    }

    /** Removes what nobody else can know of. */
    void cleanUp(Cluster cluster, String... topics) throws Exception {
        if (!options.has("app")) {
            for (var internal : topics) {
                cluster.deleteTopic(app + internal);
            }
        }
        if (!options.has("state")) {
            try (var files = Files.walk(state)) {
                files.sorted(Comparator.reverseOrder()).forEach(file -> file.toFile().delete());
            }
        }
    }
}
