// A TCP transport for stanza, which brings only WebSocket and BOSH: sockets and framing are
// here, all of parsing, negotiation and stanzas stays with the library.

import { readFileSync } from "node:fs";
import net from "node:net";
import { Duplex } from "node:stream";
import tls from "node:tls";

const STREAMS = "xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'";

export function tcpTransport(jxt, settings, failed) {
  const header = `<?xml version='1.0'?><stream:stream to='${settings.domain}' version='1.0' ${STREAMS}>`;
  const where = { host: settings.address, port: settings.port };
  const secure = { servername: settings.domain, ca: readFileSync(settings.ca) };

  return class TcpTransport extends Duplex {
    constructor(client, sm, stanzas) {
      super({ objectMode: true });
      this.client = client;
      this.sm = sm;
      this.stanzas = stanzas;
      this.on("data", ({ stanza, kind }) => client.emit("stream:data", stanza, kind));
      this.on("end", () => client.transport === this && client.emit("--transport-disconnected"));
    }

    connect(config) {
      this.config = config;
      if (settings.mode === "tls") {
        this.ready(tls.connect({ ...where, ...secure }), "secureConnect");
      } else {
        this.startTls(net.connect(where));
      }
    }

    startTls(plain) {
      let seen = "";
      plain.on("error", (error) => failed(`${error.code} ${error.message}`));
      plain.on("connect", () => plain.write(header));
      plain.on("data", (data) => {
        seen += data;
        if (seen.endsWith("</stream:features>")) {
          plain.write("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>");
        } else if (seen.includes("<proceed")) {
          plain.removeAllListeners("data");
          this.ready(tls.connect({ socket: plain, ...secure }), "secureConnect");
        }
      });
    }

    ready(socket, event) {
      this.socket = socket;
      socket.on(event, () => {
        this.sm.started = false;
        this.client.emit("connected");
        this.restart();
      });
      socket.on("data", (data) => this.parser.write(data));
      socket.on("close", () => this.push(null));
      socket.on("error", (error) => failed(`certificate? ${error.code} ${error.message}`));
    }

    restart() {
      const { acceptLanguages, lang } = this.config;
      this.parser = new jxt.StreamParser({
        acceptLanguages, lang, allowComments: false, registry: this.stanzas, wrappedStream: true,
      });
      this.parser.on("error", (error) => failed(`parser: ${error}`));
      this.parser.on("data", ({ event, kind, stanza }) => {
        if (event === "stream-start") {
          this.stream = stanza;
          this.client.emit("stream:start", stanza);
        } else if (event === "stream-end") {
          this.client.emit("stream:end");
          this.disconnect();
        } else {
          this.push({ kind, stanza });
        }
      });
      this.socket.write(header);
    }

    _read() {}

    _write(chunk, _encoding, done) {
      const text = chunk.toString();
      this.client.emit("raw", "outgoing", text);
      this.socket.write(text, done);
    }

    async send(name, data) {
      const output = this.stanzas.export(name, data)?.toString();
      if (output) {
        await new Promise((resolve) => this.write(output, "utf8", resolve));
      }
    }

    disconnect() {
      this.socket?.end("</stream:stream>");
    }
  };
}
