// Prints what Shlink's client reads of user agents, a line of JSON each: browser and system.
import { createInterface } from 'node:readline';
import bowser from 'bowser';

for await (const line of createInterface({ input: process.stdin })) {
  const found = bowser.parse(JSON.parse(line) || ' ');
  process.stdout.write(`${JSON.stringify([found.browser.name ?? null, found.os.name ?? null])}\n`);
}
