"""What a piece of the operator's code costs: the growth of a process that does nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_MEASURED = """
import resource
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
{prepared}
before = peak()
{attack}
print(peak() - before)
print(said)
"""


def grown(prepared: str, attack: str, *arguments: str) -> tuple[float, str]:
    """Return by how many MiB `attack` grows the process, and the text that it left in `said`.

    prepared: Python that is run before it measures. arguments: `sys.argv[1:]` of both.
    """
    done = subprocess.run(
        [sys.executable, "-c", _MEASURED.format(prepared=prepared, attack=attack), *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, "PYTHONPATH": f"{ROOT}/operator:{ROOT}"},
    )
    assert done.returncode == 0, done.stderr
    size, _, said = done.stdout.partition("\n")
    return float(size), said.strip()
