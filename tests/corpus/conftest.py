"""The models of the serving tests, and a program that can be started often."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.unit.serving.conftest import binary, regression, settings, table

__all__ = ["binary", "regression", "settings", "table"]

Start = Callable[[dict[str, str]], dict[str, Any]]


@pytest.fixture(scope="module")
def start() -> Iterator[Start]:
    """Start the serving program with an environment; return its exit code and log."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.corpus.starter"],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    write, read = process.stdin, process.stdout

    def once(environment: dict[str, str]) -> dict[str, Any]:
        write.write(json.dumps(environment) + "\n")
        write.flush()
        found: dict[str, Any] = json.loads(read.readline())
        return found

    with process:
        yield once
        write.close()
