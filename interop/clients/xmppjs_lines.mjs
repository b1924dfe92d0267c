// @xmpp/client behind a line protocol: see lines.py.

import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const modules = pathToFileURL(`${process.env.INTEROP_INSTALLED}/node_modules`);
// This Node has no WebSocket of its own; the one that stanza brings is installed too.
globalThis.WebSocket = (await import(`${modules}/ws/wrapper.mjs`)).default;
const { client, xml } = await import(`${modules}/@xmpp/client/index.js`);
const settings = JSON.parse(process.argv[2]);

const CARBONS = "urn:xmpp:carbons:2";
const MAM = "urn:xmpp:mam:2";
const PAGES = "http://jabber.org/protocol/rsm";

const say = (event, fields) => console.log(JSON.stringify({ event, ...fields }));
const { domain, port } = settings;
const service = {
  starttls: `xmpp://${domain}:${port}`,
  tls: `xmpps://${domain}:${port}`,
  websocket: `wss://${domain}:${port}/xmpp-websocket`,
}[settings.mode];

let mechanism = "";
const session = client({
  service,
  domain,
  username: settings.local,
  password: settings.password,
  // By itself it gives up after two seconds, in which a busy machine has not done a handshake.
  timeout: 60_000,
});
session.reconnect.stop();

session.on("send", (element) => {
  if (element.name === "auth" || element.name === "authenticate") {
    mechanism = element.attrs.mechanism;
  }
});
session.on("error", (error) => say("failed", { reason: `${error.code ?? ""} ${error.message}` }));
// An answer that its iqCaller takes is not counted (XEP-0198 section 4), and after a resumption what
// came last would come again: what is asked in every session is asked by hand.
let asked = 0;
const ask = async (payload) => {
  const id = `by-hand-${++asked}`;
  const answer = new Promise((resolve) => {
    const take = (stanza) => {
      if (stanza.attrs.id !== id) return;
      session.off("stanza", take);
      resolve(stanza);
    };
    session.on("stanza", take);
  });
  await session.send(xml("iq", { type: "get", id }, payload));
  return answer;
};
session.on("online", async (address) => {
  // Only who asked for the roster is told of changes (RFC 6121 section 2.2).
  await ask(xml("query", "jabber:iq:roster"));
  await session.send(xml("presence"));
  say("online", { jid: address.toString(), mechanism });
});
session.streamManagement.on("resumed", () => say("resumed"));
session.on("disconnect", () => say("cut"));
// What was found in the archive, by the id of the query.
const found = new Map();
session.on("stanza", (stanza) => {
  const { from, type } = stanza.attrs;
  const result = stanza.getChild("result", MAM);
  if (result) {
    const forwarded = result.getChild("forwarded");
    const { attrs } = forwarded.getChild("message");
    const body = forwarded.getChild("message").getChildText("body");
    const items = found.get(result.attrs.queryid);
    if (items) {
      return items.push({ id: result.attrs.id, from: attrs.from, body });
    }
    const delay = forwarded.getChild("delay").attrs.stamp;
    return say("message", { from: attrs.from, body, type: attrs.type, delay });
  }
  const copy = stanza.getChild("sent", CARBONS) ?? stanza.getChild("received", CARBONS);
  // Others could send what looks like a copy (XEP-0280 section 11).
  if (copy && from === session.jid.bare().toString()) {
    const message = copy.getChild("forwarded").getChild("message");
    const { from, to } = message.attrs;
    return say("copy", { which: copy.name, from, to, body: message.getChildText("body") });
  }
  if (stanza.is("message") && stanza.getChild("body")) {
    const delay = stanza.getChild("delay", "urn:xmpp:delay")?.attrs.stamp ?? null;
    say("message", { from, body: stanza.getChildText("body"), type, delay });
  } else if (stanza.is("presence")) {
    const show = stanza.getChildText("show") ?? "";
    say("presence", { from, type: type ?? "available", show });
  }
});

const orders = {
  chat: ({ to, body }) => session.send(xml("message", { to, type: "chat" }, xml("body", {}, body))),
  subscribe: ({ to }) => session.send(xml("presence", { to, type: "subscribe" })),
  approve: ({ to }) => session.send(xml("presence", { to, type: "subscribed" })),
  roster: async () => {
    const query = await session.iqCaller.get(xml("query", "jabber:iq:roster"));
    const items = query.getChildren("item").map(({ attrs }) => [attrs.jid, attrs.subscription]);
    say("roster", { items: Object.fromEntries(items) });
  },
  // Its socket for TLS is an envelope around the one of Node.
  cut: () => (session.socket.socket ?? session.socket).destroy(),
  mend: () => session.reconnect.reconnect(),
  archive: async () => {
    await session.iqCaller.set(xml("query", MAM));
  },
  history: async ({ contact }) => {
    const items = [];
    const field = (name, value) => xml("field", { var: name }, xml("value", {}, value));
    const form = () => xml("x", { xmlns: "jabber:x:data", type: "submit" },
      field("FORM_TYPE", MAM), field("with", contact));
    for (let after, complete = false; !complete; ) {
      const queryid = `query-${found.size}`;
      found.set(queryid, items);
      const page = xml("set", PAGES, xml("max", {}, "10"), after && xml("after", {}, after));
      const query = xml("query", { xmlns: MAM, queryid }, form(), page);
      const answer = await session.iqCaller.request(xml("iq", { type: "set" }, query));
      const fin = answer.getChild("fin", MAM);
      complete = fin.attrs.complete === "true";
      after = fin.getChild("set", PAGES).getChildText("last");
    }
    say("history", { items });
  },
  copies: async () => {
    await session.iqCaller.set(xml("enable", CARBONS));
    say("copies");
  },
  // Asks for copies within its next sign-in (XEP-0386).
  inline: () => session.bind2.use(CARBONS, () => xml("enable", CARBONS)),
  again: async () => {
    await session.stop();
    await session.start();
  },
  close: async () => {
    await session.stop();
    process.exit(0);
  },
};
createInterface({ input: process.stdin }).on("line", (line) => {
  const order = JSON.parse(line);
  orders[order.do](order);
});
session.start().catch((error) => say("failed", { reason: `${error.code ?? ""} ${error.message}` }));
