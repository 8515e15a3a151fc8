package muster;

import com.alibaba.nacos.api.naming.NamingService;
import com.alibaba.nacos.api.naming.pojo.Instance;
import java.util.List;
import java.util.function.BiConsumer;

/** nacos-client 1.4 (HTTP, light beats, UDP push). */
final class Differs {
    private Differs() {}

    /** Pushes stay on loopback. */
    static void prepare() {
        System.setProperty("com.alibaba.nacos.client.naming.local.ip", "127.0.0.1");
    }

    static void batchRegister(NamingService naming, String service, String group, List<Instance> instances) {
        throw new UnsupportedOperationException("nacos-client 1.x registers one instance at a time");
    }

    static void fuzzyWatch(NamingService naming, String pattern, String group, BiConsumer<String, String> heard) {
        throw new UnsupportedOperationException("fuzzy watch came with nacos-client 3");
    }
}
