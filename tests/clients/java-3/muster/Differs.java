package muster;

import com.alibaba.nacos.api.naming.NamingService;
import com.alibaba.nacos.api.naming.listener.AbstractFuzzyWatchEventWatcher;
import com.alibaba.nacos.api.naming.listener.FuzzyWatchChangeEvent;
import com.alibaba.nacos.api.naming.pojo.Instance;
import java.util.List;
import java.util.function.BiConsumer;

/** nacos-client 3. */
final class Differs {
    private Differs() {}

    static void prepare() {}

    static void batchRegister(NamingService naming, String service, String group, List<Instance> instances)
            throws Exception {
        naming.batchRegisterInstance(service, group, instances);
    }

    /** Tells of services that come and go: name, and {@code ADD_SERVICE} or {@code DELETE_SERVICE}. */
    static void fuzzyWatch(NamingService naming, String pattern, String group, BiConsumer<String, String> heard)
            throws Exception {
        naming.fuzzyWatch(pattern, group, new AbstractFuzzyWatchEventWatcher() {
            @Override
            public void onEvent(FuzzyWatchChangeEvent event) {
                heard.accept(event.getServiceName(), event.getChangeType());
            }
        });
    }
}
