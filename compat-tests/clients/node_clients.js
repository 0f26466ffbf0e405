// The server under test through ioredis and node-redis: values, pipelines, transactions, pub/sub, blocking, scans.
// Run by ./dev test, which sets BASALT_BIN and puts the packages into NODE_PATH.
"use strict";

const assert = require("node:assert/strict");
const { spawn } = require("node:child_process");
const fs = require("node:fs");
const net = require("node:net");
const os = require("node:os");
const path = require("node:path");
const Redis = require("ioredis");
const { createClient, RESP_TYPES, WatchError } = require("redis");

const PATIENCE_MS = 20000;

// ---- ioredis --------------------------------------------------------------------------------------------------------

const ioredis = {
  async values(port) {
    const redis = new Redis(port);
    assert.equal(await redis.set("key", "value", "EX", 100), "OK");
    assert.equal(await redis.get("key"), "value");
    assert.equal(await redis.get("missing"), null);
    assert.equal(await redis.incrby("counter", 42), 42);
    assert.equal(await redis.hset("hash", { a: 1, b: 2 }), 2);
    assert.deepEqual(await redis.hgetall("hash"), { a: "1", b: "2" });
    assert.equal(await redis.rpush("list", 1, 2, 3), 3);
    assert.deepEqual(await redis.lrange("list", 0, -1), ["1", "2", "3"]);
    assert.equal(await redis.sadd("set", "x", "y"), 2);
    assert.deepEqual((await redis.smembers("set")).sort(), ["x", "y"]);
    assert.equal(await redis.zadd("zset", 1.5, "low", 2.5, "high"), 2);
    assert.deepEqual(await redis.zrange("zset", 0, -1, "WITHSCORES"), ["low", "1.5", "high", "2.5"]);
    const bytes = Buffer.from([0, 255, 13, 10]);
    await redis.set("bytes", bytes);
    assert.deepEqual(await redis.getBuffer("bytes"), bytes);
    await assert.rejects(redis.lpush("key", 1), /WRONGTYPE/);
    await assert.rejects(redis.call("NOSUCH"), /unknown command/);
    await redis.quit();
  },

  async pipelines(port) {
    const redis = new Redis(port);
    const pipeline = redis.pipeline();
    for (let number = 0; number < 5000; number++) {
      pipeline.set(`key${number}`, number).get(`key${number}`);
    }
    const replies = await pipeline.exec();
    assert.equal(replies.length, 10000);
    replies.forEach(([error, value], at) => {
      assert.equal(error, null);
      assert.equal(value, at % 2 ? String((at - 1) / 2) : "OK");
    });
    const automatic = new Redis(port, { enableAutoPipelining: true });
    const values = await Promise.all(Array.from({ length: 500 }, (_, number) => automatic.get(`key${number}`)));
    assert.deepEqual(values, Array.from({ length: 500 }, (_, number) => String(number)));
    automatic.disconnect();
    await redis.quit();
  },

  async transactions(port) {
    const redis = new Redis(port);
    const other = new Redis(port);
    assert.deepEqual(await redis.multi().set("t", 1).incr("t").get("t").exec(), [[null, "OK"], [null, 2], [null, "2"]]);
    await redis.watch("t");
    await other.set("t", 10);
    assert.equal(await redis.multi().set("t", 3).exec(), null);
    await assert.rejects(redis.multi().set("t").exec(), /EXECABORT/);
    await Promise.all([redis.quit(), other.quit()]);
  },

  async publishAndSubscribe(port) {
    const listener = new Redis(port);
    const publisher = new Redis(port);
    const heard = [];
    const all = new Promise((resolve) => {
      const hear = (...message) => heard.push(message) === 3 && resolve();
      listener.on("message", (channel, text) => hear("message", channel, text));
      listener.on("pmessage", (pattern, channel, text) => hear(pattern, channel, text));
      listener.on("smessage", (channel, text) => hear("smessage", channel, text));
    });
    assert.equal(await listener.subscribe("news"), 1);
    await listener.psubscribe("n*");
    await listener.ssubscribe("shard");
    assert.equal(await publisher.publish("news", "hello"), 2);
    assert.equal(await publisher.spublish("shard", "sharded"), 1);
    await inTime(all);
    assert.deepEqual(heard, [["message", "news", "hello"], ["n*", "news", "hello"], ["smessage", "shard", "sharded"]]);
    await Promise.all([listener.quit(), publisher.quit()]);
  },

  async blocking(port) {
    const waiting = new Redis(port);
    const pushing = new Redis(port);
    const popped = waiting.blpop("queue", "other", 0);
    await until(async () => /blocked_clients:1\r/.test(await pushing.info("clients")));
    await pushing.rpush("queue", "job");
    assert.deepEqual(await inTime(popped), ["queue", "job"]);
    assert.equal(await waiting.blpop("queue", 0.01), null);
    await Promise.all([waiting.quit(), pushing.quit()]);
  },

  async scans(port) {
    const redis = new Redis(port);
    const pipeline = redis.pipeline();
    for (let number = 0; number < 1000; number++) {
      pipeline.set(`scan:${number}`, number).hset("scanned", number, number);
    }
    await pipeline.exec();
    const keys = new Set();
    for await (const batch of redis.scanStream({ match: "scan:*", count: 100 })) {
      batch.forEach((key) => keys.add(key));
    }
    assert.equal(keys.size, 1000);
    let fields = 0;
    for await (const batch of redis.hscanStream("scanned")) {
      fields += batch.length / 2;
    }
    assert.equal(fields, 1000);
    await redis.quit();
  },

  async reconnecting(port) {
    const redis = new Redis(port, { retryStrategy: () => 10 });
    const killer = new Redis(port);
    const id = await redis.client("ID");
    assert.equal(await killer.client("KILL", "ID", id), 1);
    assert.equal(await inTime(redis.ping()), "PONG");
    assert.notEqual(await redis.client("ID"), id);
    await Promise.all([redis.quit(), killer.quit()]);
  },
};

