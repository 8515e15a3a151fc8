package muster;

import com.alibaba.nacos.api.naming.NamingFactory;
import com.alibaba.nacos.api.naming.NamingService;
import com.alibaba.nacos.api.naming.listener.NamingEvent;
import com.alibaba.nacos.api.naming.pojo.Instance;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.stream.Collectors;

/** Drives the unmodified nacos-client 1.4 (HTTP, light beats, UDP push). Protocol: ../README.md. */
public final class Client {
    private static final ObjectMapper JSON = new ObjectMapper();

    private final NamingService naming;

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
        say(Map.of("event", "started"));
        BufferedReader input = new BufferedReader(new InputStreamReader(System.in));
        for (String line = input.readLine(); line != null; line = input.readLine()) {
            JsonNode command = JSON.readTree(line);
            try {
                say(Map.of("id", command.get("id"), "ok", client.act(command)));
            } catch (Exception error) {
                say(Map.of("id", command.get("id"), "error", error.toString()));
            }
        }
        System.exit(0);
    }

    private Object act(JsonNode command) throws Exception {
        String service = command.get("service").asText();
        String group = command.path("group").asText("");
        group = group.isEmpty() ? "DEFAULT_GROUP" : group;
        switch (command.get("do").asText()) {
            case "register":
                naming.registerInstance(service, group, instance(command));
                return true;
            case "deregister":
                naming.deregisterInstance(service, group, instance(command));
                return true;
            case "list":
                return text(naming.getAllInstances(service, group, false));
            case "subscribe":
                naming.subscribe(service, group, event -> {
                    List<String> hosts = text(((NamingEvent) event).getInstances());
                    say(Map.of("event", "change", "service", service, "hosts", hosts));
                });
                return true;
            default:
                throw new IllegalArgumentException(command.toString());
        }
    }

    private static Instance instance(JsonNode command) {
        Instance instance = new Instance();
        instance.setIp(command.get("ip").asText());
        instance.setPort(command.get("port").asInt());
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
