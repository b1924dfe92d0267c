"""Malformed input: a list of 1,000 cases from one seed, each with the errors it may get."""

import base64
import random
import string
from dataclasses import dataclass

SEED = 6120
# The stanza size limit that the server must be set up with, and what is above it.
STANZA_BYTES_MAX = 65_536
TOO_BIG = STANZA_BYTES_MAX + 10_000

WELL = ("not-well-formed",)
RESTRICTED = ("restricted-xml",)
ENCODING = ("unsupported-encoding",)
POLICY = ("policy-violation",)
MALFORMED_SASL = ("malformed-request", "incorrect-encoding", "not-authorized", "invalid-authzid")


@dataclass(frozen=True)
class Case:
    """What to write and what must come back.

    `answer` is "stream" (a stream error), "stanza" (an error stanza with the id `bad`) or "sasl"
    (a <failure/>). `when` is "opening" (instead of the stream header), "secured" (before SASL)
    or "bound".
    """

    name: str
    data: bytes
    answer: str
    conditions: tuple[str, ...]
    when: str = "bound"


def cases(victim: str, domain: str) -> list[Case]:
    """The list; `victim` is the full address that broken messages are sent to."""
    dice = random.Random(SEED)
    made = []
    for count, category in (
        (350, syntax),
        (130, namespaces),
        (200, shapes),
        (140, addresses),
        (100, sasl),
        (80, sizes),
    ):
        unlike = {}
        while len(unlike) < count:
            unlike.update({case.data: case for case in category(dice, victim, domain)})
        made += list(unlike.values())[:count]
    return made


def word(dice: random.Random, most: int = 12) -> str:
    return "".join(dice.choices(string.ascii_lowercase, k=dice.randint(1, most)))


def content(dice: random.Random, depth: int = 0) -> str:
    """Some well-formed content."""
    parts = [dice.choice(["", word(dice), "&lt;", "&#xE4;", "<![CDATA[<]]>", " "])]
    for _ in range(dice.randint(0, 3 if depth < 3 else 0)):
        name = word(dice)
        attribute = f" {word(dice)}='{word(dice)}'" if dice.random() < 0.5 else ""
        parts.append(f"<{name}{attribute}>{content(dice, depth + 1)}</{name}>")
    return "".join(parts)


def message(dice: random.Random, to: str, broken: str | bytes) -> bytes:
    """A message with something broken somewhere inside."""
    where = dice.randrange(3)
    broken = broken.encode() if isinstance(broken, str) else broken
    body = [b"", b"", b""]
    body[where] = broken
    return b"".join(
        (
            f"<message to='{to}' type='chat'>{content(dice)}".encode(),
            body[0],
            b"<body>",
            word(dice).encode(),
            body[1],
            b"</body>",
            body[2],
            f"<x xmlns='urn:example:{word(dice)}'>{content(dice)}</x></message>".encode(),
        )
    )


