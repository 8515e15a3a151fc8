package muster;

import com.alibaba.nacos.api.naming.NamingService;
import com.alibaba.nacos.api.naming.listener.AbstractFuzzyWatchEventWatcher;
import com.alibaba.nacos.api.naming.listener.FuzzyWatchChangeEvent;
import java.util.function.BiConsumer;

/** Fuzzy watch: hears of services by a pattern of their names. */
final class Fuzzy {
    private Fuzzy() {}

    /** Tells of services that come and go: name, and {@code ADD_SERVICE} or {@code DELETE_SERVICE}. */
    static void watch(NamingService naming, String pattern, String group, BiConsumer<String, String> heard)
            throws Exception {
        naming.fuzzyWatch(pattern, group, new AbstractFuzzyWatchEventWatcher() {
            @Override
            public void onEvent(FuzzyWatchChangeEvent event) {
                heard.accept(event.getServiceName(), event.getChangeType());
            }
        });
    }
}
