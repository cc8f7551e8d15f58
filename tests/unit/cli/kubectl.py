"""A kubectl that answers what a test says, found on the PATH as the real one is."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_PROGRAM = """\
#!{python} -IS
import json, re, sys, time
from pathlib import Path

folder = Path({folder!r})
words = sys.argv[1:]
body = sys.stdin.read() if "-f" in words else ""
with (folder / "calls").open("a") as calls:
    calls.write(json.dumps([words, body]) + "\\n")
for pattern, answer in json.loads((folder / "answers").read_text()):
    if re.fullmatch(pattern, " ".join(words)):
        sys.stdout.write(answer["out"])
        sys.stdout.flush()
        sys.stderr.write(answer["said"])
        if answer["stays"]:
            time.sleep(600)
        sys.exit(answer["code"])
sys.stderr.write("error: the test says nothing of: " + " ".join(words))
sys.exit(97)
"""
Calls = list[tuple[list[str], str]]
"""Arguments and body of each; in the class below `list` is a verb."""
APIS = "/apis/trimtab.dev/v1alpha1/namespaces/shop/"


@dataclass
class FakeKubectl:
    """Its folder is to be put on the PATH. Of several answers the one given last counts."""

    folder: Path
    answers: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        program = self.folder / "kubectl"
        program.write_text(_PROGRAM.format(python=sys.executable, folder=str(self.folder)))
        program.chmod(0o755)
        self.answer(r"config view --minify -o json", json.dumps(context("shop")))

    def answer(
        self, pattern: str, out: str = "", *, said: str = "", code: int = 0, stays: bool = False
    ) -> None:
        """Say what it prints for arguments that match a pattern; stays: it goes on afterwards."""
        answer = {"out": out, "said": said, "code": code, "stays": stays}
        self.answers.insert(0, (pattern, answer))
        (self.folder / "answers").write_text(json.dumps(self.answers))

    def fail(self, pattern: str, said: str) -> None:
        """Let it fail with these words."""
        self.answer(pattern, said=said, code=1)

    def list(self, plural: str, *items: dict[str, Any], path: str = APIS) -> None:
        """Say which objects of a kind there are in namespace shop."""
        listing = {"metadata": {"resourceVersion": "7"}, "items": list(items)}
        self.answer(rf"get --raw {re.escape(path + plural)}\?.*", json.dumps(listing))

    def get(self, plural: str, obj: dict[str, Any]) -> None:
        """Say that there is an object in namespace shop."""
        path = f"{APIS}{plural}/{obj['metadata']['name']}"
        self.answer(f"get --raw {re.escape(path)}", json.dumps(obj))

    @property
    def calls(self) -> Calls:
        """What it was called with so far."""
        file = self.folder / "calls"
        return [tuple(json.loads(line)) for line in file.read_text().splitlines()]


def context(namespace: str | None) -> dict[str, Any]:
    """Return a kubeconfig as `kubectl config view --minify` prints it."""
    named = {} if namespace is None else {"namespace": namespace}
    return {"contexts": [{"name": "here", "context": {"cluster": "c", "user": "u", **named}}]}
