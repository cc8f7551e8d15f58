"""`get -w` as a process on a real terminal: drawn, resized, and left as it was by Ctrl-C."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.unit.cli.kubectl import APIS, FakeKubectl
from tests.unit.cli.test_get import pod

from trimtab.generate.single_file import program

ENTERED, LEFT = "\x1b[?1049h", "\x1b[?7h\x1b[?25h\x1b[?1049l"
DIGITS = {
    "metadata": {"name": "digits", "namespace": "shop", "resourceVersion": "7"},
    "spec": {"version": "v1"},
}


def _as_a_shell_starts_it() -> None:
    """Have the terminal, and heed Ctrl-C, which who runs tests in the background ignores."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Looking:
    """The program on a terminal of our own."""

    def __init__(self, file: Path, *words: str) -> None:
        self.terminal, other = pty.openpty()
        self.resize(80, 6)
        env = {**os.environ, "TERM": "xterm"}
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(file), *words],
            stdin=other, stdout=other, stderr=other, env=env, start_new_session=True,
            preexec_fn=_as_a_shell_starts_it,  # noqa: PLW1509
        )  # fmt: skip
        os.close(other)
        self.seen = ""

    def resize(self, columns: int, lines: int) -> None:
        """Be another size; the system tells the program."""
        size = struct.pack("HHHH", lines, columns, 0, 0)
        fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, size)

    def until(self, holds: Callable[[str], bool], limit: float = 30.0) -> str:
        """Read until it holds of the last screen; return that."""
        while True:
            screen = self.seen.split("\x1b[?2026h")[-1]
            if "\x1b[?2026l" in screen and holds(screen):
                return screen
            ready, _, _ = select.select([self.terminal], [], [], limit)
            assert ready, self.seen[-2000:]
            self.seen += os.read(self.terminal, 65536).decode()

    def end(self) -> int:
        """Press Ctrl-C; return the exit code."""
        os.write(self.terminal, b"\x03")
        # What is not read would hold the program up in the midst of its last frame.
        while select.select([self.terminal], [], [], 30)[0]:
            try:
                self.seen += os.read(self.terminal, 65536).decode()
            except OSError:  # the last one has left the terminal
                break
        return self.process.wait(30)


@pytest.fixture
def looking(kubectl: FakeKubectl, tmp_path: Path) -> Iterator[Looking]:
    """Look at a Deployment with thirty pods; a watch gives another version at once."""
    file = tmp_path / "trimtab"
    file.write_bytes(program())
    kubectl.list("modeldeployments", DIGITS)
    kubectl.list("driftpolicies")
    kubectl.list("retrainjobs")
    pods = [pod(f"digits-{n:02}", f"r{n:02}") for n in range(30)]
    kubectl.list("pods", *pods, path="/api/v1/namespaces/shop/")
    kubectl.answer(r"get --raw .*watch=1.*", stays=True)
    changed = {**DIGITS, "spec": {"version": "v2"}}
    event = json.dumps({"type": "MODIFIED", "object": changed})
    kubectl.answer(
        rf"get --raw {APIS}modeldeployments\?watch=1&resourceVersion=7&.*", f"{event}\n", stays=True
    )
    one = Looking(file, "get", "-w")
    yield one
    if one.process.poll() is None:
        one.process.send_signal(signal.SIGKILL)
        one.process.wait()
    os.close(one.terminal)


def lines(screen: str) -> list[str]:
    return re.sub(r"\x1b\[[?0-9;]*[A-Za-z]", "", screen).split("\r\n")


def test_it_is_drawn_cut_resized_and_left(looking: Looking) -> None:
    screen = looking.until(lambda screen: "wants v2" in screen)
    assert looking.seen.startswith(ENTERED)
    assert len(lines(screen)) == 6
    assert lines(screen)[-1] == "… 57 more"
    looking.resize(80, 20)
    screen = looking.until(lambda screen: len(lines(screen)) == 20)
    assert lines(screen)[-1] == "… 43 more"
    assert looking.end() == 130
    assert "Traceback" not in looking.seen, looking.seen[looking.seen.index("Traceback") - 800 :]
    assert looking.seen.endswith(LEFT)


def test_a_terminal_that_is_closed_leaves_nothing_behind(looking: Looking) -> None:
    looking.until(lambda screen: "digits" in screen)
    looking.process.send_signal(signal.SIGTERM)
    assert looking.process.wait(30) == 143
