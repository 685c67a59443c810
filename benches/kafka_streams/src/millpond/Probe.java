package millpond;

import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.SplittableRandom;
import java.util.concurrent.locks.LockSupport;
import org.apache.kafka.streams.errors.InvalidStateStoreException;
import org.apache.kafka.streams.state.ReadOnlyKeyValueStore;

/** A thread that reads random keys while the store is written, and remembers how long each read took. */
final class Probe extends Thread {
    private final long rate;
    private final long keys;
    private final ReadOnlyKeyValueStore<Long, ?> rows;
    private final Streaming streaming;
    private long[] nanos = new long[1 << 16];
    private int reads;
    private long refused;

    Probe(Options options, ReadOnlyKeyValueStore<Long, ?> rows, Streaming streaming) {
        rate = options.number("probe", 0);
        keys = options.number("keys", 1_000_000);
        this.rows = rows;
        this.streaming = streaming;
        start();
    }

    @Override
    public void run() {
        var random = new SplittableRandom(7);
        long next = System.nanoTime();
        while (!streaming.isAllTaken()) {
            if (rate > 0) {
                next += 1_000_000_000 / rate;
                while (System.nanoTime() < next) {
                    LockSupport.parkNanos(next - System.nanoTime());
                }
            }
            long key = random.nextLong(keys);
            long began = System.nanoTime();
            try {
                rows.get(key);
                remember(System.nanoTime() - began);
            } catch (InvalidStateStoreException e) {
                refused++;
            }
        }
    }

    private void remember(long took) {
        if (reads == nanos.length) {
            nanos = Arrays.copyOf(nanos, 2 * reads);
        }
        nanos[reads++] = took;
    }

    /** Microseconds, when all records have been taken. */
    Map<String, Object> ended() throws InterruptedException {
        join();
        Arrays.sort(nanos, 0, reads);
        var line = new LinkedHashMap<String, Object>();
        line.put("count", reads);
        line.put("refused", refused);
        line.put("p50_us", part(0.5));
        line.put("p99_us", part(0.99));
        line.put("p999_us", part(0.999));
        line.put("max_us", part(1));
        return line;
    }

    private double part(double part) {
        return reads == 0 ? 0 : nanos[(int) Math.min(reads - 1, (long) (part * reads))] / 1e3;
    }
}
