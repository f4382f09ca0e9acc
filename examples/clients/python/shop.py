"""Tidegate from Python, with the standard library: python3 shop.py DATA SALE ADMIN, each as HOST:PORT."""

import http.client
import json
import random
import sys
import time
import uuid
from urllib.parse import quote, urlencode

TIMEOUT = 5  # seconds for one request


class Problem(Exception):
    """An answer that is not 2xx: problem details (RFC 9457). `type` is stable, `detail` is for people."""

    def __init__(self, status, body):
        super().__init__(body["detail"])
        self.status, self.type, self.body = status, body["type"], body


class Client:
    """One kept connection to one listener. It is for one thread: keep a client for each, or use urllib3's pool."""

    def __init__(self, address, token=None):
        self.connection = http.client.HTTPConnection(address, timeout=TIMEOUT)
        self.headers = {"Authorization": f"Bearer {token}"} if token else {}

    def send(self, method, path, body=None, headers={}):
        headers = {**self.headers, **headers}
        if body is not None:
            body, headers["Content-Type"] = json.dumps(body), "application/json"
        try:
            self.connection.request(method, path, body, headers)
            response = self.connection.getresponse()
            content = response.read()  # to the end, or the connection can't be used again
        except Exception:
            self.connection.close()  # the next request connects again
            raise
        content = json.loads(content)
        if response.status >= 300:
            raise Problem(response.status, content)
        return response, content

    def read(self, path, after=None):
        """Reads from the data API. A closed idle connection is the usual error of a kept one: repeat once."""
        headers = {"Tidegate-After": after} if after else {}
        try:
            return self.send("GET", path, None, headers)
        except (http.client.HTTPException, OSError):
            return self.send("GET", path, None, headers)

    def change(self, method, path, body, key, seconds=30):
        """Repeats a request with its key until its outcome is known: without an answer it may have had its effect."""
        end, wait = time.monotonic() + seconds, 0.1
        while True:
            try:
                response, content = self.send(method, path, body, {"Idempotency-Key": key})
                if response.status != 202:
                    return content
                wait = int(response.headers["Retry-After"])  # a payment is under way
            except Problem as problem:
                in_flight = problem.type.endswith(":request-in-flight")
                if not in_flight and problem.status != 503:
                    raise
            except (http.client.HTTPException, OSError):
                pass  # a timeout or a broken connection
            if time.monotonic() + wait > end:
                raise TimeoutError(f"{method} {path}: the outcome is unknown; repeat it later with the key {key}")
            time.sleep(wait * random.uniform(0.5, 1))
            wait = min(wait * 2, 2)


def bound_ms(response):
    """Every change committed longer ago is in the answer. None: nothing is proven."""
    bound = response.headers["Tidegate-Freshness"].split(",")[0]
    return int(bound.removeprefix("bound=")) if bound.startswith("bound=") else None


def main(data, sale, admin):
    data, sale, admin = Client(data), Client(sale), Client(admin)

    response, price = data.read("/data/product_price/" + quote("42", safe=""))
    print(f"price: {price['price_cents']} {price['currency']}, bound: {bound_ms(response)} ms")

    query = urlencode([("get", "product_price/42"), ("get", "product_price/43"), ("atomic", "true")])
    _, batch = data.read("/data/batch?" + query)
    print("batch:", *(item["value"]["price_cents"] for item in batch["items"] if item["status"] == 200))

    try:
        data.read("/data/product_price/999999")
    except Problem as problem:
        print("absent:", problem.type)

    input("change the price of 42, commit, and press enter\n")
    _, token = admin.send("POST", "/api/v1/token")  # after the commit
    _, price = data.read("/data/product_price/42", after=token["token"])
    print("own write:", price["price_cents"])

    # Keys are made once for each step of the customer, and stored with the cart.
    lines = [{"sku": "A", "quantity": 1}]
    hold = sale.change("POST", "/v1/holds", {"customer": "c1", "lines": lines}, str(uuid.uuid4()))
    payment = {"method": "pm_card", "amount": 1999, "currency": "EUR"}
    order = sale.change("POST", "/v1/checkouts", {"hold": hold["hold"], "payment": payment}, str(uuid.uuid4()))
    print(f"order: {order['order']} {order['amount']} {order['currency']}")

    try:
        lines = [{"sku": "A", "quantity": 1000}]
        sale.change("POST", "/v1/holds", {"customer": "c1", "lines": lines}, str(uuid.uuid4()))
    except Problem as problem:
        print("refused:", problem.type, problem.body["lines"][0]["available"])


main(*sys.argv[1:])
