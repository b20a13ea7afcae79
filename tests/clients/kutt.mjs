// npm's `kutt`, as its own documentation uses it. Prints what each call gave.
import { createRequire } from "node:module";

const { Kutt } = createRequire(import.meta.url)("kutt");

const kutt = new Kutt()
  .set("api", `${process.env.SITE}/api/v2`)
  .set("key", process.env.KEY);
const links = kutt.links();
const failed = async (call) => call.then(() => null, (error) => error.message);

const made = await links.create({
  target: "https://www.example.com/page",
  description: "For the fair",
  expire_in: "2 hours",
  password: "secret",
  customurl: "fair",
  reuse: false,
});
const plain = await links.create({ target: "https://www.example.com" });
const again = await links.create({ target: "https://www.example.com", reuse: true });
const list = await links.list({ skip: 0, limit: 1 });
const updated = await links.update(plain.id, { target: "https://www.example.com/new", description: "Moved" });
const statsError = await failed(links.stats(plain.id));
const kept = (await links.list()).total;
const removed = await links.remove(made.id);
console.log(JSON.stringify({
  made,
  plain,
  again,
  list,
  updated,
  statsError,
  kept,
  removed,
  left: (await links.list()).total,
  user: await kutt.users().info(),
  healthy: await kutt.health().check(),
  taken: await failed(links.create({ target: "https://www.example.com", customurl: "fair" })),
  wrongKey: await failed(new Kutt().set("api", `${process.env.SITE}/api/v2`).set("key", "wrong").users().info()),
  domain: await failed(kutt.domains().create({ address: "go.example.org", homepage: "https://www.example.com" })),
}));
