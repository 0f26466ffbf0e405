// ioredis's cluster client: writes and reads until standard input ends, then reads what it has written last, and tells
// what it has seen so far, a line each time. `node cluster_load.js ATTEMPTS PORT ...`
"use strict";

const Redis = require("ioredis");

const CLIENTS = 3;
const KEYS = 100;
const [maxRedirections, ...ports] = process.argv.slice(2).map(Number);
let isOver = false, calls = 0;
const errors = [];

async function use(client, key, value) {
  if (await client.set(key, value) !== "OK") throw new Error("SET has not answered OK");
  await client.hset(key + ":hash", "field", value);
  await find(client, key, value);
  calls++;
}

// What `use` has written.
async function find(client, key, value) {
  if (await client.get(key) !== value) throw new Error("another value than it has written");
  if (await client.hget(key + ":hash", "field") !== value) throw new Error("another field than it has written");
}

async function work(number) {
  const client = new Redis.Cluster(ports.map(port => ({ host: "127.0.0.1", port })), { maxRedirections });
  // What it cannot mend by itself the calls say, too.
  client.on("error", () => {});
  const attempt = async (call, turn) => {
    try {
      await call(client, `node:${number}:${turn % KEYS}`, String(turn));
    } catch (error) {
      errors.push(`${call.name}, turn ${turn}: ${error.message}`);
    }
  };
  let turn = 0;
  while (!isOver) await attempt(use, ++turn);
  for (let last = Math.max(1, turn - KEYS + 1); last <= turn; last++) await attempt(find, last);
  client.disconnect();
}

process.stdin.on("end", () => { isOver = true; }).resume();
const tell = () => console.log(JSON.stringify({ calls, errors }));
const telling = setInterval(tell, 100);
Promise.all(Array.from({ length: CLIENTS }, (_, number) => work(number)))
  .then(() => { clearInterval(telling); tell(); });
