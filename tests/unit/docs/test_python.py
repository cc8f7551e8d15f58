"""The Python of the pages runs, against the serving program where it asks for predictions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from tests.pages.blocks import of_language
from tests.unit.conform.test_runtime import process

from trimtab.serving.settings import ServingSettings


def test_blocks_run_one_after_another(settings: ServingSettings, tmp_path: Path, capsys) -> None:
    draws = np.random.default_rng(1)
    rows = draws.normal(size=(2000, 4))
    names: dict[str, Any] = {
        "model": LogisticRegression(),
        "X": rows,
        "y": (rows[:, 0] > 0).astype(int),
    }
    page = "docs/serving.md"
    with process(settings) as (_, url, metrics_url):
        for block in of_language("python"):
            if block.page != page:
                continue
            source = block.text.replace("s3://models", tmp_path.as_uri())
            source = source.replace("http://digits:8080", url)
            source = source.replace("http://digits-metrics:9090", metrics_url)
            exec(compile(source, page, "exec"), names)
    published, predicted, counted = capsys.readouterr().out.splitlines()
    assert published.split()[1] == names["made"].digest
    assert predicted in ("[0]", "[1]")
    assert "counted" in counted
