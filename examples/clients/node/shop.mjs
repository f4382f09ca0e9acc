// Tidegate from Node 20, with its own fetch: node shop.mjs DATA SALE ADMIN, each as HOST:PORT.
import { randomUUID } from "node:crypto";
import { createInterface } from "node:readline/promises";
import { setTimeout as sleep } from "node:timers/promises";

const TIMEOUT = 5_000; // ms for one request

/** An answer that is not 2xx: problem details (RFC 9457). `type` is stable, `detail` is for people. */
class Problem extends Error {
  constructor(status, body) {
    super(body.detail);
    Object.assign(this, { status, type: body.type, body });
  }
}

/** A listener. fetch keeps and pools connections by itself, as long as every body is read to its end. */
class Client {
  constructor(address, token) {
    this.url = `http://${address}`;
    this.headers = token ? { Authorization: `Bearer ${token}` } : {};
  }

  async send(method, path, body, headers = {}) {
    headers = { ...this.headers, ...headers };
    if (body !== undefined) headers["Content-Type"] = "application/json";
    const signal = AbortSignal.timeout(TIMEOUT);
    const response = await fetch(this.url + path, { method, headers, body: JSON.stringify(body), signal });
    // Numbers beyond 2^53 would lose digits here: select such ids as text in the contract (`id::text`).
    const content = JSON.parse(await response.text());
    if (!response.ok) throw new Problem(response.status, content);
    return { response, content };
  }

  /** Reads from the data API. A closed idle connection is the usual error of a kept one: repeat once. */
  async read(path, after) {
    const headers = after ? { "Tidegate-After": after } : {};
    try {
      return await this.send("GET", path, undefined, headers);
    } catch (error) {
      if (error instanceof Problem) throw error;
      return await this.send("GET", path, undefined, headers);
    }
  }

  /** Repeats a request with its key until its outcome is known: without an answer it may have had its effect. */
  async change(method, path, body, key, seconds = 30) {
    const end = Date.now() + seconds * 1_000;
    for (let wait = 100; ; wait = Math.min(wait * 2, 2_000)) {
      try {
        const { response, content } = await this.send(method, path, body, { "Idempotency-Key": key });
        if (response.status !== 202) return content;
        wait = Number(response.headers.get("Retry-After")) * 1_000; // a payment is under way
      } catch (error) {
        const inFlight = error.type?.endsWith(":request-in-flight");
        if (error instanceof Problem && !inFlight && error.status !== 503) throw error;
        // Else a timeout or a broken connection.
      }
      if (Date.now() + wait > end) {
        throw new Error(`${method} ${path}: the outcome is unknown; repeat it later with the key ${key}`);
      }
      await sleep(wait * (0.5 + Math.random() / 2));
    }
  }
}

/** Every change committed longer ago is in the answer. null: nothing is proven. */
function boundMs(response) {
  const bound = /^bound=(\d+)/.exec(response.headers.get("Tidegate-Freshness"));
  return bound && Number(bound[1]);
}

const [data, sale, admin] = process.argv.slice(2).map((address) => new Client(address));

const { response, content: price } = await data.read("/data/product_price/" + encodeURIComponent("42"));
console.log(`price: ${price.price_cents} ${price.currency}, bound: ${boundMs(response)} ms`);

const query = new URLSearchParams([["get", "product_price/42"], ["get", "product_price/43"], ["atomic", "true"]]);
const { content: batch } = await data.read(`/data/batch?${query}`);
const found = batch.items.filter((item) => item.status === 200);
console.log("batch:", ...found.map((item) => item.value.price_cents));

await data.read("/data/product_price/999999").catch((problem) => console.log("absent:", problem.type));

const terminal = createInterface({ input: process.stdin });
console.log("change the price of 42, commit, and press enter");
await terminal[Symbol.asyncIterator]().next();
terminal.close();
const { content: token } = await admin.send("POST", "/api/v1/token"); // after the commit
const { content: written } = await data.read("/data/product_price/42", token.token);
console.log("own write:", written.price_cents);

// Keys are made once for each step of the customer, and stored with the cart.
const lines = [{ sku: "A", quantity: 1 }];
const hold = await sale.change("POST", "/v1/holds", { customer: "c1", lines }, randomUUID());
const payment = { method: "pm_card", amount: 1999, currency: "EUR" };
const order = await sale.change("POST", "/v1/checkouts", { hold: hold.hold, payment }, randomUUID());
console.log(`order: ${order.order} ${order.amount} ${order.currency}`);

const many = { customer: "c1", lines: [{ sku: "A", quantity: 1000 }] };
await sale.change("POST", "/v1/holds", many, randomUUID()).catch((problem) => {
  console.log("refused:", problem.type, problem.body.lines[0].available);
});
