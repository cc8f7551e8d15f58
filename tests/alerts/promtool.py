"""The rule file in promtool: is it right, and does it do what the cases say?"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "charts/trimtab/files/rules.yaml"


def find_promtool() -> str | None:
    """Return promtool, or None (`python -m tests.cluster promtool` installs it)."""
    return os.environ.get("PROMTOOL") or shutil.which("promtool")


def check_rules(promtool: str) -> str:
    """Return what promtool has against the rule file; empty if nothing."""
    return _said(promtool, "check", "rules", "--lint=all", "--lint-fatal", str(RULES))


def run_tests(promtool: str, tests: list[dict[str, Any]], folder: Path) -> str:
    """Return which of the tests fail and how; empty if none.

    tests: as promtool's files have them. folder: to write them into.
    """
    file = folder / "tests.yaml"
    content = {"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": tests}
    file.write_text(yaml.safe_dump(content))
    return _said(promtool, "test", "rules", str(file))


def _said(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    return "" if done.returncode == 0 else done.stdout + done.stderr
