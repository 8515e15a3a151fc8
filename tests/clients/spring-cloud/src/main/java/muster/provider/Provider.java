package muster.provider;

import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.boot.web.server.context.WebServerApplicationContext;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.RestController;

/** A service: says hello, and from which port. */
@SpringBootApplication
public class Provider {
    public static void main(String[] args) {
        SpringApplication.run(Provider.class, args);
    }

    /** What it serves. */
    @RestController
    static class Hello {
        private final WebServerApplicationContext server;

        Hello(WebServerApplicationContext server) {
            this.server = server;
        }

        @GetMapping("/hello")
        String hello() {
            return "hello from " + server.getWebServer().getPort();
        }
    }
}
