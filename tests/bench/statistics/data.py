"""Public data sets inside a wheel of the package registry; nothing of them is committed."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import zipfile
from functools import lru_cache
from pathlib import Path

import pandas as pd

WHEEL = "nannyml==0.13.1"


@lru_cache
def _wheel() -> Path:
    """Fetch the wheel once, without its dependencies."""
    home = Path(os.environ.get("TRIMTAB_CACHE", Path.home() / ".cache" / "trimtab"))
    folder = home / "wheels"
    if not (found := list(folder.glob("nannyml-0.13.1-*.whl"))):
        folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", WHEEL]
        subprocess.run([*command, "--dest", str(folder)], check=True)
        found = list(folder.glob("nannyml-0.13.1-*.whl"))
    return found[0]


def table(name: str) -> pd.DataFrame:
    """Return one data set of the wheel by file name, such as `employment_MA_reference.pq`."""
    with zipfile.ZipFile(_wheel()) as wheel:
        raw = io.BytesIO(wheel.read(f"nannyml/datasets/data/{name}"))
    return pd.read_csv(raw) if name.endswith(".csv") else pd.read_parquet(raw)
