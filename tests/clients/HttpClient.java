// HTTP/1.1 and HTTP/2 by java.net.http: PLAIN TLS KEYSTORE (PKCS 12, password "testtest").

import java.net.URI;
import java.net.http.HttpClient.Version;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.util.stream.IntStream;

class HttpClient {
    static void check(String what, Object found, Object expected) {
        if (!found.equals(expected)) {
            System.err.println(what + ": " + found + " and not " + expected);
            System.exit(1);
        }
    }

    public static void main(String[] arguments) throws Exception {
        System.setProperty("javax.net.ssl.trustStore", arguments[2]);
        System.setProperty("javax.net.ssl.trustStorePassword", "testtest");
        for (var base : new String[] {arguments[0], arguments[1]}) {
            for (var version : Version.values()) {
                var client = java.net.http.HttpClient.newBuilder().version(version).build();
                var get = HttpRequest.newBuilder(URI.create(base + "/")).build();
                for (int n = 0; n < 10; n++) {
                    HttpResponse<String> answer = client.send(get, BodyHandlers.ofString());
                    check("GET", answer.body(), "blue");
                    // Without TLS it asks for an upgrade to h2c, which is not made.
                    var spoken = base.startsWith("https") ? version : Version.HTTP_1_1;
                    check("the version", answer.version(), spoken);
                }
                var many = IntStream.range(0, 20).mapToObj(n -> client.sendAsync(get, BodyHandlers.ofString())).toList();
                for (var one : many) check("at once", one.get().body(), "blue");
                var large = "w".repeat(1 << 20);
                var post = HttpRequest.newBuilder(URI.create(base + "/echo")).POST(BodyPublishers.ofString(large)).build();
                check("a large body", client.send(post, BodyHandlers.ofString()).body().equals(large), true);
            }
        }
        System.out.println("done");
    }
}
