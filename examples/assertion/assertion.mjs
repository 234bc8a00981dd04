// Identifies the user by caddy-sesame's assertions. Needs nothing but Node 18
// or later.

import { createPublicKey, verify as verifySignature } from "node:crypto";

/** The request has no assertion that holds. Answer 401. */
export class Refused extends Error {}

const LEEWAY = 5; // seconds by which the clocks may differ
const FRESH = 300_000; // milliseconds after which the keys are read again
const STALE = 3_600_000; // after which keys that can't be read again are no good
const PAUSE = 10_000; // between two attempts to read the keys

/** Verifies assertions for one application. Make one, and use it for all requests. */
export class Assertions {
  #keys = new Map();
  #read = -Infinity;
  #tried = -Infinity;
  #reading = null;

  constructor(keysURL, audience, issuer = "caddy-sesame") {
    Object.assign(this, { keysURL, audience, issuer });
  }

  /** Returns the claims of a node:http request, or throws Refused. */
  async verify(request) {
    // request.headers has one of several values, and doesn't say so.
    const values = request.headersDistinct.authorization ?? [];
    const match = values.length === 1 && /^Bearer +([\w-]+)\.([\w-]+)\.([\w-]+)$/i.exec(values[0]);
    if (!match) throw new Refused("there is no assertion");
    const [, head, body, signature] = match;

    const { alg, kid } = parse(head);
    // The algorithm is ours to say, not the assertion's.
    if (alg !== "EdDSA" || typeof kid !== "string") throw new Refused("it isn't signed with EdDSA");
    const key = await this.#key(kid);
    const raw = Buffer.from(signature, "base64url");
    if (raw.length !== 64 || !verifySignature(null, Buffer.from(`${head}.${body}`), key, raw)) {
      throw new Refused("the signature is wrong");
    }

    const claims = parse(body);
    const now = Date.now() / 1000;
    if (claims.iss !== this.issuer) throw new Refused("it is another issuer's");
    if (![].concat(claims.aud).includes(this.audience)) throw new Refused("it is for another application");
    if (!(claims.exp > now - LEEWAY)) throw new Refused("it has expired");
    if (!(claims.nbf <= now + LEEWAY)) throw new Refused("it isn't valid yet");
    if (typeof claims.sub !== "string") throw new Refused("it names no user");
    return claims;
  }

  async #key(kid) {
    if (!this.#keys.has(kid) || performance.now() - this.#read > FRESH) {
      await (this.#reading ??= this.#readKeys().finally(() => (this.#reading = null)));
    }
    if (!this.#keys.has(kid) || performance.now() - this.#read > STALE) throw new Refused("no key has this id");
    return this.#keys.get(kid);
  }

  async #readKeys() {
    // Clients can name keys that don't exist: this must not cause a request each time.
    const now = performance.now();
    if (now - this.#tried < PAUSE) return;
    this.#tried = now;
    try {
      const answer = await fetch(this.keysURL, { signal: AbortSignal.timeout(3000) });
      if (!answer.ok) return;
      const { keys } = await answer.json();
      this.#keys = new Map(
        keys
          .filter((key) => key.kty === "OKP" && key.crv === "Ed25519")
          .map((key) => [key.kid, createPublicKey({ key, format: "jwk" })]),
      );
      this.#read = now;
    } catch {
      // Those of before serve for a while.
    }
  }
}

function parse(part) {
  try {
    const object = JSON.parse(Buffer.from(part, "base64url").toString());
    if (object && typeof object === "object") return object;
  } catch {}
  throw new Refused("it isn't a JSON Web Token");
}
