"""What a test may ask of a server, in words of no particular server."""

from dataclasses import dataclass


class Unsupported(Exception):
    """The server under test cannot be set up as asked."""


@dataclass(frozen=True)
class Settings:
    """How a server is set up. None leaves the server's own default.

    The limits against guessing passwords are far away unless a test asks for them, since all
    tests come from one address.
    """

    hosts: tuple[str, ...] = ("localhost",)
    # Where it listens.
    address: str = "127.0.0.1"
    anonymous_hosts: tuple[str, ...] = ()
    gone_hosts: tuple[str, ...] = ()
    # Domains of components, which may attach themselves by the password of accounts.
    components: tuple[str, ...] = ()
    stanza_bytes_max: int | None = None
    # Which devices get a message to an account: "most-available" or "all".
    delivery: str | None = None
    # What becomes of a session whose resource another one wishes: "rename", "replace", "refuse".
    resource_conflict: str | None = None
    offline_messages_max: int | None = None
    # Days for which messages are stored, if not for ever.
    offline_days: int | None = None
    sessions_per_account_max: int | None = None
    # Whether the server's clock can be put forward.
    has_own_clock: bool = False
    # Whether time can be made to pass faster for the server.
    has_fast_clock: bool = False
    # The size of a disk of its own for the data, if it has one.
    disk_mib: int | None = None
    negotiation_secs: int | None = None
    # Failures of one address before it is blocked, and for how long.
    address_failures_max: int | None = None
    address_block_secs: int | None = None
    # Failures of one account before it is locked, and for how long.
    account_failures_max: int | None = None
    account_lock_secs: int | None = None
    # Failed logins a minute before answers are delayed.
    login_delay_after: int | None = None
    # Silence after which a client is asked, and what it then has to answer.
    idle_secs: int | None = None
    answer_wait_secs: int | None = None
    # For how long a session without a stream may be resumed.
    resume_secs: int | None = None
    # Connections that one address may open in a minute.
    connections_per_minute: int | None = None
    # Whether anybody may make an account.
    open_registration: bool = False
    # Who is told what administrators should know, by localparts.
    administrators: tuple[str, ...] = ()
    # Key type of the certificates from the test CA, one for each host: "ecdsa" or "rsa". With
    # None the server makes its own CA, where it can.
    certificate: str | None = None
    # Whether clients are asked for certificates from the test CA, which sign in by SASL EXTERNAL:
    # "optional" or "required".
    client_certificates: str | None = None
    # The form of the log: "text" or "json".
    log_format: str | None = None
    # What is configured about push notifications, in lines of ours.
    push: tuple[str, ...] = ()
    # The SASL mechanisms offered.
    mechanisms: list[str] | None = None
