// stanza behind a line protocol: see lines.py.

import { createInterface } from "node:readline";
import { createRequire } from "node:module";

import { tcpTransport } from "./stanza_tcp.mjs";

const require = createRequire(`${process.env.INTEROP_INSTALLED}/node_modules/`);
const { createClient, JXT } = require("stanza");
const settings = JSON.parse(process.argv[2]);

const say = (event, fields) => console.log(JSON.stringify({ event, ...fields }));
const { domain, port } = settings;
const url = settings.mode === "websocket" && `wss://${domain}:${port}/xmpp-websocket`;

let mechanism = "";
const session = createClient({
  jid: settings.jid,
  password: settings.password,
  autoReconnect: false,
  // Seconds for an answer: on a busy machine more than the 15 that it waits by itself.
  timeout: 60,
  transports: { websocket: url, bosh: false, tcp: settings.mode },
  transportPreferenceOrder: [settings.mode === "websocket" ? "websocket" : "tcp"],
});
// The library takes -PLUS without having binding data when it has no transport of its own.
for (const hash of ["SHA-1", "SHA-256"]) {
  session.sasl.disable(`SCRAM-${hash}-PLUS`);
}
session.transports.tcp = tcpTransport(JXT, settings, (reason) => say("failed", { reason }));
const complain = console.error;
console.error = (error) => {
  say("failed", { reason: `${error?.code ?? ""} ${error?.message ?? error?.error?.message ?? error}` });
  complain(error);
};

session.on("raw:outgoing", (data) => {
  mechanism ||= /<auth [^>]*mechanism="([^"]*)"/.exec(data)?.[1];
});
session.on("auth:failed", () => say("failed", { reason: "auth:failed" }));
session.on("session:started", async () => {
  // Only who asked for the roster is told of changes (RFC 6121 section 2.2).
  note(await session.getRoster());
  session.sendPresence();
  say("online", { jid: session.jid, mechanism });
});
session.on("stream:management:resumed", () => say("resumed"));
session.on("disconnected", () => say("cut"));
// It shows what another device received once as a copy and once more as a message.
const copies = new WeakSet();
const copied = (which) => ({ carbon }) => {
  const { message } = carbon.forward;
  copies.add(message);
  say("copy", { which, from: message.from, to: message.to, body: message.body });
};
session.on("carbon:sent", copied("sent"));
session.on("carbon:received", copied("received"));
session.on("message", (message) => {
  const { from, type, body, delay } = message;
  if (body !== undefined && !copies.has(message)) {
    say("message", { from, type, body, delay: delay?.timestamp ?? null });
  }
});
session.on("presence", ({ from, type, show }) => {
  say("presence", { from, type: type ?? "available", show: show ?? "" });
});

const contacts = new Map();
const note = (roster) => {
  for (const { jid, subscription } of roster?.items ?? []) {
    if (subscription === "remove") contacts.delete(jid);
    else contacts.set(jid, subscription);
  }
};
session.on("roster:update", (iq) => note(iq.roster));

const orders = {
  chat: ({ to, body }) => session.sendMessage({ to, body, type: "chat" }),
  subscribe: ({ to }) => session.subscribe(to),
  approve: ({ to }) => session.acceptSubscription(to),
  roster: async () => {
    // The answer may be empty and the changes come as pushes (RFC 6121 section 2.6.3).
    note(await session.getRoster());
    say("roster", { items: Object.fromEntries(contacts) });
  },
  copies: async () => {
    await session.enableCarbons();
    say("copies");
  },
  history: async ({ contact }) => {
    const items = [];
    for (let after; ; ) {
      const page = await session.searchHistory({ with: contact, paging: { max: 10, after } });
      for (const { id, item } of page.results) {
        items.push({ id, from: item.message.from, body: item.message.body });
      }
      if (page.complete) break;
      after = page.paging.last;
    }
    say("history", { items });
  },
  cut: () => session.transport.socket.destroy(),
  mend: () => session.connect(),
  close: async () => {
    session.on("disconnected", () => process.exit(0));
    await session.disconnect();
  },
};
createInterface({ input: process.stdin }).on("line", (line) => {
  const order = JSON.parse(line);
  orders[order.do](order);
});
session.connect();
