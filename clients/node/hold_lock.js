#!/usr/bin/env node
// Holds a lock while it works, with nothing but the protos and gRPC for Node.
//
//     (cd clients/node && npm ci --ignore-scripts)
//     clients/node/hold_lock.js 127.0.0.1:9090 orders/42 5
//
// With TLS it takes --cacert, --cert, --key, --server-name and --token-file, or LOCKCTL_CACERT and
// so on and LOCKCTL_TOKEN from the environment, as lockctl does.
//
// Works for 5 seconds, prints the token first and how it went last. Exit status: 0 done, 1 not
// acquired, 2 wrong options, 3 no answer, 4 lost while it worked, 5 denied.
"use strict";

const { randomUUID } = require("node:crypto");
const { readFileSync } = require("node:fs");
const path = require("node:path");
const { setTimeout: sleep } = require("node:timers/promises");
const { parseArgs } = require("node:util");
const grpc = require("@grpc/grpc-js");
const loader = require("@grpc/proto-loader");

const PROTOS = path.join(__dirname, "..", "..", "proto");
const definition = loader.loadSync("lockmgr/v1/lock_service.proto", {
  includeDirs: [PROTOS],
  longs: String, // a token does not fit a number
  enums: String,
  defaults: true,
});
const { LockService } = grpc.loadPackageDefinition(definition).lockmgr.v1;

// Calls that met this are repeated. With the same request id that is safe: one true answer.
const PASSING = [grpc.status.UNAVAILABLE, grpc.status.DEADLINE_EXCEEDED, grpc.status.ABORTED];
const DENIED = [grpc.status.UNAUTHENTICATED, grpc.status.PERMISSION_DENIED];
const CALL_MS = 5000;

// Milliseconds on a clock that counts on while the machine sleeps, in steps of ten. Node's own
// clocks either stand still meanwhile or jump when somebody sets the time.
const now = () => parseFloat(readFileSync("/proc/uptime", "ascii")) * 1000;

class NotAcquired extends Error {}

class Lock {
  constructor(client, name, { ttlMs = 10000, waitMs = 0 } = {}) {
    Object.assign(this, { client, name, ttlMs, waitMs });
    this.owner = "node-" + randomUUID(); // a name that nobody else has
    this.safeUntil = 0;
    this.stop = new AbortController();
  }

  // False: stop using what the lock protects at once.
  isSafe() {
    return now() < this.safeUntil;
  }

  async acquire() {
    const request = {
      name: this.name,
      owner: this.owner,
      requestId: randomUUID(), // the same in every repeat
      ttlMs: this.ttlMs,
      waitMs: this.waitMs,
    };
    const { answer, sent } = await this.repeat("Acquire", request, this.waitMs + CALL_MS);
    if (answer.result !== "ACQUIRE_RESULT_GRANTED") throw new NotAcquired(answer.result);
    this.token = answer.token;
    this.holdId = answer.holdId;
    this.ttlMs = Number(answer.ttlMs); // what was applied
    this.note(sent, answer.leaseRemainingMs);
    this.renewing = this.keep();
  }

  async release() {
    this.stop.abort();
    await this.renewing;
    this.safeUntil = 0;
    const request = {
      name: this.name,
      owner: this.owner,
      holdId: this.holdId,
      requestId: randomUUID(),
    };
    // If it fails, it is over anyway, or will be when its lease has run out.
    await this.repeat("Release", request, CALL_MS).catch((error) =>
      console.error("not released:", error.details));
  }

  // Calls until there is an answer, or an error that a repeat does not cure, or the time is over.
  async repeat(method, request, ms) {
    for (const end = now() + ms; ;) {
      // The time left is that from *sending* on: this moment, not the one of the answer.
      const sent = now();
      try {
        return { answer: await this.call(method, request, Math.max(100, end - sent)), sent };
      } catch (error) {
        if (!PASSING.includes(error.code) || now() > end) throw error;
        await sleep(100);
      }
    }
  }

