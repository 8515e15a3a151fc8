package muster;

import com.alibaba.nacos.api.naming.NamingService;
import com.alibaba.nacos.api.naming.pojo.Instance;
import java.util.List;
import java.util.function.BiConsumer;

/** nacos-client 2. */
final class Differs {
    private Differs() {}

    static void prepare() {}

    static void batchRegister(NamingService naming, String service, String group, List<Instance> instances)
            throws Exception {
        naming.batchRegisterInstance(service, group, instances);
    }

    static void fuzzyWatch(NamingService naming, String pattern, String group, BiConsumer<String, String> heard) {
        throw new UnsupportedOperationException("fuzzy watch came with nacos-client 3");
    }
}
