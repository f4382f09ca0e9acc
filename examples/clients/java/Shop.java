// Tidegate from Java 17, with the JDK alone: java Shop.java DATA SALE ADMIN, each as HOST:PORT.
// Its JSON reader is at the end; a shop has Jackson or Gson in its place.

import java.io.IOException;
import java.math.BigDecimal;
import java.net.URI;
import java.net.URLEncoder;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.ThreadLocalRandom;

public final class Shop {
    static final Duration TIMEOUT = Duration.ofSeconds(5); // for one request

    /** One client for the whole program: it has the pool of connections, and any thread may use it. */
    static final HttpClient HTTP = HttpClient.newBuilder()
            .version(HttpClient.Version.HTTP_1_1) // the default offers an upgrade to HTTP/2 with each request
            .connectTimeout(TIMEOUT)
            .build();

    /** An answer that is not 2xx: problem details (RFC 9457). `type` is stable, `detail` is for people. */
    static final class Problem extends RuntimeException {
        final int status;
        final Json body;

        Problem(int status, Json body) {
            super(body.text("detail"));
            this.status = status;
            this.body = body;
        }

        String type() {
            return body.text("type");
        }
    }

    record Answer(HttpResponse<String> response, Json content) {
        /** Every change committed longer ago is in the answer. Null: nothing is proven. */
        Long boundMs() {
            String freshness = response.headers().firstValue("Tidegate-Freshness").orElse("unproven");
            String first = freshness.split(",")[0];
            return first.startsWith("bound=") ? Long.valueOf(first.substring(6)) : null;
        }
    }

    /** A listener. */
    record Client(String address, String token) {
        Answer send(String method, String path, String body, String... headers) throws IOException, InterruptedException {
            var request = HttpRequest.newBuilder(URI.create("http://" + address + path)).timeout(TIMEOUT);
            if (token != null) request.header("Authorization", "Bearer " + token);
            if (headers.length > 0) request.headers(headers);
            if (body != null) request.header("Content-Type", "application/json");
            request.method(method, body == null
                    ? HttpRequest.BodyPublishers.noBody()
                    : HttpRequest.BodyPublishers.ofString(body));
            var response = HTTP.send(request.build(), HttpResponse.BodyHandlers.ofString());
            Json content = Json.parse(response.body());
            if (response.statusCode() >= 300) throw new Problem(response.statusCode(), content);
            return new Answer(response, content);
        }

        /** Reads from the data API. A closed idle connection is the usual error of a kept one: repeat once. */
        Answer read(String path, String... headers) throws IOException, InterruptedException {
            try {
                return send("GET", path, null, headers);
            } catch (IOException noAnswer) {
                return send("GET", path, null, headers);
            }
        }

        /** Repeats a request with its key until its outcome is known: without an answer it may have had its effect. */
        Json change(String method, String path, String body, String key) throws InterruptedException {
            long end = System.nanoTime() + Duration.ofSeconds(30).toNanos();
            for (long wait = 100;; wait = Math.min(wait * 2, 2_000)) {
                try {
                    Answer answer = send(method, path, body, "Idempotency-Key", key);
                    if (answer.response.statusCode() != 202) return answer.content;
                    // A payment is under way.
                    wait = answer.response.headers().firstValueAsLong("Retry-After").orElse(1) * 1_000;
                } catch (Problem problem) {
                    boolean inFlight = problem.type().endsWith(":request-in-flight");
                    if (!inFlight && problem.status != 503) throw problem;
                } catch (IOException noAnswer) {
                    // A timeout or a broken connection.
                }
                if (System.nanoTime() + wait * 1_000_000 > end) {
                    throw new IllegalStateException(
                            method + " " + path + ": the outcome is unknown; repeat it later with the key " + key);
                }
                Thread.sleep(ThreadLocalRandom.current().nextLong(wait / 2, wait + 1));
            }
        }
    }

    static String newKey() {
        return UUID.randomUUID().toString();
    }

