"""A file that outlives the process in its pod: a second model was being held here.

Written before anything of it is loaded, removed when it is let go or the process ends in an orderly
way. A process that finds one follows one that was killed, perhaps for the memory of the second
model: it does not try again, so that this happens at most once a pod.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

NAME: Final = "trimtab-comparing"


class Marker:
    """The file in `folder`, which must survive a restart of the container."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / NAME
        self._is_ours = False

    def is_left_over(self) -> bool:
        """Whether another process wrote it and did not end in an orderly way."""
        return not self._is_ours and self._file.exists()

    def write(self, digest: str) -> None:
        """Say that this process holds a second model; raise OSError."""
        self._file.write_text(digest + "\n")
        self._is_ours = True

    def remove(self) -> None:
        """Say that it does not any more; a predecessor's mark stays."""
        if self._is_ours:
            self._file.unlink(missing_ok=True)
            self._is_ours = False
