"""A clock of its own for one program, by libfaketime: what it takes for the time of day."""

import subprocess
from pathlib import Path


class Clock:
    """Goes like that of the system until it is put forward; needs Debian's `faketime`."""

    def __init__(self, file: Path):
        self._file = file
        self.put_forward(0)
        asked = ["faketime", "-f", "+0", "printenv", "LD_PRELOAD"]
        library = subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip()
        self.prefix = ["env", f"LD_PRELOAD={library}", f"FAKETIME_TIMESTAMP_FILE={file}"]
        # Durations are left alone.
        self.prefix += ["FAKETIME_NO_CACHE=1", "DONT_FAKE_MONOTONIC=1"]

    def put_forward(self, hours: float) -> None:
        """So many hours before that of the system, from now on."""
        new = self._file.with_suffix(".new")
        new.write_text(f"+{hours}h")
        new.rename(self._file)
