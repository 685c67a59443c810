package millpond;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.util.UUID;
import org.apache.kafka.common.serialization.Deserializer;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;

/** A key or value of some type as JSON, and as Kafka's own serializers write it. */
final class Typed {
    static final String USAGE = """
            Types are string, long, integer, short, double, uuid (as text), json (any, as text in UTF-8) and bytes (in base64);
            null is null in every type.
            """;
    static final String[] TYPES = {"string", "long", "integer", "short", "double", "uuid", "json", "bytes"};

    private final String type;

    Typed(String type) {
        this.type = type;
    }

    byte[] bytes(String topic, JsonNode node) throws IOException {
        if (node == null || node.isNull()) {
            return null;
        }
        return switch (type) {
            case "string" -> Serdes.String().serializer().serialize(topic, node.textValue());
            case "long" -> Serdes.Long().serializer().serialize(topic, node.longValue());
            case "integer" -> Serdes.Integer().serializer().serialize(topic, node.intValue());
            case "short" -> Serdes.Short().serializer().serialize(topic, node.shortValue());
            case "double" -> Serdes.Double().serializer().serialize(topic, node.doubleValue());
            case "uuid" -> Serdes.UUID().serializer().serialize(topic, UUID.fromString(node.textValue()));
            case "json" -> Options.JSON.writeValueAsBytes(node);
            default -> node.binaryValue();
        };
    }

    /** What Jackson writes as the JSON that {@link #bytes} was given. */
    Object object(String topic, byte[] bytes) throws IOException {
        if (bytes == null) {
            return null;
        }
        return switch (type) {
            case "string" -> read(Serdes.String(), topic, bytes);
            case "long" -> read(Serdes.Long(), topic, bytes);
            case "integer" -> read(Serdes.Integer(), topic, bytes);
            case "short" -> read(Serdes.Short(), topic, bytes);
            case "double" -> read(Serdes.Double(), topic, bytes);
            case "uuid" -> read(Serdes.UUID(), topic, bytes).toString();
            case "json" -> Options.JSON.readTree(bytes);
            default -> bytes;
        };
    }

    private static <T> T read(Serde<T> serde, String topic, byte[] bytes) {
        Deserializer<T> deserializer = serde.deserializer();
        return deserializer.deserialize(topic, bytes);
    }
}
