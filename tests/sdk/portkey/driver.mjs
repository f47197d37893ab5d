// Gives feedback with Portkey's own JavaScript client.
//
// Usage: driver.mjs BASE_URL KEY WRONG_KEY

import { Portkey } from "portkey-ai";
import { call, end } from "./script.mjs";

const [baseURL, apiKey, wrongKey] = process.argv.slice(2);
const { feedback } = new Portkey({ apiKey, baseURL });
const traceID = "trace-1";

await call("create", () =>
  feedback.create({
    traceID,
    value: 5,
    weight: 0.5,
    metadata: { _user: "ada", _prompt: "p-1", text: "très bien", nested: { k: [1, null] } },
  }),
);
// The client sends an array as an object with index keys.
await call("bulk", () =>
  feedback.create([
    { traceID, value: 1 },
    { traceID: "trace-2", value: -10, weight: 0.25, metadata: { env: "prod" } },
  ]),
);
const changed = await call("changed", () =>
  feedback.create({ traceID: "trace-3", value: 4, weight: 0.5 }),
);
// The client puts the documented spelling of the id into the body, and `undefined` into the path.
await call("update", () =>
  feedback.update({ feedbackId: changed.feedback_ids[0], value: -3, metadata: { _user: "bob" } }),
);
await call("bad_value", () => feedback.create({ traceID, value: 11 }));
await call("no_trace", () => feedback.create({ value: 1 }));
// Nothing of it is kept, also not the good one.
await call("bad_bulk", () =>
  feedback.create([
    { traceID, value: 2 },
    { traceID, value: 5.5 },
  ]),
);
await call("lost_id", () => feedback.update({ value: 1 }));
const stranger = new Portkey({ apiKey: wrongKey, baseURL });
await call("wrong_key", () => stranger.feedback.create({ traceID, value: 1 }));
end();
