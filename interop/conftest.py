"""Which server is judged, how long it lives, and what is skipped, said aloud."""

import contextlib
import fnmatch
import os
import sys
import tomllib
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from harness import waiting  # noqa: E402
from harness.prosody import Prosody  # noqa: E402
from harness.raw import login  # noqa: E402
from harness.settings import Settings, Unsupported  # noqa: E402
from harness.stentor import Stentor  # noqa: E402

KIND = {"prosody": Prosody, "stentor": Stentor}[os.environ.get("INTEROP_SERVER", "stentor")]


@pytest.fixture(scope="session")
def server():
    """One server for all tests that need no settings and do not restart it."""
    made = KIND().start()
    yield made
    made.dispose()


@pytest.fixture
def server_with():
    """Starts servers of the test's own: `server_with(hosts=(...))`."""
    made = []

    def start(**settings):
        server = KIND(Settings(**settings))
        made.append(server)
        return server.start()

    yield start
    for server in made:
        server.dispose()


@pytest.fixture
def enter(server):
    """Makes an account and signs it in; closes all at the end: `alice = enter("alice")`.

    Given an account, signs that one in.
    """
    with contextlib.ExitStack() as stack:

        def sign_in(who, *args, at=None, **options):
            where = at or server
            account = where.account(who) if isinstance(who, str) else who
            stream = login(where, account, *args, **options)
            stack.enter_context(stream)
            return stream

        yield sign_in


@pytest.fixture(autouse=True)
def _impatience(request):
    """Where a test as a whole must fail on Prosody it need not wait for long."""
    is_in_vain = request.node.get_closest_marker("prosody_differs") and KIND is Prosody
    waiting.scale_deadlines(1 / 3 if is_in_vain else 1.0)
    yield
    waiting.scale_deadlines(1.0)


@contextlib.contextmanager
def _differs_on_prosody(reason):
    """On Prosody the part inside must fail; everywhere else it must hold."""
    if KIND is not Prosody:
        yield
        return
    waiting.scale_deadlines(1 / 30)
    try:
        yield
    except (AssertionError, Unsupported, OSError) as difference:
        print(f"prosody differs: {reason}: {difference!r}")
        return
    finally:
        waiting.scale_deadlines(1.0)
    pytest.fail(f"prosody no longer differs: {reason}")


@pytest.fixture
def prosody_differs():
    """`with prosody_differs("why"):` around a part of a test."""
    return _differs_on_prosody


def pytest_collection_modifyitems(items):
    for item in items:
        mark = item.get_closest_marker("prosody_differs")
        if mark and KIND is Prosody:
            item.add_marker(pytest.mark.xfail(reason=mark.args[0], strict=True))
        for skip in _skips():
            if fnmatch.fnmatch(item.nodeid, skip["test"].replace("[", "[[]")):
                item.add_marker(pytest.mark.skip(reason=skip["reason"]))


def pytest_terminal_summary(terminalreporter):
    count = {kind: len(found) for kind, found in terminalreporter.stats.items()}
    passed = count.get("passed", 0)
    failed = count.get("failed", 0) + count.get("error", 0)
    skipped = count.get("skipped", 0) + count.get("xfailed", 0)
    if "INTEROP_SUMMARY" in os.environ:
        more = f", {skipped} skipped" if skipped else ""
        Path(os.environ["INTEROP_SUMMARY"]).write_text(f"{passed} passed, {failed} failed{more}\n")
    skips = _skips()
    if skips:
        terminalreporter.section(f"SKIPPED BY skips.toml: {len(skips)}")
    for skip in skips:
        terminalreporter.write_line(f"SKIP {skip['test']}: {skip['reason']}")


def _skips():
    table = tomllib.loads((HERE / "skips.toml").read_text())
    return [skip for skip in table.get("skip", []) if skip["server"] == KIND.name]
