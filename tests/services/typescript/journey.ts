// A TypeScript client generated from the OpenAPI document goes through the whole journey.
import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import createClient from "openapi-fetch";
import type { components, paths } from "./rentgate.js";

type Rental = components["schemas"]["Rental"];

function need(name: string): string {
  const value = process.env[name];
  assert(value, `${name} is not set`);
  return value;
}

function clientFor(token: string) {
  return createClient<paths>({
    baseUrl: need("RENTGATE_URL"),
    headers: { Authorization: `Bearer ${token}` },
  });
}

function given<T>(answer: { data?: T; error?: unknown }): T {
  assert(answer.data !== undefined, `refused: ${JSON.stringify(answer.error)}`);
  return answer.data;
}

async function until<T>(read: () => Promise<T>, good: (found: T) => boolean): Promise<T> {
  const deadline = Date.now() + 20_000;
  for (;;) {
    const found = await read();
    if (good(found)) return found;
    assert(Date.now() < deadline, `not in time: ${JSON.stringify(found)}`);
    await sleep(100);
  }
}

const admin = clientFor(need("RENTGATE_ADMIN_TOKEN"));
const tenant = given(await admin.POST("/tenants", { body: { name: "typescript" } }));
const key = given(
  await admin.POST("/tenants/{tenant_id}/api-keys", {
    params: { path: { tenant_id: tenant.id } },
    body: { name: "all", scopes: ["catalog:read", "rentals:read", "rentals:write", "audit:read", "keys:manage"] },
  }),
);
assert(key.token);
const client = clientFor(key.token);
given(
  await client.POST("/tenants/{tenant_id}/upstream-keys", {
    params: { path: { tenant_id: tenant.id } },
    body: { label: "sandbox", api_key: need("UPSTREAM_KEY") },
  }),
);

const countries = given(await client.GET("/countries"));
assert(countries.items.some((country) => country.code === "GB"));
const offers = given(
  await client.GET("/countries/{country}/services", {
    params: { path: { country: "GB" }, query: { unit: "week", count: 1 } },
  }),
);
const offer = offers.items.find((found) => found.service === "opt20");
assert(offer);

const purchase = {
  params: { header: { "Idempotency-Key": "typescript-1" } },
  body: {
    country: "GB",
    service: offer.service,
    period: { unit: "week" as const, count: 1 },
    activate: false,
    max_price: offer.total_price.amount,
  },
};
const bought: Rental = given(await client.POST("/rentals", purchase));
const again = await client.POST("/rentals", purchase);
assert.equal(given(again).id, bought.id);
assert.equal(again.response.headers.get("Idempotency-Replayed"), "true");

const path = { rental_id: bought.id };
given(await client.POST("/rentals/{rental_id}/activate", { params: { path } }));
await until(
  async () => given(await client.GET("/rentals/{rental_id}", { params: { path } })),
  (rental) => rental.number_state === "active",
);
const feed = await until(
  async () => given(await client.GET("/rentals/{rental_id}/sms", { params: { path, query: { refresh: true } } })),
  (found) => found.items.length > 0,
);
assert(feed.items[0]?.text);

const prolonged = given(
  await client.POST("/rentals/{rental_id}/prolong", {
    params: { path },
    body: { period: { unit: "week", count: 1 } },
  }),
);
assert(prolonged.expires_at && bought.expires_at && prolonged.expires_at > bought.expires_at);
given(await client.POST("/rentals/{rental_id}/services", { params: { path }, body: { service: "opt1" } }));
const operations = given(await client.GET("/operations", { params: { query: { rental_id: bought.id } } }));
assert(operations.items.every((operation) => operation.state === "succeeded"));
const history = given(await client.GET("/rentals/{rental_id}/events", { params: { path } }));
assert(history.items.some((event) => event.type === "rental.created"));

const deleted = await client.DELETE("/rentals/{rental_id}", { params: { path } });
assert.equal(deleted.response.status, 204);
const refused = await client.POST("/rentals/{rental_id}/activate", { params: { path } });
assert.equal(refused.error?.code, "rental_not_active");
console.log("journey done");