def syntax(dice, victim, domain):
    """Not XML, or XML that streams forbid (RFC 6120 §11.1)."""
    name, other = word(dice), word(dice) + "x"
    inside = {
        "mismatched": (f"<{name}></{other}>", WELL),
        "stray end": (f"</{other}>", WELL),
        "crossed": (f"<{name}><{other}></{name}></{other}>", WELL),
        "bare ampersand": (f"{name} & {other}", WELL),
        "unended reference": (f"&amp{name} ", WELL + RESTRICTED),
        "less-than": (f"{name} < {other}", WELL),
        "less-than in attribute": (f"<{name} a='<'/>", WELL),
        "no quotes": (f"<{name} a={other}/>", WELL),
        "unlike quotes": (f"<{name} a='{other}\"></{name}>", WELL),
        "no value": (f"<{name} {other}/>", WELL),
        "no space": (f"<{name} a='1'b='2'/>", WELL),
        "same attribute": (f"<{name} {other}='1' {other}='2'/>", WELL),
        "name begins with digit": (f"<{dice.randint(0, 9)}{name}/>", WELL),
        "name begins with dash": (f"<-{name}/>", WELL),
        "space before name": (f"< {name}/>", WELL),
        "slash and space": (f"<{name}/ >", WELL),
        "end with attribute": (f"<{name}></{name} a='1'>", WELL),
        "end of CDATA in text": (f"{name}]]>", WELL),
        "null reference": ("&#0;", WELL),
        "control reference": (f"&#x{dice.randint(1, 8):x};", WELL),
        "surrogate reference": (f"&#xD{dice.choice('89ABCDEF')}00;", WELL),
        "reference beyond Unicode": ("&#x110000;", WELL),
        "empty reference": (dice.choice(["&#;", "&#x;", "&;"]), WELL),
        "control character": (bytes([dice.choice([0, 1, 8, 11, 12, 14, 31])]), WELL),
        "noncharacter": ("\ufffe", WELL),
        "unknown entity": (f"&{name};", RESTRICTED),
        "entity in attribute": (f"<{name} a='&{other};'/>", RESTRICTED),
        "comment": (f"<!--{name}-->", RESTRICTED),
        "instruction": (f"<?{name} {other}?>", RESTRICTED),
        "doctype": (f"<!DOCTYPE {name}>", RESTRICTED),
        "entity declaration": (f"<!ENTITY {name} 'x'>", RESTRICTED + WELL),
        "declaration": ("<?xml version='1.0'?>", WELL),
        "overlong": (dice.choice([b"\xc0\x80", b"\xc1\xbf", b"\xe0\x80\xaf"]), ENCODING),
        "lone continuation": (bytes([dice.randint(0x80, 0xBF)]), ENCODING),
        "surrogate": (b"\xed" + bytes([dice.randint(0xA0, 0xBF), 0x80]), ENCODING),
        "cut sequence": (b"\xe2\x82 ", ENCODING),
        "beyond Unicode": (b"\xf4\x90\x80\x80", ENCODING),
        "byte that is no UTF-8": (bytes([dice.randint(0xF8, 0xFF)]), ENCODING),
    }
    for kind, (broken, conditions) in inside.items():
        yield Case(f"syntax: {kind}", message(dice, victim, broken), "stream", conditions)
    top = {
        "text": (f"{name} ", WELL + ("bad-format",)),
        "comment": (f"<!--{name}-->", RESTRICTED),
        "instruction": (f"<?{name}?>", RESTRICTED),
        "CDATA": (f"<![CDATA[{name}]]>", WELL + ("bad-format",)),
        "doctype": (f"<!DOCTYPE {name}>", RESTRICTED),
        "stray end": (f"</{name}>", WELL),
        "reference": ("&lt;", WELL + ("bad-format",)),
    }
    for kind, (text, conditions) in top.items():
        yield Case(f"syntax: top-level {kind}", text.encode(), "stream", conditions)
    opening = {
        "text": (f"{name} ", WELL + ("bad-format",)),
        "request": (f"GET /{name} HTTP/1.1\r\n\r\n", WELL + ("bad-format",)),
        "TLS inside TLS": ("\x16\x03\x01\x02\x00\x01", WELL),
        "comment": (f"<!--{name}--><stream:stream", RESTRICTED),
        "doctype": (f"<!DOCTYPE {name}>", RESTRICTED),
        "bad declaration": ("<?xml version=1.0?>", WELL),
        "no version": ("<?xml encoding='UTF-8'?>", WELL),
        "other encoding": ("<?xml version='1.0' encoding='ISO-8859-15'?>", ENCODING),
    }
    for kind, (text, conditions) in opening.items():
        yield Case(f"syntax: opening {kind}", text.encode(), "stream", conditions, "opening")


