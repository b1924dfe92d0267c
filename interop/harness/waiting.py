"""Waiting for conditions, never for durations."""

import time

# How long a condition may take before the test fails. Generous: it only bounds failures.
DEADLINE_SECS = 20.0

_scale = 1.0


class Silence(AssertionError):
    """What was waited for did not come."""


def deadline(secs: float | None = None) -> float:
    """A moment on the monotonic clock by which a condition must hold."""
    return time.monotonic() + (secs or DEADLINE_SECS) * _scale


def scale_deadlines(factor: float) -> None:
    """Shortens deadlines where a failure is expected."""
    global _scale
    _scale = factor


def until(condition, what: str, secs: float | None = None):
    """Asks again and again until the condition holds; its value."""
    end = deadline(secs)
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise Silence(f"never happened: {what}")
        time.sleep(0.02)
