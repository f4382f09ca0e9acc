<?php
// Tidegate from PHP 8, with the extension curl: php shop.php DATA SALE ADMIN, each as HOST:PORT.
declare(strict_types=1);

const TIMEOUT_MS = 5_000; // for one request

/** An answer that is not 2xx: problem details (RFC 9457). `type` is stable, `detail` is for people. */
final class Problem extends RuntimeException
{
    public string $type;

    public function __construct(public int $status, public array $body)
    {
        parent::__construct($body['detail']);
        $this->type = $body['type'];
    }
}

/** There was no answer: a timeout or a broken connection. */
final class NoAnswer extends RuntimeException {}

/** A listener. The handle keeps its connection between requests; under FPM keep it in a static variable. */
final class Client
{
    private CurlHandle $handle;

    public function __construct(private string $address, private ?string $token = null)
    {
        $this->handle = curl_init();
    }

    /** Returns the status, the headers by their names in lower case, and the content. */
    public function send(string $method, string $path, mixed $body = null, array $headers = []): array
    {
        if ($this->token !== null) {
            $headers[] = "Authorization: Bearer $this->token";
        }
        $answered = [];
        curl_reset($this->handle); // options only: the connection stays
        curl_setopt_array($this->handle, [
            CURLOPT_URL => "http://$this->address$path",
            CURLOPT_CUSTOMREQUEST => $method,
            CURLOPT_RETURNTRANSFER => true,
            CURLOPT_TIMEOUT_MS => TIMEOUT_MS,
            CURLOPT_HEADERFUNCTION => function ($handle, string $line) use (&$answered): int {
                [$name, $value] = explode(':', $line, 2) + [1 => ''];
                $answered[strtolower($name)] = trim($value);
                return strlen($line);
            },
        ]);
        if ($body !== null) {
            // An empty array would be written as [], which is no object: write new stdClass() for {}.
            curl_setopt($this->handle, CURLOPT_POSTFIELDS, json_encode($body, JSON_THROW_ON_ERROR));
            $headers[] = 'Content-Type: application/json';
        }
        curl_setopt($this->handle, CURLOPT_HTTPHEADER, $headers);
        $content = curl_exec($this->handle);
        if ($content === false) {
            throw new NoAnswer(curl_error($this->handle));
        }
        $status = curl_getinfo($this->handle, CURLINFO_RESPONSE_CODE);
        // Integers beyond 64 bits stay texts, and do not become floats.
        $content = json_decode($content, true, 512, JSON_THROW_ON_ERROR | JSON_BIGINT_AS_STRING);
        if ($status >= 300) {
            throw new Problem($status, $content);
        }
        return [$status, $answered, $content];
    }

    /** Reads from the data API. A closed idle connection is the usual error of a kept one: repeat once. */
    public function read(string $path, ?string $after = null): array
    {
        $headers = $after === null ? [] : ["Tidegate-After: $after"];
        try {
            return $this->send('GET', $path, null, $headers);
        } catch (NoAnswer) {
            return $this->send('GET', $path, null, $headers);
        }
    }

    /** Repeats a request with its key until its outcome is known: without an answer it may have had its effect. */
    public function change(string $method, string $path, mixed $body, string $key, float $seconds = 30): array
    {
        for ($end = microtime(true) + $seconds, $wait = 0.1;; $wait = min($wait * 2, 2)) {
            try {
                [$status, $headers, $content] = $this->send($method, $path, $body, ["Idempotency-Key: $key"]);
                if ($status !== 202) {
                    return $content;
                }
                $wait = (float) $headers['retry-after']; // a payment is under way
            } catch (NoAnswer) {
                // Go on.
            } catch (Problem $problem) {
                if (!str_ends_with($problem->type, ':request-in-flight') && $problem->status !== 503) {
                    throw $problem;
                }
            }
            if (microtime(true) + $wait > $end) {
                throw new NoAnswer("$method $path: the outcome is unknown; repeat it later with the key $key");
            }
            usleep((int) ($wait * random_int(500_000, 1_000_000)));
        }
    }
}

/** Every change committed longer ago is in the answer. null: nothing is proven. */
function bound_ms(array $headers): ?int
{
    return preg_match('/^bound=(\d+)/', $headers['tidegate-freshness'], $found) ? (int) $found[1] : null;
}

/** Returns a new idempotency key. */
function new_key(): string
{
    return bin2hex(random_bytes(16));
}

[$data, $sale, $admin] = array_map(fn (string $address) => new Client($address), array_slice($argv, 1));

[, $headers, $price] = $data->read('/data/product_price/' . rawurlencode('42'));
echo "price: {$price['price_cents']} {$price['currency']}, bound: ", bound_ms($headers), " ms\n";

// Not http_build_query, which would write get[0]=…
$query = implode('&', array_map(fn ($id) => 'get=' . rawurlencode("product_price/$id"), ['42', '43']));
[, , $batch] = $data->read("/data/batch?$query&atomic=true");
$found = array_filter($batch['items'], fn ($item) => $item['status'] === 200);
echo 'batch: ', implode(' ', array_map(fn ($item) => $item['value']['price_cents'], $found)), "\n";

try {
    $data->read('/data/product_price/999999');
} catch (Problem $problem) {
    echo "absent: $problem->type\n";
}

echo "change the price of 42, commit, and press enter\n";
fgets(STDIN);
[, , $token] = $admin->send('POST', '/api/v1/token'); // after the commit
[, , $price] = $data->read('/data/product_price/42', $token['token']);
echo "own write: {$price['price_cents']}\n";

// Keys are made once for each step of the customer, and stored with the cart.
$lines = [['sku' => 'A', 'quantity' => 1]];
$hold = $sale->change('POST', '/v1/holds', ['customer' => 'c1', 'lines' => $lines], new_key());
$payment = ['method' => 'pm_card', 'amount' => 1999, 'currency' => 'EUR'];
$order = $sale->change('POST', '/v1/checkouts', ['hold' => $hold['hold'], 'payment' => $payment], new_key());
echo "order: {$order['order']} {$order['amount']} {$order['currency']}\n";

try {
    $lines = [['sku' => 'A', 'quantity' => 1000]];
    $sale->change('POST', '/v1/holds', ['customer' => 'c1', 'lines' => $lines], new_key());
} catch (Problem $problem) {
    echo "refused: $problem->type {$problem->body['lines'][0]['available']}\n";
}