def namespaces(dice, victim, domain):
    """Wrong namespaces (RFC 6120 §4.8.5, XML-NAMES)."""
    name, prefix = word(dice), word(dice) + "p"
    inside = {
        "unbound element": f"<{prefix}:{name}/>",
        "unbound attribute": f"<{name} {prefix}:a='1'/>",
        "unbound end": f"<{name}><{prefix}:x></{prefix}:x></{name}>",
        "prefix to nothing": f"<{name} xmlns:{prefix}=''/>",
        "xmlns declared": f"<{name} xmlns:xmlns='urn:example:x'/>",
        "xml to another": f"<{name} xmlns:xml='urn:example:x'/>",
        "another to xml": f"<{name} xmlns:{prefix}='http://www.w3.org/XML/1998/namespace'/>",
        "another to xmlns": f"<{name} xmlns:{prefix}='http://www.w3.org/2000/xmlns/'/>",
        "two colons": f"<a:{name}:c xmlns:a='urn:example:a'/>",
        "empty prefix": f"<:{name}/>",
        "empty local name": f"<{prefix}: xmlns:{prefix}='urn:example:a'/>",
        "same expanded name": f"<{name} xmlns:a='urn:example:a' xmlns:b='urn:example:a' a:x='' b:x=''/>",
        "out of scope": f"<a xmlns:{prefix}='urn:example:a'/><{prefix}:{name}/>",
    }
    for kind, broken in inside.items():
        yield Case(f"namespaces: {kind}", message(dice, victim, broken), "stream", WELL)
    stanza = ("unsupported-stanza-type", "invalid-namespace")
    for kind, text in {
        "unknown element": f"<{name}q/>",
        "unknown namespace": f"<{name} xmlns='urn:example:{name}'/>",
        "message elsewhere": f"<message xmlns='urn:example:x' to='{victim}'><body>x</body></message>",
        "server's stanza": f"<message xmlns='jabber:server' to='{victim}'><body>x</body></message>",
        "no namespace": f"<iq xmlns='' type='get' id='x'><{name}/></iq>",
        "stream element": f"<stream:{name}q/>",
    }.items():
        yield Case(f"namespaces: first-level {kind}", text.encode(), "stream", stanza)
    stream, client = "http://etherx.jabber.org/streams", "jabber:client"
    wrong = ("invalid-namespace",)
    for kind, text, conditions in (
        (
            "stream",
            f"<stream:stream to='{domain}' version='1.0' xmlns='{client}' xmlns:stream='urn:example:{name}'>",
            wrong,
        ),
        (
            "content",
            f"<stream:stream to='{domain}' version='1.0' xmlns='jabber:{name}' xmlns:stream='{stream}'>",
            wrong,
        ),
        (
            "root",
            f"<{name} to='{domain}' version='1.0' xmlns='{client}' xmlns:stream='{stream}'>",
            wrong + ("bad-format",),
        ),
        ("stanza", f"<message xmlns='{client}' to='{victim}'>", wrong + ("bad-format",)),
        (
            "name",
            f"<stream:{name}x to='{domain}' version='1.0' xmlns='{client}' xmlns:stream='{stream}'>",
            ("bad-format",),
        ),
        (
            "prefix",
            f"<stream:stream to='{domain}' version='1.0' xmlns='{client}'>",
            WELL + ("bad-namespace-prefix",),
        ),
    ):
        yield Case(f"namespaces: header {kind}", text.encode(), "stream", conditions, "opening")


