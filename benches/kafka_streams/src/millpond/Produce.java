package millpond;

import java.util.LinkedHashMap;
import java.util.Properties;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.serialization.LongSerializer;

/** Writes records as fast as it can. */
public final class Produce {
    private static final String USAGE = """
            Usage: run Produce --topic TOPIC [OPTIONS]

            Writes records with 8-byte keys (big-endian) and 16-byte values (an amount and the number of the record) to a topic,
            idempotent, as fast as it can. Makes the topic if there is none.

              --bootstrap HOST:PORT   127.0.0.1:9092 unless set
              --records N             1000000 unless set
              --keys N                below which keys are; 1000000 unless set
              --distribution D        uniform (usual) or zipf: how often each key comes up
              --seed N                of the keys; 42 unless set
              --partitions N          of a topic that is made; 2 unless set
              --compression C         lz4 unless set
            """;

    public static void main(String[] arguments) throws Exception {
        var options = new Options(arguments, USAGE);
        long records = options.number("records", 1_000_000);
        var topic = options.text("topic");
        var keys = Input.keys(
                options.choice("distribution", "uniform", "zipf"),
                options.number("keys", 1_000_000),
                options.number("seed", 42));
        try (var cluster = new Cluster(options.bootstrap())) {
            cluster.createTopic(topic, (int) options.number("partitions", 2));
        }
        var settings = new Properties();
        settings.put("bootstrap.servers", options.bootstrap());
        settings.put("compression.type", options.text("compression", "lz4"));
        settings.put("linger.ms", 5);
        settings.put("batch.size", 1 << 19);
        settings.put("buffer.memory", 1L << 27);
        double began = Usage.seconds();
        double cpu = Usage.cpuSeconds();
        var failed = new AtomicReference<Exception>();
        try (var producer = new KafkaProducer<>(settings, new LongSerializer(), new ByteArraySerializer())) {
            for (long record = 0; record < records; record++) {
                producer.send(new ProducerRecord<>(topic, keys.getAsLong(), Input.value(record)), (written, error) -> {
                    if (error != null) {
                        failed.compareAndSet(null, error);
                    }
                });
            }
            producer.flush();
        }
        if (failed.get() != null) {
            throw failed.get();
        }
        double elapsed = Usage.seconds() - began;
        cpu = Usage.cpuSeconds() - cpu;
        var line = new LinkedHashMap<String, Object>();
        line.put("program", "Produce");
        line.put("records", records);
        line.put("sum", Input.sum(records));
        line.put("elapsed_s", elapsed);
        line.put("records_per_s", records / elapsed);
        line.put("cpu_s", cpu);
        line.put("records_per_cpu_s", records / cpu);
        line.put("peak_bytes", Usage.peakBytes());
        Options.print(line);
    }
}