    public static void main(String[] addresses) throws Exception {
        var data = new Client(addresses[0], null);
        var sale = new Client(addresses[1], null);
        var admin = new Client(addresses[2], null);

        Answer price = data.read("/data/product_price/42");
        System.out.println("price: " + price.content.number("price_cents") + " " + price.content.text("currency")
                + ", bound: " + price.boundMs() + " ms");

        String item = URLEncoder.encode("product_price/", StandardCharsets.UTF_8);
        Json batch = data.read("/data/batch?get=" + item + "42&get=" + item + "43&atomic=true").content;
        var prices = new ArrayList<String>();
        for (Json each : batch.list("items")) {
            if (each.number("status") == 200) prices.add("" + each.member("value").number("price_cents"));
        }
        System.out.println("batch: " + String.join(" ", prices));

        try {
            data.read("/data/product_price/999999");
        } catch (Problem problem) {
            System.out.println("absent: " + problem.type());
        }

        System.out.println("change the price of 42, commit, and press enter");
        System.in.read();
        String token = admin.send("POST", "/api/v1/token", null).content.text("token"); // after the commit
        Json written = data.read("/data/product_price/42", "Tidegate-After", token).content;
        System.out.println("own write: " + written.number("price_cents"));

        // Keys are made once for each step of the customer, and stored with the cart.
        String lines = "[{\"sku\":\"A\",\"quantity\":1}]";
        Json hold = sale.change("POST", "/v1/holds", "{\"customer\":\"c1\",\"lines\":" + lines + "}", newKey());
        String payment = "{\"method\":\"pm_card\",\"amount\":1999,\"currency\":\"EUR\"}";
        Json order = sale.change("POST", "/v1/checkouts",
                "{\"hold\":\"" + hold.text("hold") + "\",\"payment\":" + payment + "}", newKey());
        System.out.println("order: " + order.text("order") + " " + order.number("amount") + " " + order.text("currency"));

        try {
            String many = "{\"customer\":\"c1\",\"lines\":[{\"sku\":\"A\",\"quantity\":1000}]}";
            sale.change("POST", "/v1/holds", many, newKey());
        } catch (Problem problem) {
            long left = problem.body.list("lines").get(0).number("available");
            System.out.println("refused: " + problem.type() + " " + left);
        }
    }

    /** A value of JSON. Numbers keep their digits. */
    record Json(Object value) {
        static Json parse(String text) {
            return new Json(new Reader(text).value());
        }

        Json member(String name) {
            return new Json(((Map<?, ?>) value).get(name));
        }

        String text(String name) {
            return (String) member(name).value;
        }

        long number(String name) {
            return ((BigDecimal) member(name).value).longValueExact();
        }

        List<Json> list(String name) {
            return ((List<?>) member(name).value).stream().map(Json::new).toList();
        }

        private static final class Reader {
            private final String text;
            private int at;

            Reader(String text) {
                this.text = text;
            }

            Object value() {
                switch (peek()) {
                    case '{': return object();
                    case '[': return array();
                    case '"': return string();
                    case 't': at += 4; return true;
                    case 'f': at += 5; return false;
                    case 'n': at += 4; return null;
                    default:
                        int start = at;
                        while (at < text.length() && "+-.eE0123456789".indexOf(text.charAt(at)) >= 0) at++;
                        return new BigDecimal(text.substring(start, at));
                }
            }

            private Map<String, Object> object() {
                var object = new LinkedHashMap<String, Object>();
                next();
                if (peek() == '}') { at++; return object; }
                do {
                    peek();
                    String name = string();
                    next(); // the colon
                    object.put(name, value());
                } while (next() == ',');
                return object;
            }

            private List<Object> array() {
                var array = new ArrayList<>();
                next();
                if (peek() == ']') { at++; return array; }
                do array.add(value()); while (next() == ',');
                return array;
            }

            private String string() {
                next();
                var string = new StringBuilder();
                for (char c; (c = text.charAt(at++)) != '"';) {
                    if (c != '\\') { string.append(c); continue; }
                    char escaped = text.charAt(at++);
                    switch (escaped) {
                        case 'b' -> string.append('\b');
                        case 'f' -> string.append('\f');
                        case 'n' -> string.append('\n');
                        case 'r' -> string.append('\r');
                        case 't' -> string.append('\t');
                        case 'u' -> { string.append((char) Integer.parseInt(text, at, at + 4, 16)); at += 4; }
                        default -> string.append(escaped);
                    }
                }
                return string.toString();
            }

            private char peek() {
                while (Character.isWhitespace(text.charAt(at))) at++;
                return text.charAt(at);
            }

            private char next() {
                char c = peek();
                at++;
                return c;
            }
        }
    }
}
