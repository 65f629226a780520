// Run it with: node --test tests/
import assert from "node:assert";
import test from "node:test";
import { handler } from "../index.mjs";

test("hello", async () => {
  assert.deepStrictEqual(await handler({ name: "world" }, {}), { hello: "world" });
});
