"""A clock of its own for one program, by libfaketime: what it takes for the time of day."""

import subprocess
from pathlib import Path


class Clock:
    """Goes like that of the system until it is put forward; needs Debian's `faketime`.

    With `is_for_durations` it is what durations are measured by as well.
    """

    def __init__(self, file: Path, is_for_durations: bool = False):
        self._file = file
        self.put_forward(0)
        asked = ["faketime", "-f", "+0", "printenv", "LD_PRELOAD"]
        library = subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip()
        self.prefix = ["env", f"LD_PRELOAD={library}", f"FAKETIME_TIMESTAMP_FILE={file}"]
        self.prefix += ["FAKETIME_NO_CACHE=1"]
        if not is_for_durations:
            self.prefix += ["DONT_FAKE_MONOTONIC=1"]

    def put_forward(self, hours: float) -> None:
        """So many hours before that of the system, from now on."""
        self._write(f"+{hours}h")

    def hurry(self, times: int) -> None:
        """So many times as fast, counted from the program's start on."""
        self._write(f"+0 x{times}")

    def _write(self, text: str) -> None:
        new = self._file.with_suffix(".new")
        new.write_text(text)
        new.rename(self._file)
