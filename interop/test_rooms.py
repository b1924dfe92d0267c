"""What rooms of another server send to members of ours (XEP-0045, RFC 6121 §8.5.3.1)."""

from harness.names import CLIENT, MESSAGE, bodies, child, is_presence
from harness.neighbours import Prosody, Stentor, neighbourhood
from harness.people import Person, friends, text_of
from harness.raw import new_id
from harness.scenes import chat, is_chat

MUC = "http://jabber.org/protocol/muc"


class Host(Prosody):
    """A server with rooms."""

    def __init__(self, region, domain):
        self.rooms = f"rooms.{domain.name}"
        chain, key = region.ca.server(self.rooms)
        extra = [f'Component "{self.rooms}" "muc"', "  muc_room_locking = false"]
        extra.append('  modules_enabled = { "tls"; "dialback"; "s2s_auth_certs" }')
        extra.append(f'  ssl = {{ certificate = "{chain}"; key = "{key}" }}')
        super().__init__(region, domain, extra=extra)
        region.dns.server_of(self.rooms, self.s2s_port, None)


def join(person: Person, room: str, nick: str) -> None:
    person.stream.write(f"<presence to='{room}/{nick}'><x xmlns='{MUC}'/></presence>")
    person.stream.wait(lambda e: is_presence(e, f"{room}/{nick}"))
    # The subject ends what a room tells who enters.
    person.stream.wait(lambda e: e.tag == MESSAGE and child(e, CLIENT, "subject") is not None)


# covers: presence-37
def test_presence_37_a_negative_priority_keeps_nothing_from_a_full_address():
    with neighbourhood(Stentor, Host) as (ours, prosody):
        alice, dora = friends(ours, prosody)
        room = f"verona@{prosody.rooms}"
        alice.stream.available(-1)
        shown = dora.stream.wait(
            lambda e: is_presence(e, alice.full) and text_of(e, "priority") == "-1"
        )
        assert shown.get("type") is None
        join(dora, room, "dora")
        join(alice, room, "alice")
        chat(dora.stream, room, "to all in the room", "groupchat")
        said = alice.stream.wait(is_chat("to all in the room"))
        assert (said.get("from"), said.get("type")) == (f"{room}/dora", "groupchat")
        # To the full address everything comes, to the bare one no message.
        chat(dora.stream, alice.full, "directly")
        alice.stream.wait(is_chat("directly"))
        dora.stream.write(f"<presence to='{alice.full}'><status>for you</status></presence>")
        alice.stream.wait(lambda e: text_of(e, "status") == "for you")
        ident = new_id("iq")
        dora.stream.write(
            f"<iq type='get' id='{ident}' to='{alice.full}'><x xmlns='urn:example:x'/></iq>"
        )
        alice.stream.wait(lambda e: e.get("id") == ident)
        kept = ["a chat", "a normal one", "one of no type"]
        for text, kind in zip(kept, ("chat", "normal", None)):
            chat(dora.stream, alice.jid, text, kind)
        assert bodies(dora.stream.barrier(alice.stream)[0]) == []
        assert bodies(alice.stream.available(-1) + alice.stream.ping()) == []
        alice.stream.write("<presence><priority>0</priority></presence>")
        came = [alice.stream.wait(lambda e: bool(bodies([e]))) for _ in kept]
        assert bodies(came) == kept
        # What is said in the room is not kept, and comes still.
        chat(dora.stream, room, "once more", "groupchat")
        alice.stream.wait(is_chat("once more"))