// ---- node-redis -----------------------------------------------------------------------------------------------------

const nodeRedis = {
  async values(port, protocol) {
    const redis = await connect(port, protocol);
    assert.equal(await redis.set("key", "value", { EX: 100 }), "OK");
    assert.equal(await redis.get("key"), "value");
    assert.equal(await redis.get("missing"), null);
    assert.equal(await redis.hSet("hash", { a: 1, b: 2 }), 2);
    assert.deepEqual({ ...(await redis.hGetAll("hash")) }, { a: "1", b: "2" });
    assert.equal(await redis.rPush("list", ["1", "2", "3"]), 3);
    assert.deepEqual(await redis.lRange("list", 0, -1), ["1", "2", "3"]);
    assert.equal(await redis.sAdd("set", ["x", "y"]), 2);
    assert.deepEqual([...(await redis.sMembers("set"))].sort(), ["x", "y"]);
    assert.equal(await redis.zAdd("zset", [{ score: 1.5, value: "low" }, { score: 2.5, value: "high" }]), 2);
    const ranged = await redis.zRangeWithScores("zset", 0, -1);
    assert.deepEqual(ranged.map(({ score, value }) => [score, value]), [[1.5, "low"], [2.5, "high"]]);
    assert.equal(await redis.zScore("zset", "low"), 1.5);
    await redis.geoAdd("geo", { longitude: 13.361389, latitude: 38.115556, member: "Palermo" });
    const near = await redis.geoSearch("geo", { longitude: 13, latitude: 38 }, { radius: 100, unit: "km" });
    assert.deepEqual(near, ["Palermo"]);
    const buffers = redis.withTypeMapping({ [RESP_TYPES.BLOB_STRING]: Buffer });
    const bytes = Buffer.from([0, 255, 13, 10]);
    await redis.set("bytes", bytes);
    assert.deepEqual(await buffers.get("bytes"), bytes);
    await assert.rejects(redis.lPush("key", "1"), /WRONGTYPE/);
    await assert.rejects(redis.sendCommand(["NOSUCH"]), /unknown command/);
    await redis.close();
  },

  async pipelines(port, protocol) {
    const redis = await connect(port, protocol);
    const values = await Promise.all(
      Array.from({ length: 5000 }, async (_, number) => {
        redis.set(`key${number}`, String(number));
        return redis.get(`key${number}`);
      }),
    );
    assert.deepEqual(values, Array.from({ length: 5000 }, (_, number) => String(number)));
    await redis.close();
  },

  async transactions(port, protocol) {
    const redis = await connect(port, protocol);
    const other = await connect(port, protocol);
    assert.deepEqual(await redis.multi().set("t", "1").incr("t").get("t").exec(), ["OK", 2, "2"]);
    await redis.watch("t");
    await other.set("t", "10");
    await assert.rejects(redis.multi().set("t", "3").exec(), WatchError);
    await Promise.all([redis.close(), other.close()]);
  },

  async publishAndSubscribe(port, protocol) {
    const listener = await connect(port, protocol);
    const publisher = await connect(port, protocol);
    const heard = [];
    let done;
    const all = new Promise((resolve) => (done = resolve));
    const hear = (text, channel) => heard.push([channel, text]) === 3 && done();
    await listener.subscribe("news", hear);
    await listener.pSubscribe("n*", hear);
    await listener.sSubscribe("shard", hear);
    assert.equal(await publisher.publish("news", "hello"), 2);
    assert.equal(await publisher.sPublish("shard", "sharded"), 1);
    await inTime(all);
    assert.deepEqual(heard, [["news", "hello"], ["news", "hello"], ["shard", "sharded"]]);
    await listener.unsubscribe("news");
    await Promise.all([listener.destroy(), publisher.close()]);
  },

  async blocking(port, protocol) {
    const waiting = await connect(port, protocol);
    const pushing = await connect(port, protocol);
    const popped = waiting.blPop(["queue", "other"], 0);
    await until(async () => /blocked_clients:1\r/.test(await pushing.info("clients")));
    await pushing.rPush("queue", "job");
    assert.deepEqual({ ...(await inTime(popped)) }, { key: "queue", element: "job" });
    assert.equal(await waiting.blPop("queue", 0.01), null);
    await Promise.all([waiting.close(), pushing.close()]);
  },

  async scans(port, protocol) {
    const redis = await connect(port, protocol);
    await Promise.all(Array.from({ length: 1000 }, (_, number) => redis.set(`scan:${number}`, String(number))));
    const keys = new Set();
    for await (const batch of redis.scanIterator({ MATCH: "scan:*", COUNT: 100 })) {
      batch.forEach((key) => keys.add(key));
    }
    assert.equal(keys.size, 1000);
    await redis.close();
  },
};

