package millpond;

import java.nio.ByteBuffer;
import java.util.SplittableRandom;
import java.util.function.LongSupplier;

/** The records that {@link Produce} writes: what their values are, so that others can say what they must add up to. */
final class Input {
    /** A value: an amount and the number of the record, both big-endian. */
    static final int VALUE_BYTES = 16;

    private Input() {}

    static long amount(long record) {
        return 1 + record % 1000;
    }

    static byte[] value(long record) {
        return ByteBuffer.allocate(VALUE_BYTES).putLong(amount(record)).putLong(record).array();
    }

    /** The sum of the amounts of so many records. */
    static long sum(long records) {
        long rest = records % 1000;
        return records / 1000 * 500_500 + rest * (rest + 1) / 2;
    }

    /** Keys below {@code count}, the same for the same seed. */
    static LongSupplier keys(String distribution, long count, long seed) {
        var random = new SplittableRandom(seed);
        if (distribution.equals("uniform")) {
            return () -> random.nextLong(count);
        }
        // Zipf's law with exponent 1: the share of key k is as 1 / (k + 1).
        var upTo = new double[Math.toIntExact(count)];
        double total = 0;
        for (int key = 0; key < upTo.length; key++) {
            total += 1.0 / (key + 1);
            upTo[key] = total;
        }
        double all = total;
        return () -> {
            int found = java.util.Arrays.binarySearch(upTo, random.nextDouble() * all);
            return found >= 0 ? found : -found - 1;
        };
    }
}
