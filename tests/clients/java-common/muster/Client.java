package muster;

import com.alibaba.nacos.api.naming.NamingFactory;
import com.alibaba.nacos.api.naming.NamingService;
import com.alibaba.nacos.api.naming.listener.EventListener;
import com.alibaba.nacos.api.naming.listener.NamingEvent;
import com.alibaba.nacos.api.naming.pojo.Instance;
import com.alibaba.nacos.api.naming.pojo.ListView;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.stream.Collectors;

/**
 * Drives the unmodified nacos-client 1 (HTTP), 2 and 3 (gRPC): compiled once for each, beside a {@code Differs}
 * of each with what the SDKs do not share. Protocol: ../../README.md.
 */
public final class Client {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final PrintStream OUTPUT = new PrintStream(System.out, true, StandardCharsets.UTF_8);

    private final NamingService naming;

    /** What was subscribed to: unsubscribing takes the same listener. */
    private final Map<String, EventListener> listeners = new HashMap<>();

    private Client(NamingService naming) {
        this.naming = naming;
    }

    public static void main(String[] args) throws Exception {
        Properties properties = new Properties();
        properties.put("serverAddr", args[0]);
        if (!args[1].isEmpty()) {
            properties.put("namespace", args[1]);
        }
        Differs.prepare();
        Client client = new Client(NamingFactory.createNamingService(properties));
        say(Map.of("event", "started", "version", version()));
        BufferedReader input = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = input.readLine(); line != null; line = input.readLine()) {
            client.answer(JSON.readTree(line));
        }
        System.exit(0);
    }

    /** As the SDK's own package states it. */
    private static String version() throws Exception {
        Properties stated = new Properties();
        String file = "/META-INF/maven/com.alibaba.nacos/nacos-client/pom.properties";
        try (InputStream source = NamingService.class.getResourceAsStream(file)) {
            stated.load(source);
        }
        return stated.getProperty("version");
    }

    private void answer(JsonNode command) {
        JsonNode id = command.get("id");
        try {
            say(Map.of("id", id, "ok", act(command)));
        } catch (UnsupportedOperationException lacking) {
            say(Map.of("id", id, "unsupported", lacking.getMessage()));
        } catch (Exception error) {
            say(Map.of("id", id, "error", error.toString()));
        }
    }

    private Object act(JsonNode command) throws Exception {
        String service = command.path("service").asText();
        String group = group(command);
        switch (command.get("do").asText()) {
            case "register":
            case "update":
                naming.registerInstance(service, group, instance(command));
                return true;
            case "batch":
                List<Instance> instances = new ArrayList<>();
                command.get("instances").forEach(one -> instances.add(instance(one)));
                Differs.batchRegister(naming, service, group, instances);
                return true;
            case "deregister":
                naming.deregisterInstance(service, group, instance(command));
                return true;
            case "list":
                return text(list(service, group, clusters(command), command.get("healthy")));
            case "services":
                return services(command.path("page").asInt(1), command.path("size").asInt(10), group);
            case "subscribe":
                subscribe(command, service, group);
                return true;
            case "unsubscribe":
                naming.unsubscribe(service, group, clusters(command), listeners.remove(subscription(command)));
                return true;
            case "fuzzy":
                Differs.fuzzyWatch(naming, command.get("pattern").asText(), group, (name, change) ->
                        say(Map.of("event", "fuzzy", "service", name, "change", change)));
                return true;
            default:
                throw new IllegalArgumentException(command.toString());
        }
    }

    /** Asks the node, not the cache of the SDK. */
    private List<Instance> list(String service, String group, List<String> clusters, JsonNode healthy) throws Exception {
        return healthy == null
                ? naming.getAllInstances(service, group, clusters, false)
                : naming.selectInstances(service, group, clusters, healthy.asBoolean(), false);
    }

    private Map<String, Object> services(int page, int size, String group) throws Exception {
        ListView<String> view = naming.getServicesOfServer(page, size, group);
        return Map.of("count", view.getCount(), "names", view.getData());
    }

    private void subscribe(JsonNode command, String service, String group) throws Exception {
        EventListener listener = event -> {
            List<Instance> hosts = ((NamingEvent) event).getInstances();
            Map<String, Object> metadata = new HashMap<>();
            hosts.forEach(host -> metadata.put(host.getIp() + ":" + host.getPort(), host.getMetadata()));
            say(Map.of("event", "change", "service", service, "hosts", text(hosts), "metadata", metadata));
        };
        listeners.put(subscription(command), listener);
        naming.subscribe(service, group, clusters(command), listener);
    }

    private static String subscription(JsonNode command) {
        return command.path("service") + " " + group(command) + " " + clusters(command);
    }

    private static String group(JsonNode command) {
        String group = command.path("group").asText("");
        return group.isEmpty() ? "DEFAULT_GROUP" : group;
    }

    private static List<String> clusters(JsonNode command) {
        List<String> clusters = new ArrayList<>();
        command.path("clusters").forEach(cluster -> clusters.add(cluster.asText()));
        return clusters;
    }

    private static Instance instance(JsonNode what) {
        Instance instance = new Instance();
        instance.setIp(what.get("ip").asText());
        instance.setPort(what.get("port").asInt());
        instance.setWeight(what.path("weight").asDouble(1.0));
        instance.setEphemeral(what.path("ephemeral").asBoolean(true));
        if (what.path("cluster").isTextual()) {
            instance.setClusterName(what.get("cluster").asText());
        }
        what.path("metadata").fields().forEachRemaining(e -> instance.addMetadata(e.getKey(), e.getValue().asText()));
        return instance;
    }

    private static List<String> text(List<Instance> hosts) {
        return hosts.stream()
                .map(h -> h.getIp() + ":" + h.getPort() + "=" + h.isHealthy())
                .sorted()
                .collect(Collectors.toList());
    }

    private static synchronized void say(Map<String, Object> message) {
        try {
            OUTPUT.println("@@ " + JSON.writeValueAsString(message));
        } catch (Exception error) {
            throw new IllegalStateException(error);
        }
    }
}