def shapes(dice, victim, domain):
    """Stanzas that are XML but not what RFC 6120 §8 and RFC 6121 call valid."""
    name, roster = word(dice), "jabber:iq:roster"
    bad, bad_jid = ("bad-request",), ("bad-request", "jid-malformed")
    to = dice.choice(["", f" to='{domain}'", f" to='{victim}'"])
    ping = "<ping xmlns='urn:xmpp:ping'/>"
    long_name = "n" * dice.randint(1100, 3000)

    def item(attributes, inner=""):
        return f"<query xmlns='{roster}'><item {attributes}>{inner}</item></query>"

    jid = f"{name}@contact.example"
    for kind, text, conditions in (
        ("iq without child", f"<iq type='get' id='bad'{to}/>", bad),
        ("iq set without child", f"<iq type='set' id='bad'{to}></iq>", bad),
        ("iq with text only", f"<iq type='get' id='bad'{to}>{name}</iq>", bad),
        ("iq with two children", f"<iq type='get' id='bad'{to}>{ping}<{name}/></iq>", bad),
        ("iq without type", f"<iq id='bad'{to}>{ping}</iq>", bad),
        ("iq of unknown type", f"<iq type='{name}x' id='bad'{to}>{ping}</iq>", bad),
        ("iq of empty type", f"<iq type='' id='bad'{to}>{ping}</iq>", bad),
        ("iq type in capitals", f"<iq type='GET' id='bad'{to}>{ping}</iq>", bad),
        ("presence of unknown type", f"<presence type='{name}x' id='bad'{to}/>", bad),
        ("presence of empty type", f"<presence type='' id='bad'{to}/>", bad),
        ("priority", f"<presence id='bad'><priority>{name}</priority></presence>", bad),
        (
            "priority too high",
            f"<presence id='bad'><priority>{dice.randint(128, 9**9)}</priority></presence>",
            bad,
        ),
        (
            "priority too low",
            f"<presence id='bad'><priority>-{dice.randint(129, 9**9)}</priority></presence>",
            bad,
        ),
        ("priority with fraction", "<presence id='bad'><priority>1.5</priority></presence>", bad),
        ("priority empty", "<presence id='bad'><priority/></presence>", bad),
        ("roster set without item", f"<iq type='set' id='bad'><query xmlns='{roster}'/></iq>", bad),
        (
            "roster set of two",
            f"<iq type='set' id='bad'><query xmlns='{roster}'><item jid='{jid}'/><item jid='x{jid}'/></query></iq>",
            bad,
        ),
        ("roster item without jid", f"<iq type='set' id='bad'>{item(f'name={name!r}')}</iq>", bad),
        (
            "roster item of bad jid",
            f"<iq type='set' id='bad'>{item(f'jid={name!r}@@')}</iq>".replace("'@@", "@@'"),
            bad_jid,
        ),
        (
            "roster name too long",
            f"<iq type='set' id='bad'>{item(f'jid={jid!r} name={long_name!r}')}</iq>",
            ("not-acceptable", "bad-request"),
        ),
        (
            "roster group too long",
            f"<iq type='set' id='bad'>{item(f'jid={jid!r}', f'<group>{long_name}</group>')}</iq>",
            ("not-acceptable", "bad-request"),
        ),
        (
            "roster group empty",
            f"<iq type='set' id='bad'>{item(f'jid={jid!r}', '<group/>')}</iq>",
            ("not-acceptable", "bad-request"),
        ),
        (
            "roster groups alike",
            f"<iq type='set' id='bad'>{item(f'jid={jid!r}', '<group>a</group><group>a</group>')}</iq>",
            bad,
        ),
        (
            "unknown request",
            f"<iq type='get' id='bad'><{name} xmlns='urn:example:{name}'/></iq>",
            ("service-unavailable", "feature-not-implemented"),
        ),
        (
            "unknown request to the server",
            f"<iq type='set' id='bad' to='{domain}'><{name} xmlns='urn:example:{name}'/></iq>",
            ("service-unavailable", "feature-not-implemented"),
        ),
        (
            "second bind",
            "<iq type='set' id='bad'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>",
            ("not-allowed", "bad-request", "service-unavailable"),
        ),
    ):
        yield Case(f"shapes: {kind}", text.encode(), "stanza", conditions)
    for kind, text in (
        (
            "auth after auth",
            "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AA==</auth>",
        ),
        ("starttls after TLS", "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"),
    ):
        conditions = ("unsupported-stanza-type", "not-authorized", "policy-violation")
        yield Case(f"shapes: {kind}", text.encode(), "stream", conditions)
    for kind, text in (
        ("message before SASL", f"<message to='{victim}'><body>{name}</body></message>"),
        ("presence before SASL", "<presence/>"),
        ("iq before SASL", f"<iq type='get' id='bad'>{ping}</iq>"),
    ):
        yield Case(f"shapes: {kind}", text.encode(), "stream", ("not-authorized",), "secured")


