package millpond;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** The arguments of a program, each {@code --name value}, and what it prints. Wrong ones end it with code 2. */
final class Options {
    static final ObjectMapper JSON = new ObjectMapper();

    private final Map<String, String> given = new HashMap<>();

    /** {@code usage} names every option as {@code --name}. */
    Options(String[] arguments, String usage) {
        var known = List.of(usage.split("[^a-z-]+"));
        for (int at = 0; at < arguments.length; at += 2) {
            if (arguments[at].equals("--help") || arguments[at].equals("-h")) {
                System.out.print(usage);
                System.exit(0);
            }
            if (!arguments[at].startsWith("--") || !known.contains(arguments[at])) {
                throw wrong("there is no option " + arguments[at]);
            }
            if (at + 1 == arguments.length) {
                throw wrong(arguments[at] + " takes a value");
            }
            given.put(arguments[at].substring(2), arguments[at + 1]);
        }
    }

    boolean has(String name) {
        return given.containsKey(name);
    }

    String text(String name) {
        if (!has(name)) {
            throw wrong("--" + name + " is needed");
        }
        return given.get(name);
    }

    String text(String name, String usual) {
        return given.getOrDefault(name, usual);
    }

    /** One of {@code choices}, of which the first is the usual one. */
    String choice(String name, String... choices) {
        var chosen = given.getOrDefault(name, choices[0]);
        if (!List.of(choices).contains(chosen)) {
            throw wrong("--" + name + " is one of " + String.join(", ", choices) + ", not " + chosen);
        }
        return chosen;
    }

    long number(String name, long usual) {
        try {
            return Long.parseLong(given.getOrDefault(name, Long.toString(usual)));
        } catch (NumberFormatException e) {
            throw wrong("--" + name + " takes a number, not " + given.get(name));
        }
    }

    String bootstrap() {
        return text("bootstrap", "127.0.0.1:9092");
    }

    static RuntimeException wrong(String why) {
        System.err.println(why + "; see --help");
        System.exit(2);
        return new IllegalArgumentException(why);
    }

    /** Prints one line of JSON to the standard output. */
    static void print(Map<String, ?> line) {
        try {
            System.out.println(JSON.writeValueAsString(line));
        } catch (JsonProcessingException e) {
            throw new IllegalStateException(e);
        }
    }
}
