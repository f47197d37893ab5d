// Gives feedback with Portkey's own JavaScript client and prints what the client says.
//
// Usage: driver.mjs BASE_URL KEY WRONG_KEY TRACE
//
// Prints one JSON object: for each call its answer, or the client's exception.

import { Portkey } from "portkey-ai";

const [baseURL, apiKey, wrongKey, traceID] = process.argv.slice(2);

async function settle(call) {
  try {
    const answer = await call();
    return { status: answer.status, message: answer.message, feedback_ids: answer.feedback_ids };
  } catch (error) {
    return { exception: error.constructor.name, status: error.status, message: error.message };
  }
}

const client = new Portkey({ apiKey, baseURL });
const stranger = new Portkey({ apiKey: wrongKey, baseURL });
const results = {};
results.create = await settle(() =>
  client.feedback.create({
    traceID,
    value: 5,
    weight: 0.5,
    metadata: { _user: "ada", _prompt: "p-1", text: "très bien", nested: { k: [1, null] } },
  }),
);
// The client sends an array as an object with index keys.
results.bulk = await settle(() =>
  client.feedback.create([
    { traceID, value: 1 },
    { traceID, value: -10, weight: 0.25, metadata: { env: "prod" } },
  ]),
);
const [feedbackID] = results.create.feedback_ids;
results.update = await settle(() =>
  client.feedback.update({ feedbackID, value: -3, metadata: { _user: "bob" } }),
);
results.bad_value = await settle(() => client.feedback.create({ traceID, value: 11 }));
results.no_trace = await settle(() => client.feedback.create({ value: 1 }));
results.wrong_key = await settle(() => stranger.feedback.create({ traceID, value: 1 }));
console.log(JSON.stringify(results));