def addresses(dice, victim, domain):
    """Addresses that RFC 7622 does not allow."""
    name = word(dice)
    forbidden = (
        dice.choice("\"&'/:<>").replace("&", "&amp;").replace("<", "&lt;").replace("'", "&apos;")
    )
    for kind, to in {
        "no domain": f"{name}@",
        "no local part": f"@{name}",
        "only a resource": f"/{name}",
        "empty resource": f"{name}@{domain}/",
        "empty resource of a domain": f"{domain}/",
        "two ats": f"{name}@{name}@{domain}",
        "space in local part": f"{name} {name}@{domain}",
        "space in domain": f"{name}@{name} x",
        "forbidden character": f"{name}{forbidden if forbidden not in '/' else ':'}x@{domain}",
        "local part too long": f"{'l' * 1024}@{domain}",
        "domain too long": f"{name}@{'d' * 1024}",
        "label too long": f"{name}@{'d' * 64}.example",
        "empty label": f"{name}@{name}..example",
        "resource too long": f"{victim.partition('/')[0]}/{'r' * 1024}",
        "private use in local part": f"{name}\ue000@{domain}",
        "unassigned in local part": f"{name}\u0378@{domain}",
        "noncharacter in resource": f"{name}@{domain}/\ufdd0",
        "control in resource": f"{name}@{domain}/x&#x85;",
        "symbol in local part": f"{name}\u265a@{domain}",
        "right-to-left with left-to-right": f"\u05d0{name}@{domain}",
        "underscore in domain": f"{name}@{name}_\u00e4.example",
        "hyphen first": f"{name}@-{name}.example",
    }.items():
        tag = dice.choice(["message", "iq type='get'", "presence"])
        end = tag.split()[0]
        inner = {"message": "<body>x</body>", "iq": "<ping xmlns='urn:xmpp:ping'/>"}.get(end, "")
        text = f"<{tag} id='bad' to='{to}'>{inner}</{end}>"
        yield Case(f"addresses: {kind}", text.encode(), "stanza", ("jid-malformed",))


