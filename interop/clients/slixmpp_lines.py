"""slixmpp behind a line protocol: see lines.py."""

import asyncio
import json
import sys

import slixmpp
import slixmpp.exceptions


def say(event, **fields):
    print(json.dumps({"event": event, **fields}), flush=True)


class Lines(slixmpp.ClientXMPP):
    """One session that tells what comes and does what it is told."""

    def __init__(self, settings):
        super().__init__(settings["jid"], settings["password"])
        self.settings = settings
        self.ca_certs = settings["ca"]
        self.enable_direct_tls = settings["mode"] == "tls"
        self.enable_starttls = settings["mode"] == "starttls"
        self.auto_authorize = None
        self.auto_subscribe = False
        for number in (30, 33, 59, 85, 184, 198, 199, 203, 280, 297, 313, 494):
            self.register_plugin(f"xep_{number:04}")
        self.add_event_handler("session_start", self.started)
        self.add_event_handler("session_resumed", lambda _: say("resumed"))
        self.add_event_handler("disconnected", lambda _: say("cut"))
        self.add_event_handler("message", self.came)
        for which in ("sent", "received"):
            self.add_event_handler(f"carbon_{which}", lambda m, name=which: self.copied(name, m))
        for kind in ("available", "away", "unavailable", "subscribe", "subscribed", "unsubscribed"):
            self.add_event_handler(f"presence_{kind}", self.presence)
        for state in ("active", "composing"):
            self.add_event_handler(f"chatstate_{state}", self.chat_state)
        for failure in (
            "connection_failed",
            "ssl_invalid_chain",
            "failed_all_auth",
            "stream_error",
        ):
            self.add_event_handler(failure, lambda why, name=failure: self.failed(name, why))

    async def started(self, _):
        # Only who asked for the roster is told of changes (RFC 6121 §2.2).
        await self.get_roster()
        self.send_presence()
        mechanism = self.plugin["feature_mechanisms"].mech.name
        say("online", jid=self.boundjid.full, mechanism=mechanism)

    def failed(self, name, why):
        say("failed", reason=f"{name}: {why}")

    def came(self, message):
        delay = message["delay"]["stamp"]
        stamp = delay.isoformat() if delay else None
        if message["body"]:
            say(
                "message",
                **{"from": message["from"].full},
                body=message["body"],
                type=message["type"],
                delay=stamp,
                addresses=self.addresses(message),
            )

    @staticmethod
    def addresses(message):
        """Type, address, and whether it has the message (XEP-0033)."""
        if not message.get_plugin("addresses", check=True):
            return []
        all_of_them = message["addresses"].iterables
        return [[a["type"], str(a["jid"]), a["delivered"]] for a in all_of_them]

    @staticmethod
    def copied(which, copy):
        message = copy[f"carbon_{which}"]
        addresses = {"from": message["from"].full, "to": message["to"].full}
        say("copy", which=which, **addresses, body=message["body"])

    def presence(self, presence):
        kind = presence.xml.get("type") or "available"
        say("presence", **{"from": presence["from"].full}, type=kind, show=presence["show"])

    def chat_state(self, message):
        say("state", **{"from": message["from"].full}, state=message["chat_state"])

    @staticmethod
    def shown(client):
        auth = client.xml.find("{urn:xmpp:cam:0}auth")
        return {
            "id": client["id"],
            "connected": client["connected"],
            "software": client.xml.findtext(".//{urn:xmpp:cam:0}software"),
            "auth": [means.tag.partition("}")[2] for means in auth],
        }

    async def obey(self, order):
        match order["do"]:
            case "chat":
                self.send_message(order["to"], order["body"], mtype="chat")
            case "spread":
                message = self.make_message(order["to"], order["body"], mtype="chat")
                for kind, jid in order["addresses"]:
                    message["addresses"].add_address(atype=kind, jid=jid)
                message.send()
            case "subscribe":
                self.send_presence_subscription(order["to"])
            case "approve":
                self.send_presence_subscription(order["to"], ptype="subscribed")
            case "roster":
                # By hand: with a version of its own it would be told of changes only.
                answer = await self.make_iq_get("jabber:iq:roster").send()
                items = answer["roster"]["items"]
                say("roster", items={str(jid): item["subscription"] for jid, item in items.items()})
            case "clients":
                clients = await self["xep_0494"].get_clients()
                say("clients", clients=[self.shown(client) for client in clients])
            case "revoke":
                # Its own `revoke` asks by an iq of type get.
                iq = self.make_iq_set()
                iq["revoke"]["id"] = order["id"]
                try:
                    await iq.send()
                    say("revoked", error=None)
                except slixmpp.exceptions.IqError as error:
                    say("revoked", error=error.condition)
            case "copies":
                await self["xep_0280"].enable()
                say("copies")
            case "history":
                archive = self.plugin["xep_0313"]
                items = []
                async for found in archive.iterate(with_jid=slixmpp.JID(order["contact"])):
                    result = found["mam_result"]
                    message = result["forwarded"]["stanza"]
                    sender = message["from"].full
                    items.append({"id": result["id"], "from": sender, "body": message["body"]})
                say("history", items=items)
            case "cut":
                self.transport.abort()
            case "mend":
                self.connect(self.settings["address"], self.settings["port"])
            case "close":
                await self.disconnect()
                sys.exit(0)


async def main(settings):
    client = Lines(settings)
    client.connect(settings["address"], settings["port"])
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        await client.obey(json.loads(line))


asyncio.run(main(json.loads(sys.argv[1])))
