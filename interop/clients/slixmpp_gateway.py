"""A gateway of slixmpp (XEP-0100) to a network of parrots: every contact there says what it is told.

Arguments: the domain, the secret, the port. Prints a line when it is attached, and one when it is
not any more.
"""

import asyncio
import sys

import slixmpp


class Parrots(slixmpp.ComponentXMPP):
    def __init__(self, domain, secret, port):
        super().__init__(domain, secret, "127.0.0.1", port)
        self.register_plugin("xep_0030")
        self.register_plugin("xep_0077")
        self.register_plugin("xep_0100", {"component_name": "Parrots", "type": "parrots"})
        self.register_plugin("xep_0199")
        self.add_event_handler("session_start", lambda _: print("attached", flush=True))
        self.add_event_handler("disconnected", self.gone)
        self.add_event_handler("legacy_message", self.repeat)

    def repeat(self, message):
        if message["body"]:
            self["xep_0100"].transform_legacy_message(
                message["from"], message["to"].local, message["body"], "chat"
            )

    def gone(self, _):
        print("gone", flush=True)
        asyncio.get_running_loop().stop()


if __name__ == "__main__":
    domain, secret, port = sys.argv[1:]
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    parrots = Parrots(domain, secret, int(port))
    parrots.connect()
    loop.run_forever()
