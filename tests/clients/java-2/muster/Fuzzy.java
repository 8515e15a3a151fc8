package muster;

import com.alibaba.nacos.api.naming.NamingService;
import java.util.function.BiConsumer;

/** Fuzzy watch, which came with nacos-client 3. */
final class Fuzzy {
    private Fuzzy() {}

    static void watch(NamingService naming, String pattern, String group, BiConsumer<String, String> heard) {
        throw new UnsupportedOperationException("fuzzy watch came with nacos-client 3");
    }
}
