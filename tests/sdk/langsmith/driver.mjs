// Gives feedback with LangSmith's own JavaScript client.
//
// Usage: driver.mjs once BASE_URL KEY WRONG_KEY
//        driver.mjs background BASE_URL KEY COUNT

import { Client } from "langsmith";
import { call, end, settle } from "./script.mjs";

const RUN = "01990000-0000-7000-8000-000000000001";
const TRACE = "01990000-0000-7000-8000-000000000002";
const PROJECT = "01990000-0000-7000-8000-000000000003";
const EXPERIMENT = "01990000-0000-7000-8000-000000000004";
const JUDGE = "01990000-0000-7000-8000-000000000006";
const WHOLE = "01990000-0000-7000-8000-000000000007";
const TWICE = "01990000-0000-7000-8000-000000000008";
const RATED = "01990000-0000-7000-8000-000000000009";

/** A request a call. */
async function once(apiUrl, apiKey, wrongKey) {
  const client = new Client({ apiUrl, apiKey, autoBatchTracing: false });
  const sessionId = PROJECT;
  const create = (name, feedback) => call(name, () => client.createFeedback(feedback));
  await create("whole", {
    runId: RUN,
    traceId: TRACE,
    key: "correctness",
    score: 0.12345,
    value: { label: "ok" },
    comment: "très bien",
    correction: { answer: "42" },
    sourceInfo: { model: "judge-1", n: 1 },
    feedbackSourceType: "model",
    sourceRunId: JUDGE,
    feedbackId: WHOLE,
    comparativeExperimentId: EXPERIMENT,
    feedbackConfig: { type: "continuous", min: 0, max: 1 },
    sessionId,
    startTime: Date.UTC(2024, 4, 5, 1, 2, 3),
  });
  await create("thumb", { runId: RUN, key: "thumb", score: true, sessionId });
  await create("words", { runId: RUN, key: "words", value: ["good", "short"], sessionId });
  await create("of_project", { projectId: PROJECT, key: "summary", score: 0.75 });
  await create("twice", { runId: RUN, key: "twice", score: 0, feedbackId: TWICE, sessionId });
  await create("twice_again", { runId: RUN, key: "twice", score: 1, feedbackId: TWICE, sessionId });
  const token = await call("token", () => client.createPresignedFeedbackToken(RATED, "by_browser"));
  // It is for a browser, which has no key.
  await call("by_browser", async () => (await fetch(`${token.url}&score=1&comment=c`)).status);
  await call("list_tokens", () => client.listPresignedFeedbackTokens(RATED));
  const feedbackConfig = { type: "continuous", min: 0, max: 5 };
  await call("declare", () => client.createFeedbackConfig({ feedbackKey: "stars", feedbackConfig }));
  await call("configs", () => client.listFeedbackConfigs({ feedbackKeys: ["stars"] }));
  await call("forget", () => client.deleteFeedbackConfig("stars"));
  await settle();
  await call("read", () => client.readFeedback(WHOLE));
  await call("list", () => client.listFeedback({ runIds: [RUN], feedbackSourceTypes: ["api"] }));
  await call("update", () => client.updateFeedback(WHOLE, { score: 0.5, comment: null }));
  await call("delete", () => client.deleteFeedback(TWICE));
  await settle();
  await call("read_updated", () => client.readFeedback(WHOLE));
  await call("read_deleted", () => client.readFeedback(TWICE));
  const stranger = new Client({ apiUrl, apiKey: wrongKey, autoBatchTracing: false });
  await call("wrong_key", () => stranger.createFeedback({ runId: RUN, key: "k", sessionId }));
}

/** Much, which the client sends in batches. */
async function background(apiUrl, apiKey, count) {
  const client = new Client({ apiUrl, apiKey });
  const traceId = crypto.randomUUID();
  await call("give", async () => {
    for (let number = 0; number < Number(count); number += 1) {
      const key = `metric-${number % 7}`;
      await client.createFeedback({ runId: traceId, traceId, key, score: number, sessionId: PROJECT });
    }
  });
  await call("flush", () => client.awaitPendingTraceBatches());
  await call("trace", () => traceId);
}

const [kind, ...rest] = process.argv.slice(2);
await { once, background }[kind](...rest);
end();