  call(method, request, ms) {
    const metadata = new grpc.Metadata({ waitForReady: true });
    return new Promise((resolve, reject) => {
      this.client[method](request, metadata, { deadline: Date.now() + ms }, (error, answer) =>
        error ? reject(error) : resolve(answer));
    });
  }

  // Less 1 % and 50 ms: clocks do not run alike.
  note(sent, leaseRemainingMs) {
    this.safeUntil = sent + Number(leaseRemainingMs) * 0.99 - 50;
  }

  // Renews at a third of the lease, until the lock is given back or lost.
  async keep() {
    const request = { name: this.name, owner: this.owner, holdId: this.holdId };
    try {
      for (;;) {
        await sleep(this.ttlMs / 3, null, { signal: this.stop.signal });
        const { answer, sent } = await this.repeat("Renew", request, this.safeUntil - now());
        this.note(sent, answer.leaseRemainingMs);
      }
    } catch (error) {
      if (error.code === grpc.status.FAILED_PRECONDITION) this.safeUntil = 0; // STALE_HOLD
    }
  }
}

class Usage extends Error {}

// What the command line does not say comes from the environment.
function readOptions(args) {
  const variable = (option) => process.env["LOCKCTL_" + option.toUpperCase().replace("-", "_")];
  const names = ["cacert", "cert", "key", "server-name", "token-file"];
  const options = Object.fromEntries(names.map((name) => [name, { type: "string" }]));
  const { values, positionals } = parseArgs({ args, options, allowPositionals: true });
  // A token is never on the command line itself, where everybody on the machine can read it.
  const token = "token-file" in values ? undefined : variable("token");
  const found = { token };
  for (const name of names) found[name] = values[name] ?? variable(name);
  if (found["token-file"] && !token)
    found.token = readFileSync(found["token-file"], "utf8").trim();
  if (positionals.length !== 3)
    throw new Usage("usage: hold_lock.js [OPTIONS] ADDRESS NAME SECONDS");
  if (!found.cert !== !found.key) throw new Usage("a certificate and its key are given together");
  if (!found.cacert && (found.token || found.cert || found["server-name"]))
    throw new Usage("a token or certificate needs --cacert, the authority that signs the nodes");
  return [found, ...positionals];
}

// TLS with --cacert, else plaintext. A certificate or a token says who this client is.
function connect(address, { cacert, cert, key, token, "server-name": name }) {
  if (!cacert) return new LockService(address, grpc.credentials.createInsecure());
  const read = (path) => (path ? readFileSync(path) : null);
  let credentials = grpc.credentials.createSsl(read(cacert), read(key), read(cert));
  if (token) {
    const metadata = new grpc.Metadata();
    metadata.set("authorization", "Bearer " + token);
    credentials = grpc.credentials.combineChannelCredentials(credentials,
      grpc.credentials.createFromMetadataGenerator((_, done) => done(null, metadata)));
  }
  const options = name ? { "grpc.ssl_target_name_override": name } : {};
  return new LockService(address, credentials, options);
}

async function hold(lock, seconds) {
  await lock.acquire();
  console.log("token", lock.token);
  const end = now() + Number(seconds) * 1000;
  while (lock.isSafe() && now() < end) await sleep(50); // the work; every write takes the token
  const lost = !lock.isSafe();
  await lock.release();
  console.log(lost ? "lost" : "done");
  return lost ? 4 : 0;
}

async function main(args) {
  const [options, address, name, seconds] = readOptions(args);
  const client = connect(address, options);
  try {
    return await hold(new Lock(client, name, { ttlMs: 3000, waitMs: 2000 }), seconds);
  } catch (error) {
    if (error instanceof NotAcquired) {
      console.log("not acquired:", error.message);
      return 1;
    }
    if (!(error.code in grpc.status)) throw error;
    console.log("refused: %s: %s", grpc.status[error.code], error.details);
    return DENIED.includes(error.code) ? 5 : 3;
  } finally {
    client.close();
  }
}

main(process.argv.slice(2)).then((code) => (process.exitCode = code), (error) => {
  console.error(error instanceof Usage || error.code?.startsWith?.("ERR_PARSE_ARGS")
    ? error.message : error);
  process.exitCode = 2;
});