def sasl(dice, victim, domain):
    """Exchanges that go wrong (RFC 6120 §6.5)."""
    name, space = word(dice), "urn:ietf:params:xml:ns:xmpp-sasl"

    def auth(mechanism, data):
        text = base64.b64encode(data.encode()).decode() if data else ""
        return f"<auth xmlns='{space}' mechanism='{mechanism}'>{text}</auth>".encode()

    def raw(mechanism, text):
        return f"<auth xmlns='{space}' mechanism='{mechanism}'>{text}</auth>".encode()

    encoding = ("incorrect-encoding", "malformed-request")
    for kind, data, conditions in (
        ("unknown mechanism", auth(f"X-{name.upper()}", name), ("invalid-mechanism",)),
        (
            "no mechanism",
            f"<auth xmlns='{space}'>AAAA</auth>".encode(),
            ("invalid-mechanism", "malformed-request"),
        ),
        ("empty mechanism", auth("", name), ("invalid-mechanism",)),
        ("mechanism in small letters", auth("plain", f"\0{name}\0x"), ("invalid-mechanism",)),
        ("no base64", raw("PLAIN", f"{name}***"), encoding),
        ("base64 cut", raw("PLAIN", "AGFsaWNlAHg"), encoding),
        ("base64 with break", raw("PLAIN", "AGFs\naWNlAHg="), encoding + ("not-authorized",)),
        ("padding first", raw("PLAIN", "=AAA"), encoding),
        ("plain without NUL", auth("PLAIN", name), ("malformed-request",)),
        ("plain with one NUL", auth("PLAIN", f"\0{name}"), ("malformed-request",)),
        (
            "plain with many NULs",
            auth("PLAIN", f"\0{name}\0x\0y"),
            ("malformed-request", "not-authorized"),
        ),
        ("plain without name", auth("PLAIN", "\0\0secret"), MALFORMED_SASL),
        ("plain without password", auth("PLAIN", f"\0{name}\0"), MALFORMED_SASL),
        ("plain of unknown user", auth("PLAIN", f"\0{name}{name}\0secret"), ("not-authorized",)),
        (
            "plain name not UTF-8",
            raw("PLAIN", base64.b64encode(b"\0\xff\xfe\0x").decode()),
            MALFORMED_SASL,
        ),
        ("plain name forbidden", auth("PLAIN", f"\0{name}@ /\0x"), MALFORMED_SASL),
        ("scram rubbish", auth("SCRAM-SHA-1", name), ("malformed-request",)),
        ("scram without nonce", auth("SCRAM-SHA-1", f"n,,n={name}"), ("malformed-request",)),
        ("scram without name", auth("SCRAM-SHA-1", f"n,,r={name}"), ("malformed-request",)),
        ("scram bad escape", auth("SCRAM-SHA-1", f"n,,n=a=2F{name},r=abc"), MALFORMED_SASL),
        ("scram bad flag", auth("SCRAM-SHA-1", f"x,,n={name},r=abc"), ("malformed-request",)),
        (
            "scram mandatory extension",
            auth("SCRAM-SHA-1", f"n,,m=x,n={name},r=abc"),
            # RFC 5802 section 5.1: it must fail; the condition is left open.
            ("malformed-request", "not-authorized"),
        ),
        (
            "scram binding without plus",
            auth("SCRAM-SHA-1", f"p=tls-unique,,n={name},r=abc"),
            ("malformed-request", "not-authorized"),
        ),
        ("abort", f"<abort xmlns='{space}'/>".encode(), ("aborted", "malformed-request")),
        (
            "response first",
            f"<response xmlns='{space}'>AAAA</response>".encode(),
            ("malformed-request", "not-authorized", "invalid-mechanism"),
        ),
    ):
        yield Case(f"sasl: {kind}", data, "sasl", conditions, "secured")


def sizes(dice, victim, domain):
    """Above the limits (RFC 6120 §4.9.3.14, §13.12)."""
    name, big = word(dice), TOO_BIG + dice.randint(0, 5000)
    deep = dice.randint(9_000, 10_000)
    nested = "<a>" * deep
    attributes = " ".join(f"a{n}=''" for n in range(9000))
    declarations = "".join(f"<a xmlns:p{n}='urn:x'/>" for n in range(5000))
    for kind, data in (
        ("text", f"<message to='{victim}'><body>{'x' * big}</body></message>"),
        ("text without end", f"<message to='{victim}'><body>{'x' * big}"),
        ("attribute", f"<message to='{victim}'><{name} a='{'x' * big}'/></message>"),
        ("attribute without end", f"<message to='{victim}'><{name} a='{'x' * big}"),
        ("attributes", f"<message to='{victim}'><{name} {attributes}/></message>"),
        ("element name", f"<message to='{victim}'><{'n' * big}/></message>"),
        ("address", f"<message to='{'j' * big}@{domain}'><body>x</body></message>"),
        ("depth", f"<message to='{victim}'>{nested}{'</a>' * deep}</message>"),
        ("depth without end", f"<message to='{victim}'>{nested * 3}"),
        ("elements", f"<message to='{victim}'>{'<a/>' * (big // 4)}</message>"),
        ("CDATA", f"<message to='{victim}'><body><![CDATA[{'x' * big}"),
        (
            "references",
            f"<message to='{victim}'><body>{'&#x20;' * (big // 6 + 1)}</body></message>",
        ),
        ("declarations", f"<message to='{victim}'>{declarations}</message>"),
        ("first tag", f"<message {' ' * big}/>"),
    ):
        yield Case(f"sizes: {kind}", data.encode(), "stream", POLICY)
    opening = (
        ("header", f"<stream:stream to='{'x' * big}'"),
        ("space in the header", f"<stream:stream {' ' * big}"),
    )
    for kind, data in opening:
        yield Case(f"sizes: {kind}", data.encode(), "stream", POLICY, "opening")
