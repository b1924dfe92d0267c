// @xmpp/client behind a line protocol: see lines.py.

import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const modules = pathToFileURL(`${process.env.INTEROP_INSTALLED}/node_modules`);
// This Node has no WebSocket of its own; the one that stanza brings is installed too.
globalThis.WebSocket = (await import(`${modules}/ws/wrapper.mjs`)).default;
const { client, xml } = await import(`${modules}/@xmpp/client/index.js`);
const settings = JSON.parse(process.argv[2]);

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
});
session.reconnect.stop();

session.on("send", (element) => {
  if (element.name === "auth" || element.name === "authenticate") {
    mechanism = element.attrs.mechanism;
  }
});
session.on("error", (error) => say("failed", { reason: `${error.code ?? ""} ${error.message}` }));
session.on("online", async (address) => {
  // Only who asked for the roster is told of changes (RFC 6121 section 2.2).
  await session.iqCaller.get(xml("query", "jabber:iq:roster"));
  await session.send(xml("presence"));
  say("online", { jid: address.toString(), mechanism });
});
session.streamManagement.on("resumed", () => say("resumed"));
session.on("disconnect", () => say("cut"));
session.on("stanza", (stanza) => {
  // A result of a query to the archive (XEP-0313): the message is inside.
  const forwarded = stanza.getChild("result", "urn:xmpp:mam:2")?.getChild("forwarded");
  if (forwarded) {
    const { attrs } = forwarded.getChild("message");
    const body = forwarded.getChild("message").getChildText("body");
    const delay = forwarded.getChild("delay").attrs.stamp;
    return say("message", { from: attrs.from, body, type: attrs.type, delay });
  }
  const { from, type } = stanza.attrs;
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
    await session.iqCaller.set(xml("query", "urn:xmpp:mam:2"));
  },
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
