"""A disk of its own for one folder, so small that it can be filled."""

import errno
import shutil
import subprocess
from pathlib import Path

from .waiting import DEADLINE_SECS


class Disk:
    """A tmpfs that only processes see which are started with `prefix`; needs no privilege."""

    def __init__(self, folder: Path, mib: int):
        folder.mkdir(parents=True, exist_ok=True)
        mount = f"mount -t tmpfs -o size={mib}m,mode=0700 tmpfs '{folder}' && echo mounted"
        # Lives as long as its standard input is open.
        self._holder = subprocess.Popen(
            ["unshare", "--map-root-user", "--mount", "sh", "-c", f"{mount} && exec cat"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._holder.stdout.readline() == "mounted\n", "no file system could be mounted"
        pid = self._holder.pid
        self.prefix = ["nsenter", f"--target={pid}", "--user", "--mount"]
        self.prefix += ["--preserve-credentials", "--"]
        self.seen_from_here = Path(f"/proc/{pid}/root{folder}")
        self._filler = self.seen_from_here / "filler"

    def fill(self) -> None:
        """Takes all room that is left."""
        with self._filler.open("wb", buffering=0) as filler:
            try:
                while filler.write(bytes(4096)):
                    pass
            except OSError as full:
                assert full.errno == errno.ENOSPC, full
        assert shutil.disk_usage(self._filler.parent).free == 0

    def free(self) -> None:
        self._filler.unlink()

    def dispose(self) -> None:
        self._holder.stdin.close()
        self._holder.wait(timeout=DEADLINE_SECS)
        self._holder.stdout.close()
