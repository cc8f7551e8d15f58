"""Running commands: one place that turns a failed command into an error worth reading."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.patience import Limit

from .settings import ClusterError


def run(
    command: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    input_text: str | None = None,
    show: bool = False,
) -> str:
    """Run a command and return its standard output.

    With `show`, output goes to the terminal instead (for builds that take minutes).
    Raises ClusterError with the end of its output when it fails.
    """
    finished = subprocess.run(
        [str(word) for word in command],
        env=None if env is None else {**os.environ, **env},
        cwd=cwd,
        input=input_text,
        stdin=subprocess.DEVNULL if input_text is None else None,
        stdout=None if show else subprocess.PIPE,
        stderr=None if show else subprocess.PIPE,
        text=True,
        check=False,
    )
    if finished.returncode:
        output = f"{finished.stdout or ''}{finished.stderr or ''}".strip()
        words = " ".join(str(word) for word in command)
        raise ClusterError(f"exit status {finished.returncode} from: {words}\n{output[-3000:]}")
    return finished.stdout or ""


def succeeds(command: Sequence[str | Path]) -> bool:
    """Whether a command ends with status 0; its output is dropped."""
    finished = subprocess.run(
        [str(word) for word in command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    return finished.returncode == 0


def wait_until(condition: Callable[[], bool], what: str, seconds: float) -> None:
    """Poll ten times a second until the condition holds; ClusterError after `seconds`.

    The seconds are those of a free machine (`tests.patience`).
    """
    end = Limit(seconds)
    while not condition():
        if end.is_over():
            raise ClusterError(f"{what}: not within {seconds:.0f} s")
        time.sleep(0.1)


def say(text: str) -> None:
    """One line of progress."""
    print(text, flush=True)
