package muster.consumer;

import java.util.List;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.cloud.client.discovery.DiscoveryClient;
import org.springframework.cloud.client.loadbalancer.LoadBalanced;
import org.springframework.context.annotation.Bean;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.PathVariable;
import org.springframework.web.bind.annotation.RestController;
import org.springframework.web.client.RestClient;

/** Calls services that it knows by name only. */
@SpringBootApplication
public class Consumer {
    public static void main(String[] args) {
        SpringApplication.run(Consumer.class, args);
    }

    @Bean
    @LoadBalanced
    static RestClient.Builder balanced() {
        return RestClient.builder();
    }

    /** What it serves. */
    @RestController
    static class Calls {
        private final DiscoveryClient discovery;
        private final RestClient services;

        Calls(DiscoveryClient discovery, RestClient.Builder balanced) {
            this.discovery = discovery;
            this.services = balanced.build();
        }

        /** What a provider answers that the load balancer chose. */
        @GetMapping("/call/{service}")
        String call(@PathVariable("service") String service) {
            return services.get().uri("http://" + service + "/hello").retrieve().body(String.class);
        }

        /** Where the providers are. */
        @GetMapping("/providers/{service}")
        List<String> providers(@PathVariable("service") String service) {
            return discovery.getInstances(service).stream()
                    .map(provider -> provider.getHost() + ":" + provider.getPort())
                    .sorted()
                    .toList();
        }
    }
}
