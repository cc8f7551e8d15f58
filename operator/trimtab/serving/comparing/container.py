"""What the kernel says of this container: memory that is left, and whether it is throttled.

Control groups of version 2, then 1. In a container the files of its own group are at the root.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

_GROUPS: Final = Path("/sys/fs/cgroup")
_PROC: Final = Path("/proc")
_NO_LIMIT: Final = 2**60
"""Version 1 says "none" as a number about the size of the address space."""
_USER_TIME: Final = 11
_SYSTEM_TIME: Final = 12
"""Places in a thread's `stat`, behind its name."""


class Container:
    """Reads the kernel's files below `groups` and `proc`; all sizes in bytes."""

    def __init__(self, groups: Path = _GROUPS, proc: Path = _PROC) -> None:
        self._groups = groups
        self._proc = proc

    def memory_limit(self) -> int | None:
        """Return the limit of the container, None where it has none."""
        for name in ("memory.max", "memory/memory.limit_in_bytes"):
            text = _text(self._groups / name)
            if text.isdigit():
                return int(text) if int(text) < _NO_LIMIT else None
        return None

    def memory_left(self) -> int | None:
        """Return how much more may be used; None where nothing tells."""
        machine = self._keyed(self._proc / "meminfo", "MemAvailable:")
        left = [] if machine is None else [machine * 1024]
        limit = self.memory_limit()
        if limit is not None:
            used = self._memory_used()
            if used is None:
                return None
            left.append(limit - used)
        return max(0, min(left)) if left else None

    def _memory_used(self) -> int | None:
        """Return what counts against the limit, without files that can be dropped."""
        for used, stat, inactive in (
            ("memory.current", "memory.stat", "inactive_file"),
            ("memory/memory.usage_in_bytes", "memory/memory.stat", "total_inactive_file"),
        ):
            text = _text(self._groups / used)
            if text.isdigit():
                dropped = self._keyed(self._groups / stat, inactive) or 0
                return max(0, int(text) - dropped)
        return None

    def resident(self) -> int:
        """Return what this process holds now; 0 where nothing tells."""
        return 1024 * (self._keyed(self._proc / "self/status", "VmRSS:") or 0)

    def most_resident(self) -> int:
        """Return what this process held at most; 0 where nothing tells."""
        return 1024 * (self._keyed(self._proc / "self/status", "VmHWM:") or 0)

    def throttled(self) -> int:
        """Return in how many periods the container had to wait for its CPU limit."""
        for name in ("cpu.stat", "cpu/cpu.stat"):
            found = self._keyed(self._groups / name, "nr_throttled")
            if found is not None:
                return found
        return 0

    def thread_seconds(self, thread: int) -> float | None:
        """Return the CPU time that a thread of this process has taken; None once it has ended."""
        told = _text(self._proc / f"self/task/{thread}/stat").rpartition(")")[2].split()
        if len(told) <= _SYSTEM_TIME:
            return None
        return (int(told[_USER_TIME]) + int(told[_SYSTEM_TIME])) / os.sysconf("SC_CLK_TCK")

    @staticmethod
    def _keyed(file: Path, key: str) -> int | None:
        for line in _text(file).splitlines():
            words = line.split()
            if len(words) >= 2 and words[0] == key and words[1].isdigit():
                return int(words[1])
        return None


def _text(file: Path) -> str:
    try:
        return file.read_text().strip()
    except (OSError, ValueError):
        return ""  # not this version, or nothing is told


LEAST_MULTIPLE: Final = 4.0
"""Of the size of a model's file, unpacked, that loading it takes at least."""
TELLING_BYTES: Final = 8 << 20
"""A file from this size on tells what a byte of it costs; of a smaller one libraries cost more."""
LEAST_RESERVE: Final = 32 << 20
RESERVE_SHARE: Final = 0.1


def memory_needed(own_bytes: int, own_growth: int, other_bytes: int) -> int:
    """Return what loading a model file of `other_bytes`, unpacked, may take at most.

    `own_growth` is what the own one of `own_bytes` took at its peak; it has libraries in it, which
    the second one finds there, so that small models are on the safe side.
    """
    multiple = LEAST_MULTIPLE
    if own_bytes >= TELLING_BYTES:
        multiple = max(multiple, own_growth / own_bytes)
    larger = max(0, other_bytes - own_bytes)
    return int(max(own_growth + multiple * larger, multiple * other_bytes))


def reserve(limit: int | None) -> int:
    """Return what stays free whatever is loaded: for requests, and for what nobody foresaw."""
    return max(LEAST_RESERVE, int(RESERVE_SHARE * (limit or 0)))