async function connect(port, protocol) {
  const redis = createClient({ socket: { port }, RESP: protocol });
  redis.on("error", (error) => console.log(`node-redis: ${error}`));
  return redis.connect();
}

// ---- running --------------------------------------------------------------------------------------------------------

async function until(condition) {
  const deadline = Date.now() + PATIENCE_MS;
  while (!(await condition())) {
    assert.ok(Date.now() < deadline, "waited in vain");
  }
}

function inTime(promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error("waited in vain")), PATIENCE_MS);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

async function freePort() {
  const probe = net.createServer();
  await new Promise((resolve) => probe.listen(0, "127.0.0.1", resolve));
  const { port } = probe.address();
  await new Promise((resolve) => probe.close(resolve));
  return port;
}

async function startServer() {
  const port = await freePort();
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), "basalt-node-"));
  const options = ["--port", String(port), "--save", "", "--dir", directory];
  const server = spawn(process.env.BASALT_BIN, options, { stdio: "ignore" });
  await until(() => new Promise((resolve) => {
    const socket = net.connect(port, "127.0.0.1");
    socket.on("connect", () => resolve(socket.end() && true));
    socket.on("error", () => setTimeout(() => resolve(false), 20));
  }));
  const ended = new Promise((resolve) => server.on("exit", resolve));
  return {
    port,
    stop: async () => {
      server.kill();
      await ended;
      fs.rmSync(directory, { recursive: true, force: true });
    },
  };
}

async function main() {
  assert.ok(process.env.BASALT_BIN, "BASALT_BIN names the server under test; ./dev test sets it");
  const suites = [
    ["ioredis", ioredis, 2],
    ["node-redis, RESP2", nodeRedis, 2],
    ["node-redis, RESP3", nodeRedis, 3],
  ];
  let passed = 0;
  let failed = 0;
  for (const [name, tests, protocol] of suites) {
    for (const [test, run] of Object.entries(tests)) {
      const { port, stop } = await startServer();
      try {
        await inTime(run(port, protocol));
        passed++;
      } catch (error) {
        failed++;
        console.log(`${name}: ${test} failed`, error);
      }
      await stop();
    }
  }
  console.log(`node: ${passed} passed, ${failed} failed, 0 skipped`);
  // Connections that a failed test has left open would keep the process alive.
  process.exit(failed ? 1 : 0);
}

main().catch((error) => {
  console.log(error);
  process.exit(1);
});
