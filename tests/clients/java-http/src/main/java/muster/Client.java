package muster;

import com.alibaba.nacos.api.naming.NamingFactory;
import com.alibaba.nacos.api.naming.NamingService;
import com.alibaba.nacos.api.naming.listener.EventListener;
import com.alibaba.nacos.api.naming.listener.NamingEvent;
import com.alibaba.nacos.api.naming.pojo.Instance;
import com.alibaba.nacos.api.naming.pojo.ListView;
import com.alibaba.nacos.common.utils.VersionUtils;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.stream.Collectors;

/** Drives the unmodified nacos-client 1.4 (HTTP, light beats, UDP push). Protocol: ../README.md. */
public final class Client {
    private static final ObjectMapper JSON = new ObjectMapper();

    private final NamingService naming;
    private final Map<String, EventListener> listeners = new HashMap<>();

    private Client(NamingService naming) {
        this.naming = naming;
    }

    public static void main(String[] args) throws Exception {
        // pushes stay on loopback
        System.setProperty("com.alibaba.nacos.client.naming.local.ip", "127.0.0.1");
        Properties properties = new Properties();
        properties.put("serverAddr", args[0]);
        if (!args[1].isEmpty()) {
            properties.put("namespace", args[1]);
        }
        Client client = new Client(NamingFactory.createNamingService(properties));
        say(Map.of("event", "started", "version", VersionUtils.version));
        BufferedReader input = new BufferedReader(new InputStreamReader(System.in));
        for (String line = input.readLine(); line != null; line = input.readLine()) {
            JsonNode command = JSON.readTree(line);
            try {
                say(Map.of("id", command.get("id"), "ok", client.act(command)));
            } catch (UnsupportedOperationException why) {
                say(Map.of("id", command.get("id"), "unsupported", why.getMessage()));
            } catch (Exception error) {
                say(Map.of("id", command.get("id"), "error", error.toString()));
            }
        }
        System.exit(0);
    }

    private Object act(JsonNode command) throws Exception {
        String service = command.path("service").asText();
        String group = command.path("group").asText("DEFAULT_GROUP");
        List<String> clusters = new ArrayList<>();
        command.path("clusters").forEach(cluster -> clusters.add(cluster.asText()));
        switch (command.get("do").asText()) {
            case "register":
            case "update":
                naming.registerInstance(service, group, instance(command));
                return true;
            case "batch":
                throw new UnsupportedOperationException("nacos-client 1.x registers one instance at a time");
            case "deregister":
                naming.deregisterInstance(service, group, instance(command));
                return true;
            case "list":
                return text(command.has("healthy")
                        ? naming.selectInstances(service, group, clusters, command.get("healthy").asBoolean(), false)
                        : naming.getAllInstances(service, group, clusters, false));
            case "services":
                ListView<String> page =
                        naming.getServicesOfServer(command.get("page").asInt(), command.get("size").asInt(), group);
                return Map.of("count", page.getCount(), "names", page.getData());
            case "subscribe":
                EventListener listener = event -> changed(service, ((NamingEvent) event).getInstances());
                listeners.put(group + "@@" + service, listener);
                naming.subscribe(service, group, clusters, listener);
                return true;
            case "unsubscribe":
                naming.unsubscribe(service, group, clusters, listeners.remove(group + "@@" + service));
                return true;
            default:
                throw new IllegalArgumentException(command.toString());
        }
    }

    private static void changed(String service, List<Instance> hosts) {
        Map<String, Object> metadata = new HashMap<>();
        hosts.forEach(h -> metadata.put(h.getIp() + ":" + h.getPort(), h.getMetadata()));
        say(Map.of("event", "change", "service", service, "hosts", text(hosts), "metadata", metadata));
    }

    private static Instance instance(JsonNode command) {
        Instance instance = new Instance();
        instance.setIp(command.get("ip").asText());
        instance.setPort(command.get("port").asInt());
        instance.setWeight(command.path("weight").asDouble(1.0));
        instance.setEphemeral(command.path("ephemeral").asBoolean(true));
        if (command.has("cluster")) {
            instance.setClusterName(command.get("cluster").asText());
        }
        command.path("metadata").fields().forEachRemaining(e -> instance.addMetadata(e.getKey(), e.getValue().asText()));
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
            System.out.println("@@ " + JSON.writeValueAsString(message));
            System.out.flush();
        } catch (Exception error) {
            throw new IllegalStateException(error);
        }
    }
}
