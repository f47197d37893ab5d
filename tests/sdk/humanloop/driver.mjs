// Gives feedback with Humanloop's own JavaScript client.
//
// Usage: driver.mjs BASE_URL KEY WRONG_KEY

import { Humanloop } from "humanloop";
import { call, end } from "./script.mjs";

const [basePath, apiKey, wrongKey] = process.argv.slice(2);

async function give(name, feedback, key = apiKey) {
  const humanloop = new Humanloop({ apiKey: key, basePath });
  await call(name, async () => (await humanloop.feedback(feedback)).data);
}

const on = { data_id: "data_1" };
await give("rating", { type: "rating", value: "good", user: "ada", ...on });
await give("rating_again", {
  type: "rating",
  value: "bad",
  user: "ada",
  created_at: "2024-05-05T01:02:03.000004Z",
  ...on,
});
await give("correction", { type: "correction", value: "très bien", user: "ada", ...on });
await give("comment", { type: "comment", value: "hasty", user: "ada", ...on });
await give("unset", { type: "comment", unset: true, user: "ada", ...on });
await give("no_type", { value: "good", ...on });
await give("wrong_key", { type: "rating", value: "good", ...on }, wrongKey);
end();
