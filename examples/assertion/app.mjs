// An application: node app.mjs PORT KEYS_URL AUDIENCE

import { createServer } from "node:http";
import { Assertions, Refused } from "./assertion.mjs";

const [port, keysURL, audience] = process.argv.slice(2);
const assertions = new Assertions(keysURL, audience);

createServer(async (request, response) => {
  try {
    const { sub, preferred_username: name = "" } = await assertions.verify(request);
    response.end(`user ${sub}, ${name}\n`);
  } catch (error) {
    response.statusCode = error instanceof Refused ? 401 : 500;
    response.end(`refused: ${error.message}\n`);
  }
}).listen(Number(port), "127.0.0.1");
