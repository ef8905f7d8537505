// Runs the script of the live page against a broker, on as much of a browser's document as the page uses: node page.js http://HOST:PORT
// What it shows and what its buttons do is asserted here; what came of it in the broker, by whoever started this.
"use strict";
const assert = require("assert");
const vm = require("vm");
const base = process.argv[2];

class Node {}
class Text extends Node {
  constructor(text) { super(); this.textContent = text; }
}
class Element extends Node {
  constructor(tag) { super(); Object.assign(this, { tag, children: [], style: {}, value: "" }); }
  append(...parts) { this.children.push(...parts.map(part => part instanceof Node ? part : new Text(String(part)))); }
  replaceChildren(...parts) { this.children = []; this.append(...parts); }
  get textContent() { return this.children.map(child => child.textContent).join(this.tag === "tr" ? " | " : ""); }
  set textContent(text) { this.children = [new Text(String(text))]; }
  focus() {}
  all(tag) { return this.children.filter(child => child instanceof Element).flatMap(child => [...child.tag === tag ? [child] : [], ...child.all(tag)]); }
}

/* Every element with an id; the fields of a form are its elements, by name and in order, as in a browser. */
function documentOf(html) {
  const ids = {};
  for (const [, tag, id] of html.matchAll(/<(\w+)[^>]*\bid="(\w+)"/g)) ids[id] = new Element(tag);
  for (const [, id, inside] of html.matchAll(/<form id="(\w+)">(.*?)<\/form>/gs)) {
    const fields = [...inside.matchAll(/<(?:input|select) name="(\w+)"(?: type="(\w+)")?/g)];
    ids[id].elements = fields.map(([, name, type]) => Object.assign(new Element("input"), { name, type: type ?? "text" }));
    for (const field of ids[id].elements) ids[id].elements[field.name] = ids[id][field.name] = field;
  }
  return {
    hidden: false,
    getElementById: id => ids[id],
    createElement: tag => new Element(tag),
    createTextNode: text => new Text(String(text)),
  };
}

async function within(what, look) {
  for (const until = Date.now() + 20_000; Date.now() < until; await new Promise(wake => setTimeout(wake, 10))) {
    if (look()) return;
  }
  assert.fail(`${what} did not come`);
}

async function main() {
  const html = await (await fetch(base)).text();
  const document = documentOf(html);
  const context = { document, Node, setTimeout, clearTimeout, fetch: (path, options) => fetch(new URL(path, base), options) };
  vm.runInNewContext(html.match(/<script>(.*)<\/script>/s)[1], context);
  const $ = document.getElementById;
  const row = (id, word) => $(id).all("tr").find(line => line.textContent.includes(word));
  const node = id => $("nodes").all("tr").find(line => line.textContent.startsWith(`${id} | `));
  const buttons = line => line.all("button").map(button => button.textContent);
  const click = (line, text) => {
    const found = line.all("button").find(button => button.textContent === text);
    assert.ok(found, `${text} is among ${buttons(line)}`);
    return found.onclick();
  };
  const fill = (id, values) => { for (const [name, value] of Object.entries(values)) $(id)[name].value = value; };
  const submit = id => $(id).onsubmit({ preventDefault() {} });

  await within("the first look", () => $("state").textContent === "live" && row("partitions", "orders"));
  const [, , rack] = node(1).children;
  assert.equal(rack.textContent, "north");

  // Nodes: what a process cannot do is not offered.
  await click(node(3), "Freeze");
  assert.deepEqual(buttons(node(3)), ["Thaw", "Kill", "Copy nothing"]);
  await click(node(3), "Thaw");
  await click(node(3), "Kill");
  assert.deepEqual(buttons(node(3)), ["Start", "Copy nothing"]);
  await click(node(3), "Start");
  await click(node(3), "Copy nothing");
  await click(node(3), "Copy again");
  assert.deepEqual(buttons(node(3)), ["Freeze", "Kill", "Copy nothing"]);

  // Partitions: another leader, then other replicas.
  await click(row("partitions", "orders"), "Lead by 2");
  assert.ok(row("partitions", "orders").textContent.startsWith("orders | 0 | 2 | 1 | 1 2 | 1 2 | "), row("partitions", "orders").textContent);
  click(row("partitions", "orders"), "Move");
  assert.equal($("move").nodes.value, "1 2");
  fill("move", { nodes: "3, 1" });
  submit("move");
  await within("the move", () => row("partitions", "orders").textContent.includes("| 3 1 |"));
  fill("move", { nodes: "9" });
  submit("move");
  await within("the refusal", () => $("said").textContent === "there is no node 9; there are: 1, 2, 3");

  // Faults: every button adds one, or removes all.
  const common = $("common").all("button");
  for (const button of common.slice(0, -1)) await button.onclick();
  assert.equal($("faults").all("tr").length, common.length, "a head, and a line for each");
  await common.at(-1).onclick();
  assert.ok($("faults").textContent.startsWith("no faults"), $("faults").textContent);
  // The form: what each effect needs, and every field.
  const needs = { refuse: { code: "NOT_ENOUGH_REPLICAS" }, refuse_after: { code: "NOT_CONTROLLER" }, delay: { time_ms: "5" }, throttle: { time_ms: "5" }, cut: { bytes: "5" } };
  for (const { textContent: effect } of $("fault").effect.children) {
    fill("fault", { effect, code: "", time_ms: "", bytes: "", topic: "orders", partition: "0", node: "1", client: "me", skip: "2", times: "4", lasting_ms: "90000", ...needs[effect] });
    submit("fault");
    await within(effect, () => row("faults", `| ${effect} `));
    const text = row("faults", `| ${effect} `).textContent;
    for (const told of ["topic orders", "partition 0", "node 1", "client me", "after 2 that fit, 4 times, for 90000 ms | 0 | 0 |"]) {
      assert.ok(text.includes(told), text);
    }
  }
  fill("fault", { topic: "later" });
  submit("fault");
  await within("the note", () => $("said").textContent.includes('no topic "later" yet'));
  await within("the last one", () => row("faults", "topic later"));
  await click(row("faults", "topic later"), "Remove");
  assert.equal(row("faults", "topic later"), undefined);
}

main().then(() => process.exit(0), error => { console.error(error); process.exit(1); });
