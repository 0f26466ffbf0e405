// ioredis's cluster client: writes and reads until standard input ends, and tells what it has seen so far, a line each
// time. `node cluster_load.js ATTEMPTS PORT ...`
"use strict";

const Redis = require("ioredis");

const CLIENTS = 3;
const KEYS = 100;
const [maxRedirections, ...ports] = process.argv.slice(2).map(Number);
let isOver = false, calls = 0;
const errors = [];

async function use(client, key, value) {
  if (await client.set(key, value) !== "OK") throw new Error("SET has not answered OK");
  if (await client.get(key) !== value) throw new Error("another value than it has written");
  await client.hset(key + ":hash", "field", value);
  if (await client.hget(key + ":hash", "field") !== value) throw new Error("another field than it has written");
}

async function work(number) {
  const client = new Redis.Cluster(ports.map(port => ({ host: "127.0.0.1", port })), { maxRedirections });
  // What it cannot mend by itself the calls say, too.
  client.on("error", () => {});
  for (let turn = 1; !isOver; turn++) {
    try {
      await use(client, `node:${number}:${turn % KEYS}`, String(turn));
      calls++;
    } catch (error) {
      errors.push(`turn ${turn}: ${error.message}`);
    }
  }
  client.disconnect();
}

process.stdin.on("end", () => { isOver = true; }).resume();
const tell = () => console.log(JSON.stringify({ calls, errors }));
const telling = setInterval(tell, 100);
Promise.all(Array.from({ length: CLIENTS }, (_, number) => work(number)))
  .then(() => { clearInterval(telling); tell(); });
