"""The operator's process stays small."""

from __future__ import annotations

import subprocess
import sys

HEAVY = ("scipy.stats", "sklearn", "pandas", "matplotlib", "onnxruntime")


def test_the_operator_loads_no_heavy_library() -> None:
    """`scipy.stats` alone takes more than 20 MiB; `scipy.special` has what is needed."""
    code = f"import sys, trimtab.handlers.main; print([n for n in {HEAVY} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
