"""Waiting for conditions, never for durations."""

import time
from contextlib import suppress
from pathlib import Path

# How long a condition may take before the test fails. Generous: it only bounds failures.
DEADLINE_SECS = 60.0
# How many times as long it may take where others keep the machine busy all the time.
BUSY_FACTOR = 3

_scale = 1.0


class Silence(AssertionError):
    """What was waited for did not come."""


class Deadline:
    """A moment by which a condition must hold.

    Seconds in which somebody had to wait for a processor or for the disk are not counted, until
    `BUSY_FACTOR` times as many have passed: what a server takes is judged, and not what else the
    machine does.
    """

    def __init__(self, secs: float | None = None):
        self._secs = (secs or DEADLINE_SECS) * _scale
        self._began, self._stalled_secs = time.monotonic(), _stalled_secs()

    def left(self) -> float:
        """Seconds that are left as far as can be told now; not positive when none are."""
        passed = time.monotonic() - self._began
        if passed >= self._secs:
            most = (BUSY_FACTOR - 1) * self._secs
            passed -= min(_stalled_secs() - self._stalled_secs, most)
        return self._secs - passed

    def is_over(self) -> bool:
        return self.left() <= 0


def scale_deadlines(factor: float) -> None:
    """Shortens deadlines where a failure is expected."""
    global _scale
    _scale = factor


def until(condition, what: str, secs: float | None = None):
    """Asks again and again until the condition holds; its value."""
    end = Deadline(secs)
    while True:
        value = condition()
        if value:
            return value
        if end.is_over():
            raise Silence(f"never happened: {what}")
        time.sleep(0.02)


def _stalled_secs() -> float:
    """For how long, since the machine's start, somebody waited for a processor or for the disk.

    By the kernel's pressure stall information; 0 where it has none.
    """
    totals = [0]
    for resource in ("cpu", "io"):
        with suppress(OSError):
            some = Path(f"/proc/pressure/{resource}").read_text().splitlines()[0]
            totals.append(int(some.rpartition("total=")[2]))
    return max(totals) / 1_000_000
