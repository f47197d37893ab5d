// Calls a client and prints what it returns or throws, a JSON object a line.
//
// Every driver of a JavaScript client is written with this. The test reads the lines.

import { createInterface } from "node:readline";

// What a client prints to the standard output itself must not come between the lines.
console.log = console.error;
console.info = console.error;

const answers = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

/** Prints what comes of a call, and returns it. */
export async function call(name, action) {
  let returned;
  try {
    returned = await action();
    if (typeof returned?.next === "function") {
      const items = [];
      for await (const item of returned) items.push(item);
      returned = items;
    }
  } catch (error) {
    say({ call: name, ...thrown(error) });
    return undefined;
  }
  say({ call: name, returned: returned ?? null });
  return returned;
}

/** Waits until everything that was sent is visible to readers. */
export async function settle() {
  say({ settle: true });
  await answers.next();
}

/** Ends, with the test's side of the conversation. */
export function end() {
  process.stdin.destroy();
}

function say(line) {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

/** An error: its classes, and what the client knows of the answer. */
function thrown(error) {
  const classes = [];
  for (let kind = error; kind && kind !== Object.prototype; kind = Object.getPrototypeOf(kind)) {
    if (Object.hasOwn(kind, "constructor")) classes.push(kind.constructor.name);
  }
  if (error.name && !classes.includes(error.name)) classes.unshift(error.name);
  const status = error.status ?? error.response?.status ?? null;
  const body = error.response?.data === undefined ? "" : ` ${JSON.stringify(error.response.data)}`;
  return { raised: classes, status, text: `${error.message}${body}` };
}
