// Calls Shlink's SDK as a line of JSON says, `["method", [arguments]]`, and prints what it gives: {"value"} or {"error"}.
import { createInterface } from 'node:readline';
import { ShlinkApiClient } from '@shlinkio/shlink-js-sdk';
import { FetchHttpClient } from '@shlinkio/shlink-js-sdk/fetch';
import { NodeHttpClient } from '@shlinkio/shlink-js-sdk/node';

const [, , kind, baseUrl, apiKey] = process.argv;
const http = kind === 'node' ? new NodeHttpClient() : new FetchHttpClient();
const client = new ShlinkApiClient(http, { baseUrl, apiKey });
for await (const line of createInterface({ input: process.stdin })) {
  const [method, given] = JSON.parse(line);
  const answer = await client[method](...given).then(
    (value) => ({ value: value ?? null }),
    (error) => ({ error: error instanceof Error ? { message: String(error) } : error }),
  );
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
