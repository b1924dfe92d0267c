"""A push service of slixmpp (XEP-0357 §3): tells what is published, and does as a node is called.

Arguments: the domain, the secret, the port. Each line it prints is a JSON object: `{"attached": true}`,
or what was published with when. What it does: `mute` never answers, `busy` says three times that it
cannot now, `gone` says that there is no such node, `slow` answers after three seconds, `secret` accepts
who shows the secret; all others are accepted. Whoever writes to it `mention ADDRESS` makes its room
forward a mention to that address (XEP-0452).
"""

import asyncio
import json
import sys
import time
from xml.sax.saxutils import escape

import slixmpp
from slixmpp.xmlstream.handler import CoroutineCallback
from slixmpp.xmlstream.matcher import MatchXPath

PUBSUB, PUSH = "http://jabber.org/protocol/pubsub", "urn:xmpp:push:0"
FORM, SHIM = "jabber:x:data", "http://jabber.org/protocol/shim"
SECRET = "eruio234vzxc2kla-91"


def say(**fields):
    print(json.dumps(fields), flush=True)


def fields_of(form):
    found = [] if form is None else form.findall(f"{{{FORM}}}field")
    return {field.get("var"): field.findtext(f"{{{FORM}}}value") for field in found}


class Push(slixmpp.ComponentXMPP):
    def __init__(self, domain, secret, port):
        super().__init__(domain, secret, "127.0.0.1", port)
        self.refusals = 0
        self.add_event_handler("session_start", lambda _: say(attached=True))
        self.add_event_handler("disconnected", lambda _: asyncio.get_running_loop().stop())
        self.add_event_handler("message", self.forward)
        path = f"{{jabber:component:accept}}iq/{{{PUBSUB}}}pubsub"
        self.register_handler(CoroutineCallback("publish", MatchXPath(path), self.published))

    async def published(self, iq):
        publish = iq.xml.find(f".//{{{PUBSUB}}}publish")
        notification = publish.find(f".//{{{PUSH}}}notification")
        options = iq.xml.find(f".//{{{PUBSUB}}}publish-options")
        secret = None if options is None else fields_of(options.find(f"{{{FORM}}}x")).get("secret")
        headers = notification.findall(f".//{{{SHIM}}}header")
        node = publish.get("node")
        say(
            node=node,
            at=time.monotonic(),
            sender=iq["from"].full,
            secret=secret,
            headers={header.get("name"): header.text for header in headers},
            **{"summary": fields_of(notification.find(f"{{{FORM}}}x"))},
        )
        kind = node.partition("-")[0]
        if kind == "mute":
            return
        if kind == "slow":
            await asyncio.sleep(3)
        if kind == "gone":
            self.refuse(iq, "cancel", "item-not-found")
        elif kind == "secret" and secret != SECRET:
            self.refuse(iq, "auth", "forbidden")
        elif kind == "busy" and self.refusals < 3:
            self.refusals += 1
            self.refuse(iq, "wait", "resource-constraint")
        else:
            iq.reply().send()

    def refuse(self, iq, kind, condition):
        answer = iq.reply(clear=True)
        answer["type"] = "error"
        answer["error"]["type"] = kind
        answer["error"]["condition"] = condition
        answer.send()

    def forward(self, message):
        word, _, who = message["body"].partition(" ")
        if word != "mention":
            return
        room = f"coven@{self.boundjid.bare}"
        self.send_raw(
            f"<message from='{room}' to='{escape(who)}'><mentions xmlns='urn:xmpp:mmn:0'>"
            "<forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client' "
            f"type='groupchat' id='1' from='{room}/firstwitch' to='{room}'>"
            "<body>secondwitch: Thrice the brinded cat hath mew'd.</body></message></forwarded>"
            "</mentions></message>"
        )


if __name__ == "__main__":
    domain, secret, port = sys.argv[1:]
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    push = Push(domain, secret, int(port))
    push.connect()
    loop.run_forever()
